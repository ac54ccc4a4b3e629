"""One life of a stock Python client with the edge; prints what the client saw as JSON.

The argument is a JSON object: `url`, `token` (or null), `denied` (a tool that the policy denies) and `lose` (a URL that ends
all sessions when it is asked for). All drivers of this folder take the same argument and print the same members.
"""

import asyncio
import json
import sys
import urllib.request

LONGEST = 120


def result(answer):
    dumped = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"text": dumped["content"][0]["text"], "isError": dumped.get("isError", False), "meta": dumped.get("_meta", {})}


async def live(opened):
    """`opened(url, headers)` is a context with a session, the protocol version and the server's experimental capabilities."""
    plan = json.loads(sys.argv[1])
    headers = {"Authorization": f"Bearer {plan['token']}"} if plan["token"] else {}
    report = {}

    async def first():
        async with opened(plan["url"], headers) as (session, protocol, experimental):
            report["protocol"], report["experimental"] = protocol, experimental
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
        async with opened(plan["url"], headers) as (session, _, _):
            report["recovered"] = result(await session.call_tool("echo", {"message": "again"}))

    await asyncio.wait_for(first(), LONGEST)
    await asyncio.wait_for(again(), LONGEST)
    json.dump(report, sys.stdout)
