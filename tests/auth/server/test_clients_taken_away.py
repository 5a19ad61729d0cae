"""Clients that the operator takes away: out of `MCP_CLIENTS`, or by switching off the way in which they became known.

What they were granted counts no more at any check, and whoever gets their id later inherits nothing of it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from mcp_edge.protocol.keyring import KeyRing
from mcp_edge.text.hashing import short_hash
from tests.auth.server.deployment import (
    CLIENT,
    REDIRECT,
    STARTED_AT,
    Asking,
    Deploy,
    Deployment,
    allow,
    authorize,
    consent_page,
    deploy,
    exchange,
)
from tests.support.visitor import Visitor

pytestmark = pytest.mark.anyio

SECRET = "a secret of the tests, of thirty-two bytes"
URL_ID = "https://app.example/client.json"
OTHERS: dict[str, Any] = {"client_id": "other", "redirect_uris": ["https://other.example/callback"]}
INITIALIZE = json.dumps({
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
})  # fmt: skip
Tokens = dict[str, Any]


async def call(edge: Deployment, token: str, method: str = "POST", path: str = "/mcp") -> httpx.Response:
    """One request with the token."""
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    headers["accept"] = "application/json, text/event-stream"
    async with edge.client() as client:
        return await client.request(method, path, headers=headers, content=INITIALIZE if method == "POST" else b"")


async def answers(edge: Deployment, tokens: Tokens) -> int:
    """The status of a call with the access token."""
    return (await call(edge, tokens["access_token"])).status_code


async def refresh(edge: Deployment, tokens: Tokens, client_id: str = "app", **more: str) -> tuple[int, Tokens]:
    """What the refresh token gets."""
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "client_id": client_id, **more}
    async with edge.client() as client:
        response = await client.post("/token", data=form)
    return response.status_code, json.loads(response.text)


async def granted(edge: Deployment, client_id: str = "app", redirect_uri: str = REDIRECT) -> Tokens:
    """The tokens of a new grant of Alice's."""
    async with edge.visitor() as visitor:
        return await authorize(visitor, Asking(client_id=client_id, redirect_uri=redirect_uri))


def redefined(**members: Any) -> tuple[dict[str, Any], ...]:
    """MCP_CLIENTS with this in place of what the client was."""
    return ({**CLIENT, **members},)


async def registered(edge: Deployment, **members: Any) -> str:
    """The id of a client that registers itself."""
    async with edge.client() as client:
        document = {"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none", **members}
        return json.loads((await client.post("/register", json=document)).text)["client_id"]


