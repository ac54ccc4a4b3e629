"""Logs the stock client (PyPI mcp 1.30, with chio-sdk 0.1.0 beside it) in to an edge with the built-in authorization server, without a browser.

    python flow.py URL TOOL [--register] [--code-file FILE] [--scope SCOPE]

The browser is played by this script. Where the edge approves by itself it follows the redirect; where the page asks for
the operator's code it takes the last one from FILE, which holds what the edge wrote to its terminal. Everything else is
the client's own doing: the 401, both metadata documents, registration, PKCE, tokens, refresh, and asking for more scope.

Prints one JSON object with what happened. Any failure is an exit status other than 0.
"""

import argparse
import asyncio
import base64
import html
import json
import re
import sys
import urllib.parse

import httpx
from chio.auth import discover_oauth_metadata, exchange_access_token
from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider, TokenStorage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata

REDIRECT = "http://127.0.0.1:53682/callback"
CODE = re.compile(r"\b[0-9A-HJKMNP-TV-Z]{5}-[0-9A-HJKMNP-TV-Z]{5}\b")


class Memory(TokenStorage):
    def __init__(self):
        self.tokens = None
        self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Browser:
    """Goes where the client sends it, and keeps what the redirect to the client says."""

    def __init__(self, code_file):
        self.code_file = code_file
        self.asked = []
        self.answer = {}

    async def go(self, url):
        self.asked.append({name: values[0] for name, values in urllib.parse.parse_qs(query(url)).items()})
        async with httpx.AsyncClient() as client:
            response = await client.get(url)
            if response.status_code == 200:
                response = await self.approve(client, response)
        assert response.status_code == 303, (response.status_code, response.text)
        location = response.headers["location"]
        assert location.startswith(REDIRECT + "?"), location
        self.answer = {name: values[0] for name, values in urllib.parse.parse_qs(query(location)).items()}

    async def approve(self, client, page):
        assert "Approve" in page.text
        token = html.unescape(re.search(r'name="consent" value="([^"]*)"', page.text).group(1))
        with open(self.code_file) as file:
            code = CODE.findall(file.read())[-1]
        address = str(page.url).split("?")[0]
        origin = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(address))
        form = {"consent": token, "decision": "approve", "approval_code": code}
        refused = await client.post(address, data={**form, "approval_code": "00000-00000"}, headers={"origin": origin})
        assert refused.status_code == 403, refused.status_code
        return await client.post(address, data=form, headers={"origin": origin})

    async def come_back(self):
        return self.answer["code"], self.answer.get("state")


def query(url):
    return urllib.parse.urlsplit(url).query


def claims(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


async def session(url, provider, work):
    async with httpx.AsyncClient(auth=provider, timeout=30) as client:
        async with streamable_http_client(url, http_client=client) as (read, write, _):
            async with ClientSession(read, write) as opened:
                await opened.initialize()
                return await work(opened)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("tool")
    parser.add_argument("--register", action="store_true")
    parser.add_argument("--code-file")
    parser.add_argument("--scope", help="narrow the first token to this scope, and see the client ask for more")
    options = parser.parse_args()

    storage, browser = Memory(), Browser(options.code_file)
    if not options.register:
        storage.client = OAuthClientInformationFull(
            client_id="chio-cli", redirect_uris=[REDIRECT], token_endpoint_auth_method="none"
        )
    metadata = OAuthClientMetadata(
        client_name="flow", redirect_uris=[REDIRECT], token_endpoint_auth_method="none"
    )

    def provider():
        return OAuthClientProvider(
            server_url=options.url,
            client_metadata=metadata,
            storage=storage,
            redirect_handler=browser.go,
            callback_handler=browser.come_back,
        )

    async def call(opened):
        tools = [tool.name for tool in (await opened.list_tools()).tools]
        result = await opened.call_tool(options.tool, {})
        return {"tools": tools, "is_error": bool(result.isError), "text": result.content[0].text}

    found = {"first": await session(options.url, provider(), call)}
    first = storage.tokens
    found["asked"] = browser.asked
    found["issuer_in_answer"] = browser.answer.get("iss")
    found["client_id"] = storage.client.client_id
    found["claims"] = claims(first.access_token)
    found["expires_in"] = first.expires_in

    # A client that was away for long refreshes before it calls.
    returning = provider()
    await returning._initialize()
    returning.context.token_expiry_time = 1
    before = len(browser.asked)
    found["second"] = await session(options.url, returning, call)
    found["refreshed"] = storage.tokens.access_token != first.access_token and len(browser.asked) == before
    found["rotated"] = storage.tokens.refresh_token != first.refresh_token

    # The published Chio SDK finds the server and has a weaker token made from this one.
    base = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(options.url))
    discovered = discover_oauth_metadata(base)["authorization_server_metadata"]
    exchanged = exchange_access_token(
        base_url=base,
        auth_scope="chio.read",
        authorization_server_metadata=discovered,
        access_token=storage.tokens.access_token,
    )
    found["exchanged"] = claims(exchanged)

    if options.scope:
        # A token that may only look: the client is told so with 403 and asks for more.
        async with httpx.AsyncClient() as client:
            answer = await client.post(
                base + "/oauth/token",
                data={
                    "grant_type": "refresh_token",
                    "client_id": storage.client.client_id,
                    "refresh_token": storage.tokens.refresh_token,
                    "scope": options.scope,
                },
            )
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        storage.tokens = storage.tokens.model_copy(update=answer.json())
        before = len(browser.asked)
        found["third"] = await session(options.url, provider(), call)
        found["asked_for_more"] = [one.get("scope") for one in browser.asked[before:]]

    json.dump(found, sys.stdout)


asyncio.run(main())
