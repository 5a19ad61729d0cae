"""Attempts are counted by the address that Cloudflare states of the caller, on whichever isolate."""

from __future__ import annotations

import json

from mcp_edge.auth.server.attempts import PER_WINDOW
from tests.hosts.cloudflare.isolates import Isolates
from tests.support import authorization
from tests.support.http_host import HttpHost

ENV = {f"MCP_{name.upper()}": value for name, value in authorization.SETTINGS.items()}
CLIENT = json.dumps({"redirect_uris": ["http://localhost/cb"]}).encode()


def registered(url: str, **headers: str) -> int:
    """The status of a registration. Cloudflare sets `CF-Connecting-IP` itself, over what a client sends."""
    fields = {"host": "mcp.example.com", "content-type": "application/json", **headers}
    reply = HttpHost(url, streaming=True).send("POST", "/register", fields, CLIENT)
    reply.whole()
    return reply.status


def test_an_address_has_its_attempts_whatever_its_headers_say_and_the_next_one_its_own() -> None:
    most = PER_WINDOW["new-client"]
    with Isolates(env=ENV) as running:
        forged = [{"x-forwarded-for": f"203.0.113.{n}", "x-real-ip": f"203.0.113.{n}"} for n in range(most + 1)]
        attempts = [registered(running.url, **{"cf-connecting-ip": "198.51.100.7"}, **headers) for headers in forged]
        assert attempts == [201] * most + [429]
        assert registered(running.url, **{"cf-connecting-ip": "198.51.100.8"}) == 201
