"""Whole calls with the tokens of another authorization server: challenge, step-up, and an issuer that is away."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.auth.resource.issuer import HERE, Issuer
from tests.support import deployment
from tests.support.deployment import Deployment, Instance, bearer, text
from tests.support.scoped import scoped_server

pytestmark = pytest.mark.anyio

METADATA = f"{HERE}/.well-known/oauth-protected-resource/mcp"


@pytest.fixture
def edge(anyio_backend: str) -> Deployment:
    del anyio_backend
    return Deployment()


@pytest.fixture
def issuer(edge: Deployment) -> Issuer:
    return Issuer(now=edge.clock())


@pytest.fixture
def a(edge: Deployment, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> Instance:
    monkeypatch.setattr(deployment, "create_server", scoped_server)
    client = httpx.AsyncClient(transport=httpx.MockTransport(issuer))
    return edge.instance("A", {"http": lambda: client}, auth="jwt", jwt_issuer=issuer.url, public_url=HERE)


async def test_a_client_without_a_token_one_with_too_narrow_a_token_and_one_that_has_stepped_up(
    a: Instance, issuer: Issuer
) -> None:
    call: tuple[str, dict[str, Any]] = ("tools/call", {"name": "change", "arguments": {}})
    nobody = await a.modern(*call).whole()
    narrow = await a.modern(*call, key=issuer.token(scope="read")).whole()
    stepped_up = await a.modern(*call, key=issuer.token(scope="write")).whole()

    assert (nobody.status, nobody.headers["www-authenticate"]) == (
        401,
        f'Bearer resource_metadata="{METADATA}", scope="read write"',
    )
    assert (narrow.status, narrow.headers["www-authenticate"]) == (
        403,
        'Bearer error="insufficient_scope", error_description="The access token does not allow this.", '
        f'resource_metadata="{METADATA}", scope="read write"',  # what it has, too: some clients ask for just this
    )
    assert (stepped_up.status, text(stepped_up.json)) == (200, "changed")


async def test_a_session_belongs_to_its_user_whichever_token_comes(a: Instance, issuer: Issuer) -> None:
    session = await a.initialize(key=issuer.token())
    renewed = deployment.Session(session.id, session.version, issuer.token(scope="read"))
    strangers = [issuer.token(sub="bob"), issuer.token(tid="another tenant")]

    assert text((await renewed.call(a, "look").whole()).json) == "seen"
    for stranger in strangers:
        answer = await deployment.Session(session.id, session.version, stranger).call(a, "free").whole()
        assert (answer.status, answer.json["error"]["code"]) == (404, -32001)


async def test_while_the_issuer_is_away_new_tokens_are_told_to_come_back(a: Instance, issuer: Issuer) -> None:
    issuer.away = True
    answer = await a.modern("tools/list", key=issuer.token()).whole()

    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert answer.json["error"]["message"] == (
        "The authorization server could not be reached, or broke off its answer. Try again."
    )


async def test_the_metadata_of_each_endpoint_is_open_to_every_origin(a: Instance, issuer: Issuer) -> None:
    for path in ("/mcp", "/sse", ""):
        answer = await a.send(
            "GET", f"/.well-known/oauth-protected-resource{path}", [("origin", "https://x.test")]
        ).whole()
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")
        assert answer.json["authorization_servers"] == [issuer.url]
        assert answer.json["scopes_supported"] == ["read", "write"]


async def test_a_token_for_sse_alone_opens_the_stream_and_posts_to_it_and_nothing_else(
    edge: Deployment, a: Instance, issuer: Issuer
) -> None:
    token = issuer.token(aud=f"{HERE}/sse")
    stream = await a.send("GET", "/sse", [("accept", "text/event-stream"), *bearer(token)]).start()
    opened = await stream.event()
    assert opened is not None
    posted = await a.post({"jsonrpc": "2.0", "method": "notifications/x"}, bearer(token), path=opened.data).whole()

    assert posted.status == 202
    assert (await a.modern("tools/list", key=token).whole()).status == 401
    await edge.close()
