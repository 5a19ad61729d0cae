"""On a Worker, `fetch` brings the documents at clients' URLs: what is asked for, and how far an answer is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.auth.server.deployment import Asking
from tests.hosts.cloudflare.isolates import Isolates
from tests.support import authorization
from tests.support.http_host import HttpHost

ENV = {f"MCP_{name.upper()}": value for name, value in authorization.SETTINGS.items()}
HOST = "https://client.example"
CALLBACK = "http://127.0.0.1:33418/callback"
JSON = {"content-type": "application/json"}


def page(path: str, **members: Any) -> dict[str, Any]:
    """The document of the client at `path`."""
    document = {"client_id": HOST + path, "client_name": "App", "redirect_uris": [CALLBACK]}
    return {HOST + path: {"headers": JSON, "body": json.dumps(document), **members}}


INTERNET = {
    **page("/app.json"),
    **page("/moved.json", status=302, headers={**JSON, "location": f"{HOST}/app.json"}),
    **page("/endless.json", body=" " * 1024, endless=True),
    **page("/html", headers={"content-type": "text/html"}),
    "https://10.0.0.1/app.json": {"headers": JSON, "body": "{}"},
}


@pytest.fixture(scope="module")
def isolates() -> Iterator[Isolates]:
    with Isolates(env=ENV, count=1, internet=INTERNET) as running:
        yield running


def asked(isolates: Isolates, client_id: str) -> int:
    """The status of an authorization that the client asks for."""
    query = Asking(client_id=client_id, redirect_uri=CALLBACK).query
    reply = HttpHost(isolates.url, streaming=True).send(
        "GET", f"/authorize?{urlencode(query)}", {"host": "mcp.example.com"}, b""
    )
    reply.whole()
    return reply.status


def test_a_client_with_a_document_is_let_in(isolates: Isolates) -> None:
    assert asked(isolates, f"{HOST}/app.json") in (200, 302, 303)


@pytest.mark.parametrize(
    ("client_id", "reason"),
    [
        (f"{HOST}/moved.json", "status 302 instead of 200"),
        (f"{HOST}/html", "not served as application/json"),
        (f"{HOST}/endless.json", "larger than 5120 bytes"),
        (f"{HOST}/nowhere.json", "no route to https://client.example/nowhere.json"),
        ("https://10.0.0.1/app.json", "names a public server by its domain name"),
    ],
)
def test_what_is_no_document_is_refused_and_the_log_says_why(isolates: Isolates, client_id: str, reason: str) -> None:
    assert asked(isolates, client_id) == 400
    assert reason in isolates.errors(0)
