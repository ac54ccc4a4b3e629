"""A small MCP server over stdio, with the standard library only: tools that fail, linger, die and count.

The first argument is a folder. Each call of `count` appends its number to the file `counted` there before it answers,
so that what ran is known even after the server was killed. Calls run on threads, as many at once as are made.

With `stubborn` as the second argument the server and a daemon that it starts do not end by themselves: not when input
ends, and not when they are asked to.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

STUBBORN = sys.argv[2:] == ["stubborn"]
FOLDER = sys.argv[1]
COUNTED = os.open(os.path.join(FOLDER, "counted"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
TOOLS = ["echo", "count", "linger", "die", "fail", "break", "ask", "hidden"]

if STUBBORN:
    # Ignored signals stay ignored in what is started from here. The daemon leaves our session, and so our reach.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["sleep", "1000"], start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

with open(os.path.join(FOLDER, "workshop.pid"), "w") as file:
    file.write(str(os.getpid()))

writing = threading.Lock()
answers = {}


def send(message):
    line = json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")) + "\n"
    with writing:
        sys.stdout.write(line)
        sys.stdout.flush()


def text(value, **more):
    return {"content": [{"type": "text", "text": value}], **more}


def mark(name):
    with open(os.path.join(FOLDER, name), "w") as file:
        file.write("x")


class Refused(Exception):
    pass


def ask(method, params):
    """Asks the client something, as a server may; returns what it answered."""
    arrived = threading.Event()
    identifier = f"ask-{time.monotonic_ns()}"
    answers[identifier] = [arrived, None]
    send({"id": identifier, "method": method, "params": params})
    if not arrived.wait(30):
        raise Refused("the client did not answer")
    return answers.pop(identifier)[1]


def call(name, arguments):
    if name == "echo" or name == "hidden":
        return text(json.dumps(arguments))
    if name == "count":
        os.write(COUNTED, f"{arguments['n']}\n".encode())
        return text("counted")
    if name == "linger":
        mark("lingering")
        time.sleep(arguments["seconds"])
        return text("done lingering")
    if name == "die":
        mark("dying")
        os._exit(7)
    if name == "fail":
        return text("it failed, as it was asked to", isError=True)
    if name == "break":
        raise Refused("it broke, as it was asked to")
    if name == "ask":
        return text(json.dumps(ask(arguments["method"], arguments["params"])))
    raise Refused(f"unknown tool: {name}")


def answer(method, params):
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
            "serverInfo": {"name": "workshop", "version": "1"},
        }
    if method == "ping":
        return {}
    if method == "tools/list":
        return {"tools": [{"name": name, "description": name, "inputSchema": {"type": "object"}} for name in TOOLS]}
    if method == "tools/call":
        return call(params["name"], params.get("arguments", {}))
    if method == "resources/list":
        return {"resources": [{"uri": uri, "name": uri} for uri in ("file:///srv/notes.md", "file:///srv/.env")]}
    if method == "resources/read":
        mark("resource-read")
        return {"contents": [{"uri": params["uri"], "text": "the content of " + params["uri"]}]}
    if method == "prompts/list":
        return {"prompts": [{"name": "greet"}, {"name": "secret"}]}
    if method == "prompts/get":
        return {"messages": [{"role": "user", "content": {"type": "text", "text": "hello"}}]}
    raise Refused(f"unknown method: {method}")


def serve(request):
    try:
        send({"id": request["id"], "result": answer(request["method"], request.get("params", {}))})
    except Refused as error:
        send({"id": request["id"], "error": {"code": -32000, "message": str(error)}})


for line in sys.stdin:
    message = json.loads(line)
    if "method" not in message:
        waiting = answers[message["id"]]
        waiting[1] = message.get("error") or message.get("result")
        waiting[0].set()
    elif "id" in message:
        if message["method"] == "tools/call" and message["params"]["name"] == "count":
            # At once, without the cost of a thread: this one is called thousands of times.
            serve(message)
        else:
            threading.Thread(target=serve, args=(message,), daemon=True).start()

if STUBBORN:
    time.sleep(1000)
