"""With `upstream_account=identity` a tool acts upstream as whoever signed in, until the provider takes that back."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.auth.identity.caller import HANDSHAKE, MODERN, Caller, at, said
from tests.auth.identity.provider import Provider
from tests.auth.identity.test_sign_in import back, leave
from tests.auth.server.deployment import Asking, Deployment, redeem
from tests.support.visitor import Visitor

pytestmark = pytest.mark.anyio


def site_of(provider: Provider, http: httpx.AsyncClient, **settings: Any) -> Deployment:
    return at(provider, http, **provider.settings_of_server(upstream_account="identity", **settings))


async def signed_in(provider: Provider, visitor: Visitor, user: str) -> str:
    """An access token of a client that this user has let in."""
    asking = Asking()
    page = await back(visitor, await provider.answer(await leave(visitor, asking), f"login={user}"))
    return (await redeem(visitor.client, asking, page.answer["code"]))["access_token"]


@pytest.mark.parametrize("version", [MODERN, HANDSHAKE])
async def test_each_user_acts_by_his_own_account(provider: Provider, http: httpx.AsyncClient, version: str) -> None:
    site = site_of(provider, http)
    for user in ("alice", "bob"):
        async with site.visitor() as visitor:
            caller = Caller(site, await signed_in(provider, visitor, user), version)
            assert said(await caller.call()) == (False, user)


async def test_an_account_whose_token_ends_is_renewed_unseen(http: httpx.AsyncClient) -> None:
    with Provider({"accessTokenTtl": 70}) as provider:
        site = site_of(provider, http)
        async with site.visitor() as visitor:
            caller = Caller(site, await signed_in(provider, visitor, "alice"))
            for _ in range(3):
                assert said(await caller.call()) == (False, "alice")
                site.clock.now += 20


async def test_a_revoked_account_is_said_by_the_tool_and_has_the_client_authorize_again(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with Provider() as provider:
        site = site_of(provider, http)
        async with site.visitor() as visitor:
            caller = Caller(site, await signed_in(provider, visitor, "alice"))
            assert said(await caller.call()) == (False, "alice")
            await provider.post("/revoke")

            failed, text = said(await caller.call())
            refused = await caller.call()

            assert failed
            assert text.endswith(
                f"{provider.name} takes the credential of your account no more. Authorize this app again to connect it."
            )
            assert refused.status_code == 401
            assert 'error="invalid_token"' in refused.headers["www-authenticate"]
            again = Caller(site, await signed_in(provider, visitor, "alice"))
            assert said(await again.call()) == (False, "alice")
    assert "what=upstream outcome=refused" in caplog.text


async def test_a_provider_that_is_away_ends_nothing(http: httpx.AsyncClient) -> None:
    with Provider({"accessTokenTtl": 70}) as provider:
        site = site_of(provider, http)
        async with site.visitor() as visitor:
            caller = Caller(site, await signed_in(provider, visitor, "alice"))
            site.clock.now += 20
            provider.stop()

            failed, text = said(await caller.call())

            assert failed
            assert text.endswith(f"{provider.name} could not be reached, or broke off its answer.")
            assert (await caller.call()).status_code == 200


async def test_a_credential_of_the_settings_comes_before_the_account(
    provider: Provider, http: httpx.AsyncClient
) -> None:
    principal = f"{provider.issuer}||alice"
    site = site_of(provider, http, upstream_tokens={principal: "of the settings"})
    async with site.visitor() as visitor:
        caller = Caller(site, await signed_in(provider, visitor, "alice"))

        assert said(await caller.call())[1].endswith("status 401")
        assert (await caller.call()).status_code == 200
