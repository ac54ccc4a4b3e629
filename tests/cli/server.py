"""The smallest stdio MCP server: `echo` returns its arguments, `hang` never answers, `secret` is for a policy to hide,
`tasked` can only be called in a way that is not offered."""

import json
import sys

TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "hang", "secret")]
TOOLS.append({"name": "tasked", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "required"}})

for line in sys.stdin:
    message = json.loads(line)
    method, params = message.get("method"), message.get("params") or {}
    if method == "initialize":
        result = {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}, "sampling": {}},
            "serverInfo": {"name": "fixture", "version": "1"},
        }
    elif method == "tools/list":
        result = {"tools": TOOLS}
    elif method == "tools/call" and params["name"] == "echo":
        text = json.dumps(params.get("arguments"), sort_keys=True)
        result = {"content": [{"type": "text", "text": text}]}
    elif method == "ping":
        result = {}
    else:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
