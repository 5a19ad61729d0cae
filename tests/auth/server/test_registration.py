"""Clients that nobody knew before, at the whole server: POST /register, and the document at a client's URL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from mcp_edge.app import create_app
from mcp_edge.auth.server.attempts import PER_WINDOW
from mcp_edge.auth.server.clients.documents import NEW_TTL_S
from mcp_edge.auth.server.clients.registered import UNUSED_TTL_S
from mcp_edge.auth.server.endpoints.registration import MAX_BYTES
from mcp_edge.errors import ConfigurationError
from tests.auth.resource.test_metadata import FORGED
from tests.auth.server.deployment import (
    PUBLIC_URL,
    Asking,
    Deploy,
    Deployment,
    allow,
    consent_page,
    create_server,
    deploy,
    redeem,
)
from tests.auth.server.test_client_documents import GOOD, URL
from tests.auth.server.test_clients import NATIVE, WEB
from tests.support.strangers import PUBLIC, Names, Wire

pytestmark = pytest.mark.anyio

HERE = "http://127.0.0.1:51234/cb"
JSON = {"content-type": "application/json"}


def without_host(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "host"}


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


async def test_a_registration_is_answered_with_the_client_and_kept_by_nobody_between() -> None:
    async with deploy().client() as http:
        answer = await http.post("/register", json=NATIVE)
    told = answer.json()
    assert (answer.status_code, told["client_name"], told["redirect_uris"]) == (
        201,
        "Notes App",
        NATIVE["redirect_uris"],
    )
    assert "client_secret" not in told
    assert (answer.headers["cache-control"], answer.headers["content-type"]) == ("no-store", "application/json")
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_who_has_registered_is_let_in_on_another_instance(everywhere: Deploy) -> None:
    server = everywhere()
    async with server.client() as http, server.instance().client() as elsewhere:
        client_id = (await http.post("/register", json=NATIVE)).json()["client_id"]
        asking = Asking(client_id=client_id, redirect_uri="http://localhost:51234/cb")
        honest = await elsewhere.get("/authorize", params=asking.query)
        invented = await elsewhere.get("/authorize", params={**asking.query, "client_id": "dcr_" + "0" * 32})
        elsewhere_to = await elsewhere.get(
            "/authorize", params={**asking.query, "redirect_uri": "https://evil.example/cb"}
        )  # fmt: skip
    assert honest.status_code in (200, 302, 303)
    assert "evil.example" not in honest.text
    assert [(answer.status_code, "location" in answer.headers) for answer in (invented, elsewhere_to)] == [
        (400, False),
        (400, False),
    ]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 8000, b'{"a":' * 1600, b"NaN"])
async def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    async with deploy().client() as http:
        answer = await http.post("/register", content=body, headers=JSON)
    assert error(answer) == (400, "invalid_client_metadata")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_another_content_type_is_refused(kind: str) -> None:
    async with deploy().client() as http:
        answer = await http.post("/register", content=json.dumps(NATIVE).encode(), headers={"content-type": kind})
    assert error(answer) == (415, "invalid_request")


async def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1024
            assert sent <= MAX_BYTES + 1024, "nothing more is read"
            yield b" " * 1024

    async with deploy().client() as http:
        largest = await http.post("/register", content=json.dumps(NATIVE).encode().ljust(MAX_BYTES), headers=JSON)
        declared = await http.post("/register", content=b" " * (MAX_BYTES + 1), headers=JSON)
        streamed = await http.post("/register", content=endless(), headers=JSON)
    assert (largest.status_code, error(declared), error(streamed)) == (
        201,
        (413, "invalid_request"),
        (413, "invalid_request"),
    )


async def test_a_flood_from_one_address_makes_few_records_whatever_its_headers_say() -> None:
    server = deploy()
    async with server.client() as http:
        answers = [
            await http.post(
                "/register", json={**WEB, "client_name": f"n{n}"}, headers={**without_host(FORGED), "x-real-ip": f"{n}"}
            )
            for n in range(30)
        ]
    assert [answer.status_code for answer in answers] == [201] * PER_WINDOW["new-client"] + [429] * 20
    assert error(answers[-1]) == (429, "temporarily_unavailable")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 120
    assert len(await server.platform.records.list("client/")) == PER_WINDOW["new-client"]


async def test_a_browser_page_may_register() -> None:
    preflight = {
        "origin": "https://inspector.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type, mcp-protocol-version",
    }
    async with deploy().client() as http:
        answer = await http.options("/register", headers=preflight)
        posted = await http.post("/register", json=NATIVE, headers={"origin": "https://inspector.example"})
    assert (answer.status_code, answer.headers["access-control-allow-headers"]) == (
        204,
        "content-type, mcp-protocol-version",
    )
    assert (posted.status_code, posted.headers["access-control-allow-origin"]) == (201, "*")


async def test_registration_is_a_post_and_nothing_else() -> None:
    async with deploy().client() as http:
        answer = await http.get("/register")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")


async def test_where_it_is_switched_off_it_is_neither_offered_nor_there() -> None:
    async with deploy(registration=("cimd",)).client() as http:
        assert (await http.post("/register", json=NATIVE)).status_code == 404
        told = (await http.get("/.well-known/oauth-authorization-server")).json()
    assert "registration_endpoint" not in told


async def test_no_header_changes_what_the_server_says_of_itself() -> None:
    paths = [
        f"/.well-known/{name}{endpoint}"
        for name in ("oauth-protected-resource", "oauth-authorization-server", "openid-configuration")
        for endpoint in ("", "/mcp", "/sse")
    ]
    async with deploy().client() as http:
        for path in paths:
            honest = await http.get(path)
            forged = await http.get(path, headers=without_host(FORGED))
            other_host = await http.get(path, headers={"host": "localhost"})
            assert honest.status_code == 200
            assert honest.content == forged.content == other_host.content
            assert (await http.get(path, headers={"host": "evil.example"})).status_code == 421
        challenged = await http.post("/mcp", headers=without_host(FORGED))
    assert challenged.status_code == 401
    assert (
        f'resource_metadata="{PUBLIC_URL}/.well-known/oauth-protected-resource/mcp"'
        in (challenged.headers["www-authenticate"])
    )


def test_a_client_of_the_settings_that_cannot_be_used_ends_the_start() -> None:
    with pytest.raises(ConfigurationError, match=r"MCP_CLIENTS: client 1: .*redirect URI"):
        deploy(clients=({"client_id": "app", "redirect_uris": ["myapp://cb"]},))


# -- the document at a client's URL ------------------------------------------------------------------------------------


def documented(on: Deploy, document: dict[str, Any], *addresses: str) -> tuple[Deployment, Wire]:
    """A server, and the internet as it sees it: one host with one document."""
    server, wire = on(), Wire(lambda _: httpx.Response(200, json=document))
    platform = replace(server.platform, http_public=lambda: wire.client(Names(addresses or (PUBLIC,))))
    return Deployment(create_app(create_server(), platform), platform, server.clock), wire


async def ask(server: Deployment, client_id: str, redirect_uri: str) -> httpx.Response:
    async with server.client() as http:
        return await http.get("/authorize", params=Asking(client_id=client_id, redirect_uri=redirect_uri).query)


async def test_a_client_with_a_document_is_let_in_without_registering(everywhere: Deploy) -> None:
    server, wire = documented(everywhere, GOOD)
    answer = await ask(server, URL, "http://127.0.0.1:51234/cb")
    assert answer.status_code in (200, 302, 303)
    assert len(wire.sent) == 1


NO_GOOD = [
    (URL, "https://evil.example/cb", (PUBLIC,), 1),
    (URL + "?other", "http://127.0.0.1/cb", (PUBLIC,), 1),
    (URL, "http://127.0.0.1/cb", ("169.254.169.254",), 0),
    (URL, "http://127.0.0.1/cb", (PUBLIC, "10.0.0.1"), 0),
    ("https://169.254.169.254/latest/meta-data/", "http://127.0.0.1/cb", (PUBLIC,), 0),
    ("https://localhost/app.json", "http://127.0.0.1/cb", (PUBLIC,), 0),
    ("http://client.example/app.json", "http://127.0.0.1/cb", (PUBLIC,), 0),
    (f"{PUBLIC_URL}/authorize?client_id={PUBLIC_URL}/authorize", "http://127.0.0.1/cb", (PUBLIC,), 0),
]
"""Client id, redirect URI, the addresses of its host, and how often it is asked."""


@pytest.mark.parametrize(("client_id", "redirect_uri", "addresses", "fetches"), NO_GOOD)
async def test_a_client_whose_document_is_no_good_gets_a_page_and_no_redirect(
    client_id: str, redirect_uri: str, addresses: tuple[str, ...], fetches: int
) -> None:
    server, wire = documented(deploy, GOOD, *addresses)
    answer = await ask(server, client_id, redirect_uri)
    assert (answer.status_code, "location" in answer.headers, len(wire.sent)) == (400, False, fetches)


async def test_a_document_that_was_refused_is_not_there_the_next_time(everywhere: Deploy) -> None:
    """Names may lead inside now and outside later, and a document be another's now and its own later."""
    server, wire = documented(everywhere, GOOD, "169.254.169.254")
    assert ((await ask(server, URL, HERE)).status_code, len(wire.sent)) == (400, 0)
    another, wire = documented(everywhere, {**GOOD, "client_id": URL + "?other"})
    assert ((await ask(another, URL, HERE)).status_code, len(wire.sent)) == (400, 1)
    form = {"grant_type": "authorization_code", "code": "mec_x", "client_id": URL, "code_verifier": "x" * 43}
    async with another.client() as http:
        assert error(await http.post("/token", data=form)) == (401, "invalid_client")
    honest, wire = documented(everywhere, GOOD)
    assert [(await ask(honest, URL, HERE)).status_code for _ in range(2)] == [200, 200]
    assert len(wire.sent) == 1, "what is good is kept"


