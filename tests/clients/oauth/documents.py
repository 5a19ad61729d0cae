"""A client metadata document, published on a public server that exists nowhere.

The server fetches such documents from public addresses over TLS alone, and tests reach no public address. So this one
is fetched in this process, by the server's own code over a transport that opens no socket, into the store of the fleet;
the processes find it there, as fresh as one that another instance has fetched.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import httpx

from mcp_edge.auth.server.attempts import Attempts
from mcp_edge.auth.server.clients.lookup import Clients
from mcp_edge.auth.server.model import Client
from mcp_edge.outbound import public_http
from mcp_edge.platform import Platform
from mcp_edge.settings import Settings
from mcp_edge.storage.choose import open_store
from tests.support.strangers import request_from

URL = "https://client.example/oauth.json"
DOCUMENT = {
    "client_id": URL,
    "client_name": "Scribe",
    "client_uri": "https://client.example/",
    "redirect_uris": ["http://127.0.0.1/callback", "http://localhost/oauth/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}


async def publish(store: str, public_url: str) -> Client:
    """Have the document fetched into `store`."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == ("GET", "/oauth.json")
        return httpx.Response(200, content=json.dumps(DOCUMENT), headers={"content-type": "application/json"})

    async def resolve(host: str) -> Sequence[str]:
        assert host == "client.example"
        return ["93.184.216.34"]

    records, atomics = open_store(store)
    client = public_http.client(httpx.MockTransport(answer), resolve)
    platform = Platform(
        settings=Settings(public_url=public_url, auth="oauth"),
        records=records,
        atomics=atomics,
        http_public=lambda: client,
    )
    try:
        clients = Clients(platform, Attempts(platform))
        found = await clients.find_or_fetch(URL, request_from())
    finally:
        await client.aclose()
        await records.aclose()
        await atomics.aclose()
    assert found is not None
    return found
