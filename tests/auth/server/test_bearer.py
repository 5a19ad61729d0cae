"""The endpoints that need a token: which one is good where, and what a request without it is told."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from mcp_edge.auth.scopes import Scopes
from mcp_edge.auth.server.routes import ServerRoutes
from tests.auth.server.granting import ANN, HERE, SCOPES, URLS, GrantInstance
from tests.auth.server.token_endpoints import FOREIGN_KEY, KEY, LIMITED_KEY, TokenEndpoints

pytestmark = pytest.mark.anyio

METADATA = 'resource_metadata="https://notes.example/.well-known/oauth-protected-resource'
BASELINE = 'scope="notes:read notes:write"'
MISSING = f'Bearer {METADATA}/mcp", {BASELINE}'
INVALID = (
    f'Bearer error="invalid_token", error_description="The access token is not valid here.", '
    f'{METADATA}/mcp", {BASELINE}'
)


async def challenged(
    endpoints: TokenEndpoints, token: str | None, path: str = "/mcp", **more: str
) -> tuple[int, str, str]:
    """The status, the challenge and whether it may be kept."""
    answer = await endpoints.call(token, path, **more)
    return answer.status_code, answer.headers.get("www-authenticate", ""), answer.headers.get("cache-control", "")


async def test_without_a_token_a_client_is_told_where_to_get_one_and_no_error(in_memory: TokenEndpoints) -> None:
    assert await challenged(in_memory, None) == (401, MISSING, "no-store")
    assert await challenged(in_memory, None, "/sse") == (401, MISSING.replace("/mcp", "/sse"), "no-store")
    assert await challenged(in_memory, None, "/messages") == (401, MISSING.replace("/mcp", "/sse"), "no-store")


async def test_a_token_in_the_query_does_not_count(in_memory: TokenEndpoints) -> None:
    tokens = await in_memory.granting.tokens()
    query = f"?access_token={tokens.access_token}"
    assert await challenged(in_memory, None, query=query) == (401, MISSING, "no-store")
    assert (await in_memory.call(tokens.access_token, query="?access_token=x")).status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
async def test_the_scheme_is_read_as_http_has_it(in_memory: TokenEndpoints, scheme: str) -> None:
    tokens = await in_memory.granting.tokens()
    assert (await in_memory.call(tokens.access_token, scheme=scheme)).status_code == 200


@pytest.mark.parametrize("token", ["", "x", "mea_" + "0" * 80, "a b", "mea_\u00e9", "mec_" + "0" * 96])
async def test_what_is_no_token_here_is_invalid_and_of_another_scheme_none_at_all(
    in_memory: TokenEndpoints, token: str
) -> None:
    for scheme, challenge in (("Bearer", INVALID), ("Basic", MISSING), ("DPoP", MISSING), ("", MISSING)):
        answer = await in_memory.http.post(
            "/mcp", headers=[(b"authorization", f"{scheme} {token}".encode("latin-1"))], content=b"{}"
        )
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, challenge)


async def test_a_good_token_under_another_scheme_is_none(in_memory: TokenEndpoints) -> None:
    tokens = await in_memory.granting.tokens()
    for scheme in ("Basic", "DPoP", "Token"):
        assert await challenged(in_memory, tokens.access_token, scheme=scheme) == (401, MISSING, "no-store")
    assert (await in_memory.call(tokens.access_token)).status_code == 200


async def test_what_is_of_this_server_but_no_access_token_is_invalid(in_memory: TokenEndpoints) -> None:
    code = await in_memory.granting.code()
    tokens = await in_memory.granting.tokens()
    for wrong in (code, tokens.refresh_token, tokens.access_token.upper(), tokens.access_token + "0"):
        assert await challenged(in_memory, wrong) == (401, INVALID, "no-store")


@pytest.mark.parametrize("of", ["/mcp", "/sse", ""])
async def test_a_token_for_one_endpoint_is_invalid_at_the_other(endpoints: TokenEndpoints, of: str) -> None:
    tokens = await endpoints.granting.tokens(resource=URLS.issuer + of)
    statuses = {path: (await endpoints.call(tokens.access_token, path)).status_code for path in ("/mcp", "/messages")}
    refused = {"/mcp": {"/messages"}, "/sse": {"/mcp"}, "": set[str]()}[of]
    assert {path for path, status in statuses.items() if status == 401} == refused


async def test_an_expired_token_is_invalid_and_so_is_an_ended_one(endpoints: TokenEndpoints) -> None:
    old, ended = await endpoints.granting.tokens(), await endpoints.granting.tokens()
    good = [(await endpoints.call(tokens.access_token)).status_code for tokens in (old, ended)]
    await endpoints.granting.elsewhere().grants.end_all(ANN.principal)
    late = await endpoints.granting.tokens()
    endpoints.granting.clock.advance(3600)
    assert good == [200, 200]
    for tokens in (old, ended, late):
        assert await challenged(endpoints, tokens.access_token) == (401, INVALID, "no-store")


async def test_an_access_key_is_good_beside_tokens_and_for_this_server_alone(in_memory: TokenEndpoints) -> None:
    assert [(await in_memory.call(key)).status_code for key in (KEY, LIMITED_KEY)] == [200, 200]
    assert await challenged(in_memory, FOREIGN_KEY) == (401, INVALID, "no-store")


async def test_forging_headers_moves_no_url(in_memory: TokenEndpoints) -> None:
    forged = {"host": "evil.example", "x-forwarded-host": "evil.example", "forwarded": "host=evil.example"}
    for headers in (forged, {"x-forwarded-host": "evil.example", "x-forwarded-proto": "http"}):
        answer = await in_memory.http.post("/mcp", headers=headers, content=b"{}")
        assert "evil" not in str(answer.headers) + answer.text
        assert answer.headers.get("www-authenticate", MISSING) == MISSING


async def test_a_call_reads_the_store_once_for_its_token(in_memory: TokenEndpoints) -> None:
    tokens = await in_memory.granting.tokens()
    trouble = in_memory.granting.trouble()
    watched = TokenEndpoints(GrantInstance(trouble.records, trouble.atomics, in_memory.granting.clock))
    routes = ServerRoutes(watched.platform, _scopes)
    for _ in range(3):
        trouble.log.clear()
        user = await routes.authenticator.authenticate(watched.request(tokens.access_token))
        assert (user.subject, [name.split("/")[0] for name in trouble.log]) == ("ann", ["get token"])
    trouble.log.clear()
    for forged in ("mea_forged", "mea_" + "0" * 80, tokens.access_token[:-1] + "g"):
        assert await watched.granting.grants.user(forged, HERE) is None
    assert trouble.log == []


async def _scopes() -> Scopes:
    return SCOPES


LOADED = """
import asyncio, json, sys
from tests.auth.server.granting import GrantInstance
from tests.auth.server.token_endpoints import TokenEndpoints
from tests.support.clock import Clock
from mcp_edge.auth.server.model import Client
from mcp_edge.storage.memory import open_memory

async def main():
    clock = Clock()
    endpoints = TokenEndpoints(GrantInstance(*open_memory(clock), clock), clients=[])
    registered = Client("dcr_" + "0" * 32, "App", ("https://app.example/callback",), "dcr")
    tokens = await endpoints.granting.tokens(client=registered)
    assert (await endpoints.call(tokens.access_token)).status_code == 200
    assert (await endpoints.call(None)).status_code == 401

asyncio.run(main())
print(json.dumps([name for name in sys.modules if name.startswith("mcp_edge.")]))
"""


def test_who_only_calls_tools_loads_no_page_and_nothing_that_issues() -> None:
    found = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    loaded = set(json.loads(found.stdout.splitlines()[-1]))
    spared = {"server", "browsers", "attempts", "browser.authorize", "browser.consent", "browser.pages"}
    spared |= {"clients.lookup", "clients.documents", "endpoints.token"}
    assert loaded & {f"mcp_edge.auth.server.{name}" for name in spared} == set()
    assert not any(name.startswith("mcp_edge.pages.") for name in loaded)