VARIANTS = (
    "https://client.example/cb/",
    "https://client.example/cb?x=1",
    "https://client.example/cb#x",
    "https://client.example:8443/cb",
    "https://client.example/%63b",
    "https://client.example/cb/../cb",
    "https://CLIENT.example/cb",
    "https://client.example.evil.example/cb",
    "https://client.example@evil.example/cb",
    "http://client.example/cb",
    "http://127.0.0.1:8000/other",
    "http://127.0.0.2/cb",
    "https://127.0.0.1/cb",
    "javascript:alert(1)",
)


@pytest.mark.parametrize("way", ["cimd", "dcr"])
async def test_a_client_that_is_kept_is_answered_at_what_it_registered_alone(everywhere: Deploy, way: str) -> None:
    server, _ = documented(everywhere, GOOD)
    async with server.client() as http:
        told = {name: GOOD[name] for name in ("client_name", "redirect_uris", "token_endpoint_auth_method")}
        client_id = URL if way == "cimd" else (await http.post("/register", json=told)).json()["client_id"]
    for _ in range(2):  # as it became known, and as it is kept
        answers = [await ask(server, client_id, uri) for uri in VARIANTS]
        assert [(answer.status_code, "location" in answer.headers) for answer in answers] == [(400, False)] * len(
            answers
        )
        for uri in ("https://client.example/cb", "http://127.0.0.1:51234/cb"):
            assert (await ask(server, client_id, uri)).status_code == 200


