"""An issuer's keys are fetched seldom, found when they rotate, and never taken from where they could be altered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from mcp_edge.auth.identity.jwks import Jwks
from mcp_edge.errors import ConfigurationError, UpstreamError
from mcp_edge.platform import Platform
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import MemoryAtomics, MemoryRecords
from tests.auth.identity.issuer import ec_jwk, rsa_jwk

pytestmark = pytest.mark.anyio

URL = "https://issuer.test/jwks"


class Issuer:
    """An issuer whose keys, manners and clock a test sets. It counts how often it was asked."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.asked = 0
        self.now = 1_000_000.0
        self.answer: Callable[[], httpx.Response] = lambda: httpx.Response(200, json={"keys": self.keys})

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url) == URL
        self.asked += 1
        await anyio.sleep(0)
        return self.answer()

    def jwks(self, url: str = URL) -> Jwks:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self))
        platform = Platform(
            settings=Settings(),
            records=MemoryRecords(),
            atomics=MemoryAtomics(),
            http=lambda: client,
            clock=lambda: self.now,
        )
        return Jwks(platform, url)


async def test_keys_are_fetched_once_and_found_by_their_id() -> None:
    issuer = Issuer(rsa_jwk("a"), ec_jwk("b"))
    jwks = issuer.jwks()

    found = [await jwks.key(*named) for named in [("a", "RS256"), ("b", "ES256"), ("a", "PS256"), ("a", "RS256")]]

    assert [key.key_id if key else None for key in found] == ["a", "b", "a", "a"]
    assert issuer.asked == 1


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "HS512", "ES256", "ES256K", "", "RS255"])
async def test_an_algorithm_that_does_not_fit_the_key_finds_none(alg: str) -> None:
    assert await Issuer(rsa_jwk("a")).jwks().key("a", alg) is None


@pytest.mark.parametrize(
    "key",
    [
        rsa_jwk("a", use="enc"),
        rsa_jwk("a", key_ops=["encrypt"]),
        rsa_jwk("a", alg="RS512"),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "a"},
        {"kty": "RSA", "kid": "a"},
        {"kty": "RSA", "kid": "a", "n": 5, "e": []},
        {"kid": "a"},
    ],
    ids=["for encryption", "not to verify", "for another algorithm", "symmetric", "empty", "of other types", "no type"],
)
async def test_a_key_that_is_not_to_verify_with_is_not_used(key: dict[str, Any]) -> None:
    assert await Issuer(key).jwks().key("a", "RS256") is None


async def test_a_token_without_a_key_id_takes_the_only_key_that_fits() -> None:
    assert await Issuer(rsa_jwk("a"), ec_jwk("b")).jwks().key(None, "RS256") is not None
    assert await Issuer(rsa_jwk("a"), rsa_jwk("c")).jwks().key(None, "RS256") is None


async def test_a_new_key_is_found_as_soon_as_a_token_names_it_by_all_who_ask_at_once() -> None:
    issuer = Issuer(rsa_jwk("old"))
    jwks = issuer.jwks()
    assert await jwks.key("old", "RS256") is not None
    issuer.keys = [rsa_jwk("new")]
    found: list[bool] = []

    async def ask() -> None:
        found.append(await jwks.key("new", "RS256") is not None)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)

    assert (found, issuer.asked) == ([True] * 20, 2)
    assert await jwks.key("old", "RS256") is None


async def test_invented_key_ids_cost_the_issuer_one_request_a_minute() -> None:
    issuer = Issuer(rsa_jwk("a"))
    jwks = issuer.jwks()
    for n in range(50):
        assert await jwks.key(f"invented-{n}", "RS256") is None
    assert issuer.asked == 2

    issuer.now += 61
    for n in range(50):
        assert await jwks.key(f"invented-{n}", "RS256") is None
    assert issuer.asked == 3


async def test_a_withdrawn_key_is_gone_after_ten_minutes() -> None:
    issuer = Issuer(rsa_jwk("a"), rsa_jwk("b"))
    jwks = issuer.jwks()
    assert await jwks.key("a", "RS256") is not None
    issuer.keys = [rsa_jwk("b")]
    issuer.now += 599
    assert await jwks.key("a", "RS256") is not None

    issuer.now += 2
    assert await jwks.key("a", "RS256") is None


async def test_known_keys_outlast_an_issuer_that_is_down_for_an_hour_and_no_longer() -> None:
    issuer = Issuer(rsa_jwk("a"))
    jwks = issuer.jwks()
    assert await jwks.key("a", "RS256") is not None
    issuer.answer = lambda: httpx.Response(500)
    issuer.now += 3599
    assert await jwks.key("a", "RS256") is not None

    issuer.now += 2
    with pytest.raises(UpstreamError, match="answered with status 500"):
        await jwks.key("a", "RS256")


async def test_an_issuer_that_is_down_is_not_asked_by_everybody_again() -> None:
    issuer = Issuer(rsa_jwk("a"))
    issuer.answer = lambda: httpx.Response(503)
    jwks = issuer.jwks()
    failed: list[str] = []

    async def ask() -> None:
        with pytest.raises(UpstreamError) as refused:
            await jwks.key("a", "RS256")
        failed.append(str(refused.value))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
    assert (failed, issuer.asked) == (["The issuer's key endpoint answered with status 503."] * 20, 1)

    issuer.now += 6
    issuer.answer = lambda: httpx.Response(200, json={"keys": issuer.keys})
    assert await jwks.key("a", "RS256") is not None


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda: httpx.Response(200, content=b"{" + b" " * 300_000 + b"}"), "larger than 262144 bytes"),
        (lambda: httpx.Response(200, content=b"[" * 100_000), "is not JSON"),
        (lambda: httpx.Response(200, json=[]), "expected form"),
        (lambda: httpx.Response(200, json={"keys": {}}), "expected form"),
        (lambda: httpx.Response(302, headers={"location": "https://evil.test/"}), "status 302"),
    ],
    ids=["too large", "too deep", "a list", "keys that are no list", "a redirect"],
)
async def test_an_answer_that_holds_no_keys_says_so(answer: Callable[[], httpx.Response], message: str) -> None:
    issuer = Issuer()
    issuer.answer = answer
    with pytest.raises(UpstreamError, match=message):
        await issuer.jwks().key("a", "RS256")


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.test/jwks",
        "ftp://issuer.test/",
        "https://",
        "https://u:p@issuer.test/",
        "http://127.0.0.1.test/",
        "https://a:99999/",
        "https://a b/",
        "https://\x00/",
        "//a/",
    ],
)
async def test_keys_are_not_fetched_where_they_could_be_altered(url: str) -> None:
    with pytest.raises(ConfigurationError, match="must be https"):
        Issuer().jwks(url)


@pytest.mark.parametrize(
    "url", ["https://issuer.test/jwks", "http://127.0.0.1:1/", "http://localhost/", "http://[::1]/"]
)
async def test_keys_are_fetched_over_tls_or_from_this_machine(url: str) -> None:
    Issuer().jwks(url)