async def documented(edge: Deployment, client_id: str = URL_ID) -> str:
    """The id of a client whose document was fetched just now."""
    record = {
        "format": 2, "name": "App", "redirect_uris": [REDIRECT], "grant_types": ["authorization_code", "refresh_token"],
        "uri": "", "fetched_at": STARTED_AT, "fresh_until": STARTED_AT + 86400, "used_at": STARTED_AT, "place": None,
    }  # fmt: skip
    await edge.platform.records.put(f"client/{short_hash(client_id)}", json.dumps(record).encode(), ttl_s=86400)
    return client_id


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/mcp"), ("GET", "/mcp"), ("DELETE", "/mcp"), ("GET", "/sse"), ("POST", "/messages")]
)
async def test_a_token_of_a_client_that_is_taken_out_of_the_settings_is_refused_on_every_wire(
    method: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    edge = deploy(clients=(CLIENT, OTHERS))
    tokens = await granted(edge)
    after = edge.instance(clients=(OTHERS,))
    with caplog.at_level(logging.WARNING, "mcp_edge.audit"):
        refused = await call(after, tokens["access_token"], method, path)

    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    (line,) = caplog.messages
    assert "its client is not in MCP_CLIENTS any more" in line
    assert tokens["access_token"] not in line
    kept = await call(edge.instance(clients=(OTHERS, CLIENT)), tokens["access_token"])
    assert kept.status_code == 200


async def test_that_holds_on_every_store_and_for_what_a_process_already_knows(everywhere: Deploy) -> None:
    edge = everywhere()
    tokens = await granted(edge)
    assert await answers(edge, tokens) == 200
    after = edge.instance(clients=())
    assert await answers(after, tokens) == 401
    assert await answers(after, tokens) == 401
    assert (await refresh(after, tokens))[1]["error"] == "invalid_client"


async def test_who_gets_the_id_of_a_client_later_inherits_no_token_and_no_grant() -> None:
    edge = deploy()
    tokens = await granted(edge)
    secret = "the other app's"
    after = edge.instance(
        clients=redefined(
            redirect_uris=["https://elsewhere.example/callback"],
            client_secret_sha256=sha256(secret.encode()).hexdigest(),
        )
    )
    async with after.client() as client:
        form = {"client_id": "app", "client_secret": secret}
        told = [
            json.loads((await client.post("/introspect", data={**form, "token": tokens[name]})).text)
            for name in ("access_token", "refresh_token")
        ]
    status, answer = await refresh(after, tokens, client_secret=secret)

    assert told == [{"active": False}] * 2
    assert await answers(after, tokens) == 401
    assert (status, answer["error"]) == (400, "invalid_grant")
    assert await answers(edge, tokens) == 401  # the grant has ended
    async with after.visitor() as visitor:
        await visitor.press(await visitor.visit("/apps"), "Sign in", type_in={"value": "alice"})
        assert "No app is connected." in (await visitor.visit("/apps")).text


@pytest.mark.parametrize(
    ("members", "used"),
    [
        ({"client_name": "Another name"}, REDIRECT),
        ({"redirect_uris": ["https://new.example/callback", *CLIENT["redirect_uris"]]}, REDIRECT),
        ({}, "http://127.0.0.1:51234/callback"),
    ],
    ids=["renamed", "with one more address", "on any port of loopback"],
)
async def test_a_client_that_is_still_there_keeps_what_it_was_granted(members: dict[str, Any], used: str) -> None:
    edge = deploy()
    tokens = await granted(edge, redirect_uri=used)
    after = edge.instance(clients=redefined(**members))

    assert await answers(after, tokens) == 200
    assert (await refresh(after, tokens))[0] == 200


async def test_a_code_that_went_to_an_address_that_is_taken_away_gets_no_tokens() -> None:
    edge = deploy()
    asking = Asking()
    async with edge.visitor() as visitor:
        code = (await allow(visitor, await consent_page(visitor, asking))).answer["code"]
    after = edge.instance(clients=redefined(redirect_uris=["https://elsewhere.example/callback"]))
    async with after.client() as client:
        assert json.loads((await exchange(client, asking, code)).text)["error"] == "invalid_grant"


@pytest.mark.parametrize(("known_by", "kind"), [(registered, "dcr"), (documented, "cimd")])
async def test_switching_off_how_clients_become_known_ends_what_they_have(
    known_by: Callable[[Deployment], Any], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    edge = deploy()
    client_id = await known_by(edge)
    tokens, of_settings = await granted(edge, client_id), await granted(edge)
    left = tuple(way for way in ("cimd", "dcr") if way != kind)
    with_other, with_none = edge.instance(registration=left), edge.instance(registration=())
    assert await answers(edge.instance(registration=(kind,)), tokens) == 200
    with caplog.at_level(logging.WARNING, "mcp_edge.audit"):
        assert [await answers(after, tokens) for after in (with_other, with_none)] == [401, 401]

    assert all(f"known by {kind}, which MCP_REGISTRATION lacks" in line for line in caplog.messages)
    assert [await answers(after, of_settings) for after in (with_other, with_none)] == [200, 200]
    assert (await refresh(with_other, tokens, client_id))[1]["error"] == "invalid_client"
    assert (await refresh(edge, tokens, client_id))[0] == 200


@pytest.mark.parametrize("form", [URL_ID, "dcr_" + "0" * 32])
async def test_a_client_of_the_settings_is_not_followed_by_one_of_another_kind(form: str) -> None:
    edge = deploy(clients=redefined(client_id=form))
    tokens = await granted(edge, form)
    assert await answers(edge, tokens) == 200
    after = edge.instance(clients=())
    if form == URL_ID:
        await documented(after)
        assert (await refresh(after, tokens, form))[1]["error"] == "invalid_grant"
    assert await answers(after, tokens) == 401


async def test_a_client_with_a_document_that_the_settings_name_now_keeps_what_it_has() -> None:
    edge = deploy()
    tokens = await granted(edge, await documented(edge))
    after = edge.instance(clients=redefined(client_id=URL_ID), registration=())

    assert await answers(after, tokens) == 200
    assert (await refresh(after, tokens, URL_ID))[0] == 200
    elsewhere = edge.instance(clients=redefined(client_id=URL_ID, redirect_uris=["https://else.example/cb"]))
    assert await answers(elsewhere, tokens) == 401


async def remembered(visitor: Visitor, client_id: str) -> bool:
    """Whether a consent that was given before is enough."""
    page = await consent_page(visitor, Asking(client_id=client_id), site="none")
    return bool(page.left) and "code" in page.answer


async def test_consent_to_a_client_of_the_settings_is_not_remembered_for_one_of_another_kind() -> None:
    edge = deploy(clients=redefined(client_id=URL_ID))
    async with edge.visitor() as visitor:
        await authorize(visitor, Asking(client_id=URL_ID))
        assert await remembered(visitor, URL_ID)
        after = edge.instance(clients=())
        await documented(after)
        async with after.visitor() as later:
            later.client.cookies.update(visitor.client.cookies)
            assert not await remembered(later, URL_ID)


async def test_what_went_to_a_scheme_that_is_not_admitted_any_more_is_refused() -> None:
    edge = deploy(redirect_schemes=("cursor",))
    uri = "cursor://anysphere/callback"
    tokens = await granted(edge, await registered(edge, redirect_uris=[uri]), uri)

    assert await answers(edge, tokens) == 200
    assert await answers(edge.instance(redirect_schemes=("cursor", "code")), tokens) == 200
    assert await answers(edge.instance(redirect_schemes=()), tokens) == 401


async def test_a_token_of_a_release_that_recorded_no_more_than_the_id_counts_by_its_form() -> None:
    edge = deploy(secret_keys=(SecretStr(SECRET),))
    tokens = await granted(edge)
    token, ring = tokens["access_token"].encode(), KeyRing([SECRET])
    digest = sha256(token).hexdigest()
    sealed = await edge.platform.records.get(f"token/{digest}")
    assert sealed is not None
    record = json.loads(ring.open("access token", sealed, context=digest, secret=token) or b"")
    del record["client_kind"], record["redirect_uri"]
    older = ring.seal("access token", json.dumps(record).encode(), context=digest, secret=token)
    await edge.platform.records.put(f"token/{digest}", older, ttl_s=3600)

    assert await answers(edge.instance(), tokens) == 200
    assert await answers(edge.instance(clients=()), tokens) == 401