async def test_a_token_request_of_a_client_that_is_not_known_is_refused_and_fetches_nothing(everywhere: Deploy) -> None:
    server, wire = documented(everywhere, GOOD)
    form = {"grant_type": "authorization_code", "code": "mec_x", "client_id": URL, "code_verifier": "x" * 43}
    async with server.client() as http:
        answers = [
            await http.post(path, data={**form, "token": "mer_x"}) for path in ("/token", "/revoke", "/introspect")
        ]
    assert [error(answer) for answer in answers] == [(401, "invalid_client")] * 3
    assert wire.sent == []


async def test_a_client_with_a_document_refreshes_for_months_after_its_server_has_gone(everywhere: Deploy) -> None:
    server, wire = documented(everywhere, GOOD)
    asking = Asking(client_id=URL, redirect_uri="http://127.0.0.1:51234/cb")
    visitor = server.visitor()
    page = await allow(visitor, await consent_page(visitor, asking))
    tokens = await redeem(visitor.client, asking, page.answer["code"])
    for _ in range(6):
        server.clock.now += 20 * 86400
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "client_id": URL}
        answer = await visitor.client.post("/token", data=form)
        assert answer.status_code == 200
        tokens = answer.json()
    assert len(wire.sent) == 1


@pytest.mark.parametrize("document", [None, GOOD])
async def test_to_ask_for_authorization_keeps_no_client_for_longer(document: dict[str, Any] | None) -> None:
    server, _ = documented(deploy, document or GOOD)
    async with server.client() as http:
        client_id = URL if document else (await http.post("/register", json=NATIVE)).json()["client_id"]
        asking = Asking(client_id=client_id, redirect_uri="http://127.0.0.1:3000/cb")
        assert (await http.get("/authorize", params=asking.query)).status_code == 200
    assert len(await server.platform.records.list("client/")) == 1
    server.clock.now += NEW_TTL_S if document else UNUSED_TTL_S
    assert await server.platform.records.list("client/") == []
