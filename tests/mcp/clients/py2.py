"""The stock Python client (mcp 2.x), which asks `server/discover` first; see life.py."""

import asyncio
from contextlib import asynccontextmanager

import httpx2
from life import live
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


@asynccontextmanager
async def opened(url, headers):
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        async with Client(streamable_http_client(url, http_client=http)) as session:
            yield session, session.protocol_version, session.server_capabilities.experimental


asyncio.run(live(opened))
