"""Plays an MCP client with the stock SDK: takes the steps of a plan, prints what it was answered.

The plan is a JSON object: `command`, `args`, `env`, `cwd`, `stderr` (a file) and `steps`. A step is an object whose one
key names what to do:

  {"list_tools": null}, {"list_resources": null}, {"list_prompts": null}
  {"call": [tool, arguments]}, {"read": uri}, {"prompt": [name, arguments]}
  {"start": [tool, arguments]}   begins a call; its answer is taken by a later {"join": null}
  {"cancel": null}               cancels the call begun last
  {"wait_for": file}             waits until a file exists
  {"kill_from": file}            kills the process whose id the file holds
  {"told": text}                 waits until the program has written the text to standard error
"""

import asyncio
import json
import os
import signal
import sys

from mcp import ClientSession, McpError, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from pydantic import AnyUrl

LONGEST_STEP = 60


class Client:
    def __init__(self, session, stderr):
        self.session = session
        self.stderr = stderr
        self.begun = None
        self.begun_id = None

    async def take(self, name, value):
        session = self.session
        if name == "list_tools":
            return await session.list_tools()
        if name == "list_resources":
            return await session.list_resources()
        if name == "list_prompts":
            return await session.list_prompts()
        if name == "call":
            return await session.call_tool(*value)
        if name == "read":
            return await session.read_resource(AnyUrl(value))
        if name == "prompt":
            return await session.get_prompt(*value)
        if name == "start":
            self.begun_id = session._request_id
            self.begun = asyncio.create_task(session.call_tool(*value))
            return None
        if name == "cancel":
            params = types.CancelledNotificationParams(requestId=self.begun_id, reason="the test says so")
            await session.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))
            return None
        if name == "join":
            return await self.begun
        if name == "wait_for":
            while not (os.path.exists(value) and os.path.getsize(value)):
                await asyncio.sleep(0.02)
            return None
        if name == "kill_from":
            with open(value) as file:
                os.kill(int(file.read()), signal.SIGKILL)
            return None
        if name == "told":
            while True:
                with open(self.stderr) as file:
                    if value in file.read():
                        return None
                await asyncio.sleep(0.02)
        raise ValueError(f"no such step: {name}")


async def main():
    plan = json.loads(sys.argv[1])
    asked = []
    answers = []

    async def sampling(_context, params):
        asked.append({"sampling": params.model_dump(mode="json")})
        return types.ErrorData(code=-1, message="the client was reached")

    async def elicitation(_context, params):
        asked.append({"elicitation": params.model_dump(mode="json")})
        return types.ErrorData(code=-1, message="the client was reached")

    async def roots(_context):
        asked.append({"roots": None})
        return types.ErrorData(code=-1, message="the client was reached")

    parameters = StdioServerParameters(command=plan["command"], args=plan["args"], env=plan["env"], cwd=plan["cwd"])
    with open(plan["stderr"], "w") as errlog:
        async with stdio_client(parameters, errlog=errlog) as (read, write):
            callbacks = {
                "sampling_callback": sampling,
                "elicitation_callback": elicitation,
                "list_roots_callback": roots,
            }
            async with ClientSession(read, write, **callbacks) as session:
                await asyncio.wait_for(session.initialize(), LONGEST_STEP)
                client = Client(session, plan["stderr"])
                for step in plan["steps"]:
                    ((name, value),) = step.items()
                    try:
                        answer = await asyncio.wait_for(client.take(name, value), LONGEST_STEP)
                        answer = answer and answer.model_dump(mode="json", by_alias=True, exclude_none=True)
                        answers.append({"ok": answer})
                    except McpError as error:
                        answers.append({"error": error.error.model_dump(mode="json", exclude_none=True)})
                    except asyncio.TimeoutError:
                        answers.append({"timeout": step})
    json.dump({"answers": answers, "asked": asked}, sys.stdout)


asyncio.run(main())
