"""The stock Python client of the handshake era (mcp 1.x); see life.py."""

import asyncio
from contextlib import asynccontextmanager

import httpx
from life import live
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


@asynccontextmanager
async def opened(url, headers):
    async with httpx.AsyncClient(headers=headers, timeout=60) as http:
        async with streamable_http_client(url, http_client=http) as (read, write, _):
            async with ClientSession(read, write) as session:
                initialized = await session.initialize()
                yield session, initialized.protocolVersion, initialized.capabilities.experimental


asyncio.run(live(opened))
