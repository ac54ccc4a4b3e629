"""The published chio-sdk 0.1.0 through one life with the edge; see life.py. It resumes no streams."""

import json
import sys
import urllib.request

from chio.client import ChioClient


def result(message):
    answer = message["result"]
    return {"text": answer["content"][0]["text"], "isError": answer.get("isError", False), "meta": answer.get("_meta", {})}


plan = json.loads(sys.argv[1])
client = ChioClient.with_static_bearer(plan["url"].removesuffix("/mcp"), plan["token"])
report = {}

session = client.initialize()
report["protocol"] = session.protocol_version
initialized = session.handshake.initialize_response.messages[-1]["result"]
report["experimental"] = initialized["capabilities"].get("experimental")
report["tools"] = [tool["name"] for tool in session.list_tools()["result"]["tools"]]
report["echo"] = result(session.call_tool("echo", {"message": "hello"}))
report["denied"] = result(session.call_tool(plan["denied"], {}))
report["resumed"] = None
urllib.request.urlopen(plan["lose"]).read()
try:
    session.call_tool("echo", {"message": "lost"})
    report["lost"] = None
except Exception as error:
    report["lost"] = f"{type(error).__name__}: {error}"

again = client.initialize()
report["recovered"] = result(again.call_tool("echo", {"message": "again"}))
report["closed"] = again.close()
json.dump(report, sys.stdout)
