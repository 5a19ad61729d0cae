"""A call upstream ends in bounded time with a bounded answer, and keeps the credential to itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal, cast

import anyio
import httpx
import pytest
from pydantic import SecretStr

from mcp_edge import Upstream, User, http, upstream
from mcp_edge.app import create_app
from mcp_edge.errors import ConfigurationError, UpstreamError
from mcp_edge.platform import Accounts, Platform
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import MemoryAtomics, MemoryRecords
from mcp_edge.tools.current import CURRENT
from mcp_edge.tools.upstream import OwnAccount
from my_server.server import create_server

pytestmark = pytest.mark.anyio


class Body(httpx.AsyncByteStream):
    """A body made of what `chunks` yields. It knows how much was taken and whether it was closed."""

    def __init__(self, chunks: Callable[[], AsyncIterator[bytes]]) -> None:
        self._chunks = chunks
        self.taken = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks():
            self.taken += len(chunk)
            yield chunk

    async def aclose(self) -> None:
        self.closed = True


@dataclass
class TheCall:
    """A call under way."""

    user: User
    platform: Platform

    async def changed(self, event: object) -> None:
        raise NotImplementedError


def answering(body: Body) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=body)))


async def test_an_answer_that_only_trickles_is_given_up_in_time() -> None:
    async def trickle() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await anyio.sleep(0.001)

    body = Body(trickle)
    async with answering(body) as client:
        with anyio.fail_after(5), pytest.raises(UpstreamError, match=r"did not answer within 0\.05 seconds"):
            await Upstream("https://api.test", "secret", client).get("/", timeout_s=0.05)

    assert body.taken > 1
    assert body.closed


async def test_an_endless_answer_is_read_no_further_than_the_limit() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 1000

    body = Body(endless)
    async with answering(body) as client:
        with pytest.raises(UpstreamError, match="larger than 2500 bytes"):
            await Upstream("https://api.test", "secret", client).get("/", max_bytes=2500)

    assert body.taken == 3000
    assert body.closed


async def test_a_redirect_is_returned_and_not_followed_even_by_a_client_that_would() -> None:
    hosts: list[str] = []

    def redirect(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return httpx.Response(302, headers={"location": "https://elsewhere.test/"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(redirect), follow_redirects=True) as client:
        response = await Upstream("https://api.test", "secret", client).get("/")

    assert (response.status_code, hosts) == (302, ["api.test"])


async def test_what_is_sent_goes_with_the_credential_and_is_sent_again_once_the_token_was_renewed() -> None:
    sent: list[tuple[str, str, str, bytes]] = []

    def refuse_the_old(request: httpx.Request) -> httpx.Response:
        token = request.headers["authorization"]
        sent.append((request.method, str(request.url), token, request.content))
        return httpx.Response(401 if token == "Bearer old" else 201)

    class Account(OwnAccount):
        async def token(self) -> str:
            return "old"

        async def renewed(self, refused: str) -> str:
            assert refused == "old"
            return "new"

    own = Account(accounts=cast("Accounts", None), user=User("https://issuer.test", "alice"))
    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse_the_old)) as client:
        api = Upstream("https://api.test", own, client)
        response = await api.request("POST", "/orders", params={"dry": "no"}, json={"copies": 2})

    assert response.status_code == 201
    url, body = "https://api.test/orders?dry=no", b'{"copies":2}'
    assert sent == [("POST", url, "Bearer old", body), ("POST", url, "Bearer new", body)]


@pytest.mark.parametrize(
    "path",
    [
        *(".evil.test/x", "@evil.test/x", ":443@evil.test/", "evil", "\\evil.test", " /x", "#/x"),
        *("/../admin", "/users/..", "/.", "/a/./b", "/users/%2e%2e/admin", "/users/%2E./admin", "/users/..%2fadmin"),
        *("/users/%252e%252e/admin", "/users/..;v=1/admin", "/users\\..\\admin", "/users/%5c..%5cadmin"),
        *("/x\r\nHost: evil.test", "/x\x00", "/x\x7f", "/x\u2028"),
    ],
)
async def test_no_path_leads_out_of_the_api(path: str) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(UpstreamError, match="leads out of the upstream API"):
            await Upstream("https://api.test/v1/tenant", "secret", client).get(path)

    assert sent == []


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("", "https://api.test/v1"),
        ("/", "https://api.test/v1/"),
        ("?page=..", "https://api.test/v1?page=.."),
        ("/users/a..b/.git?ref=../x#/..", "https://api.test/v1/users/a..b/.git?ref=../x"),
        ("/users/a%2Fb", "https://api.test/v1/users/a%2Fb"),
        ("/users/zo\xeb", "https://api.test/v1/users/zo%C3%AB"),
        ("//evil.test/x", "https://api.test/v1//evil.test/x"),
        ("/https://evil.test", "https://api.test/v1/https://evil.test"),
    ],
)
async def test_every_path_below_the_api_is_sent_as_it_is(path: str, url: str) -> None:
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(f"{request.url.scheme}://{request.url.host}{request.url.raw_path.decode()}")
        return httpx.Response(200)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        await Upstream("https://api.test/v1", "secret", client).get(path)

    assert sent == [url]


async def test_the_credential_is_not_in_the_repr() -> None:
    async with httpx.AsyncClient() as client:
        assert "secret" not in repr(Upstream("https://api.test", "secret", client))


@pytest.mark.parametrize(
    ("user", "token"),
    [
        (User("https://issuer.test", "alice"), "by subject"),
        (User("https://issuer.test", "alice", tenant="acme"), "by principal"),
        (User("https://issuer.test", "alice", tenant="evil"), "the deployment's"),
        (User("keys", "bob"), "the deployment's"),
        (User("https://evil.test", "https://issuer.test|acme|alice"), "the deployment's"),
    ],
    ids=["subject", "principal", "the same subject of another tenant", "nobody's", "another's principal as subject"],
)
def test_a_credential_of_the_settings_is_for_the_user_whom_they_name(user: User, token: str) -> None:
    settings = Settings.from_env(
        {
            "MCP_UPSTREAM_TOKENS": '{"alice": "by subject", "https://issuer.test|acme|alice": "by principal"}',
            "MCP_UPSTREAM_TOKEN": "the deployment's",
        }
    )

    before = CURRENT.set(TheCall(user, Platform(settings, MemoryRecords(), MemoryAtomics())))
    try:
        assert upstream().credential == token
    finally:
        CURRENT.reset(before)


async def test_an_api_that_wants_no_credential_is_called_without_one() -> None:
    user = User("https://issuer.test", "alice")
    async with httpx.AsyncClient() as client:
        platform = Platform(Settings(), MemoryRecords(), MemoryAtomics(), http=lambda: client)
        before = CURRENT.set(TheCall(user, platform))
        try:
            with pytest.raises(UpstreamError, match="No upstream account"):
                upstream()
            assert http() is client
        finally:
            CURRENT.reset(before)


@pytest.mark.parametrize("tokens", ["{", '{"alice": 5}', '["alice"]', "ghp_secret", "alice:a,alice:b"])
def test_credentials_that_cannot_be_read_are_refused_without_being_quoted(tokens: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^MCP_UPSTREAM_TOKENS: (?!.*ghp_)"):
        Settings.from_env({"MCP_UPSTREAM_TOKENS": tokens})


@pytest.mark.parametrize("account", ["identity", "connect"])
def test_accounts_of_users_need_users_who_sign_in_here(account: str) -> None:
    settings = Settings(auth="keys", upstream_account=account)  # pyright: ignore[reportArgumentType] # one of those
    with pytest.raises(ConfigurationError, match=f"MCP_UPSTREAM_ACCOUNT={account} needs MCP_AUTH=oauth"):
        create_app(create_server, Platform(settings, MemoryRecords(), MemoryAtomics()))


@pytest.mark.parametrize(
    ("tokens", "identity", "keys", "refused"),
    [
        ({"alice": "t"}, "dev", True, True),
        ({"keys||alice": "t"}, "dev", True, False),
        ({"alice": "t"}, "dev", False, False),
        ({"alice": "t"}, "keys", True, False),
    ],
)
def test_where_users_come_from_two_places_a_credential_names_the_whole_user(
    tokens: dict[str, str], identity: Literal["dev", "keys"], keys: bool, refused: bool
) -> None:
    settings = Settings(
        auth="oauth",
        public_url="https://mcp.example",
        identity=identity,
        keys={"alice": "0" * 64} if keys else {},
        upstream_tokens={name: SecretStr(token) for name, token in tokens.items()},
    )
    platform = Platform(settings, MemoryRecords(), MemoryAtomics())
    if refused:
        with pytest.raises(
            ConfigurationError, match=r"^MCP_UPSTREAM_TOKENS: the name of entry 1 may be .*`keys\|\|NAME`"
        ):
            create_app(create_server, platform)
    else:
        create_app(create_server, platform)
