"""The stock Python client (mcp 1.x) over HTTP, driven through a plan of steps; prints what it was answered as JSON.

The plan is a JSON object: `url`, `token` (or null), `roots` (URIs) and `steps`. A step is an object whose one key names what
to do:

  {"list_tools": null}, {"list_resources": null}, {"list_templates": null}, {"list_prompts": null}
  {"until_listed": [tool, ...]}        lists tools until all of these are there: a slow server comes later
  {"call": [tool, arguments]}, {"read": uri}, {"subscribe": uri}, {"unsubscribe": uri}
  {"prompt": [name, arguments]}, {"complete": [prompt, argument, value]}, {"set_level": level}
  {"task": [tool, arguments]}          begins a task
  {"task_status": null}                waits until it has ended
  {"task_result": null}, {"task_cancel": null}, {"list_tasks": null}
  {"get_task": id}                     asks for any task
  {"wait_notified": method}            waits for a notification
  {"start": [tool, arguments]}         begins a call; its answer is taken by a later {"join": null}
  {"get": url}                         an HTTP request of another kind
"""

import asyncio
import json
import sys
import urllib.request

import httpx
from mcp import ClientSession, McpError, types
from mcp.client.streamable_http import streamable_http_client
from pydantic import AnyUrl

LONGEST_STEP = 60


class Client:
    def __init__(self, session, notified):
        self.session = session
        self.notified = notified
        self.task = None
        self.begun = None
        self.progress = []

    async def progressed(self, progress, total, message):
        self.progress.append([progress, total])

    async def take(self, name, value):
        session = self.session
        tasks = session.experimental
        if name.startswith("list_"):
            listing = {
                "list_tools": session.list_tools,
                "list_resources": session.list_resources,
                "list_templates": session.list_resource_templates,
                "list_prompts": session.list_prompts,
                "list_tasks": tasks.list_tasks,
            }
            return await listing[name]()
        if name == "until_listed":
            while True:
                listed = await session.list_tools()
                cursor = listed.nextCursor
                while cursor:
                    page = await session.list_tools(cursor=cursor)
                    listed.tools.extend(page.tools)
                    cursor = page.nextCursor
                if set(value) <= {tool.name for tool in listed.tools}:
                    return listed
                await asyncio.sleep(0.5)
        if name == "call":
            return await session.call_tool(*value, progress_callback=self.progressed)
        if name == "start":
            self.begun = asyncio.create_task(session.call_tool(*value))
            await asyncio.sleep(0.3)
            return None
        if name == "join":
            return await self.begun
        if name == "read":
            return await session.read_resource(AnyUrl(value))
        if name == "subscribe":
            return await session.subscribe_resource(AnyUrl(value))
        if name == "unsubscribe":
            return await session.unsubscribe_resource(AnyUrl(value))
        if name == "prompt":
            return await session.get_prompt(*value)
        if name == "complete":
            prompt, argument, begun = value
            reference = types.PromptReference(type="ref/prompt", name=prompt)
            return await session.complete(reference, {"name": argument, "value": begun})
        if name == "set_level":
            return await session.set_logging_level(value)
        if name == "task":
            created = await tasks.call_tool_as_task(*value, ttl=60000)
            self.task = created.task.taskId
            return created
        if name == "task_status":
            async for status in tasks.poll_task(self.task):
                last = status
            return last
        if name == "task_result":
            return await tasks.get_task_result(self.task, types.CallToolResult)
        if name == "task_cancel":
            return await tasks.cancel_task(self.task)
        if name == "get_task":
            return await tasks.get_task(value)
        if name == "wait_notified":
            while not any(notification["method"] == value for notification in self.notified):
                await asyncio.sleep(0.02)
            return None
        if name == "get":
            await asyncio.to_thread(urllib.request.urlopen, value)
            return None
        raise ValueError(f"no such step: {name}")


async def main():
    plan = json.loads(sys.argv[1])
    asked, notified, answers = [], [], []

    async def sampling(_context, params):
        asked.append({"sampling/createMessage": params.model_dump(mode="json", by_alias=True, exclude_none=True)})
        content = types.TextContent(type="text", text="sampled")
        return types.CreateMessageResult(role="assistant", content=content, model="a-model", stopReason="endTurn")

    async def elicitation(_context, params):
        asked.append({"elicitation/create": params.model_dump(mode="json", by_alias=True, exclude_none=True)})
        if getattr(params, "mode", "form") == "url":
            return types.ElicitResult(action="accept")
        properties = params.requestedSchema.get("properties", {})
        required = params.requestedSchema.get("required", [])
        return types.ElicitResult(action="accept", content={name: fill(properties[name]) for name in required})

    def fill(schema):
        if "enum" in schema:
            return schema["enum"][0]
        if "oneOf" in schema:
            return schema["oneOf"][0]["const"]
        return {"boolean": True, "integer": 1, "number": 1.5, "array": []}.get(schema.get("type"), "an answer")

    async def list_roots(_context):
        asked.append({"roots/list": None})
        return types.ListRootsResult(roots=[types.Root(uri=uri) for uri in plan.get("roots", [])])

    async def message(received):
        if isinstance(received, types.ServerNotification):
            notified.append(received.model_dump(mode="json", by_alias=True, exclude_none=True))

    headers = {"Authorization": f"Bearer {plan['token']}"} if plan.get("token") else {}
    callbacks = {
        "sampling_callback": sampling,
        "elicitation_callback": elicitation,
        "list_roots_callback": list_roots,
        "message_handler": message,
    }
    async with httpx.AsyncClient(headers=headers, timeout=60) as http:
        async with streamable_http_client(plan["url"], http_client=http) as (read, write, _):
            async with ClientSession(read, write, **callbacks) as session:
                initialized = await asyncio.wait_for(session.initialize(), LONGEST_STEP)
                client = Client(session, notified)
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
                    except Exception as error:
                        answers.append({"failure": f"{type(error).__name__}: {error}"})
    report = {"initialized": initialized.model_dump(mode="json", by_alias=True, exclude_none=True)}
    report |= {"answers": answers, "asked": asked, "notified": notified, "progress": client.progress}
    json.dump(report, sys.stdout)


asyncio.run(main())
