"""The stock Python client of the handshake era (mcp 1.x) through one life with the edge; prints what it saw as JSON.

The argument is a JSON object: `url`, `token` (or null), `denied` (a tool that the policy denies) and `lose` (a URL that ends
all sessions when it is asked for). All drivers of this folder take the same argument and print the same members.
"""

import asyncio
import json
import sys
import urllib.request

import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


def result(answer):
    dumped = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"text": dumped["content"][0]["text"], "isError": dumped.get("isError", False), "meta": dumped.get("_meta", {})}


async def main():
    plan = json.loads(sys.argv[1])
    report = {}
    headers = {"Authorization": f"Bearer {plan['token']}"} if plan["token"] else {}

    async def first():
        async with httpx.AsyncClient(headers=headers, timeout=30) as http:
            async with streamable_http_client(plan["url"], http_client=http) as (read, write, _):
                async with ClientSession(read, write) as session:
                    initialized = await session.initialize()
                    report["protocol"] = initialized.protocolVersion
                    report["experimental"] = initialized.capabilities.experimental
                    report["tools"] = [tool.name for tool in (await session.list_tools()).tools]
                    report["echo"] = result(await session.call_tool("echo", {"message": "hello"}))
                    report["denied"] = result(await session.call_tool(plan["denied"], {}))
                    report["resumed"] = result(await session.call_tool("test_reconnection", {}))
                    await asyncio.to_thread(urllib.request.urlopen, plan["lose"])
                    try:
                        await session.call_tool("echo", {"message": "lost"})
                        report["lost"] = None
                    except Exception as error:
                        report["lost"] = f"{type(error).__name__}: {error}"

    async def again():
        async with httpx.AsyncClient(headers=headers, timeout=30) as http:
            async with streamable_http_client(plan["url"], http_client=http) as (read, write, _):
                async with ClientSession(read, write) as session:
                    await session.initialize()
                    report["recovered"] = result(await session.call_tool("echo", {"message": "again"}))

    await asyncio.wait_for(first(), 60)
    await asyncio.wait_for(again(), 60)
    json.dump(report, sys.stdout)


asyncio.run(main())
