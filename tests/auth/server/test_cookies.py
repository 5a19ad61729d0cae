"""Whose cookie it is: ours when every byte of its name is, and somebody else's in any other spelling."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable

import httpx
import pytest

from mcp_edge.auth.server import cookies
from tests.auth.server.deployment import Asking, allow, consent_page, deploy
from tests.support.visitor import Visitor

pytestmark = pytest.mark.anyio

SESSION, BINDING = b"__Host-mcp-session", b"__Host-mcp-browser"
TRUE, OTHER = b"T" * 42 + b"A", b"O" * 42 + b"A"
NO_NAME = frozenset(b"\t ;=")
"""Bytes that browsers leave away around a name (RFC 6265bis §5.6), or at which it ends."""
SPELLED = [
    *(pytest.param(bytes([n]) + b"%s", id=f"{n:02x} before") for n in (0xA0, 0x85, 0x0B, 0x0C, 0x1C, 0x1F)),
    *(pytest.param(b"%s" + bytes([n]), id=f"{n:02x} after") for n in (0xA0, 0x85, 0x0B, 0x0C, 0x1C, 0x1F)),
    *(pytest.param(text.encode() + b"%s", id=f"{text!r} before") for text in ("\xa0", "\u2003", "\ufeff", '"', "$")),
]


def fields(*values: bytes) -> list[tuple[bytes, bytes]]:
    """Cookie fields."""
    return [(b"cookie", content) for content in values]


async def sign_in(browser: Visitor) -> bytes:
    """Sign in as alice: the value of the cookie."""
    await browser.press(await browser.visit("/sign-in"), "Sign in", type_in={"value": "alice"})
    return browser.cookie("__Host-mcp-session").encode()


def test_one_name_in_ever_so_many_spellings_is_one_name() -> None:
    for n in set(range(256)) - NO_NAME:
        for name in (bytes([n]) + SESSION, SESSION + bytes([n])):
            assert cookies.value(fields(name + b"=" + TRUE), SESSION) is None
            for both in (
                b"%s=%s; %s=%s" % (SESSION, TRUE, name, OTHER),
                b"%s=%s; %s=%s" % (name, OTHER, SESSION, TRUE),
            ):
                assert cookies.value(fields(both), SESSION) == TRUE.decode()
    for name in (SESSION.upper(), SESSION.lower(), b"__host-mcp-session", b"%5F%5FHost-mcp-session"):
        assert cookies.value(fields(name + b"=" + TRUE), SESSION) is None


@pytest.mark.parametrize(
    "around", [b"%s", b" %s", b"\t%s \t", b"a=b; %s", b"a=b;%s;c=d", b"%s; c", b"; ;%s;", b"\xa0;%s"]
)
def test_what_browsers_put_between_two_cookies_belongs_to_neither(around: bytes) -> None:
    assert cookies.value(fields(around % (SESSION + b"=" + TRUE)), SESSION) == TRUE.decode()


def test_of_several_cookies_of_the_name_none_counts() -> None:
    pair = SESSION + b"=" + TRUE
    assert cookies.value(fields(pair + b"; " + SESSION + b"=" + OTHER), SESSION) is None
    assert cookies.value(fields(pair, SESSION + b"=" + OTHER), SESSION) is None
    assert cookies.value(fields(pair + b"; " + SESSION, b"a=b"), SESSION) == TRUE.decode()  # it has no name


def test_a_value_is_of_the_form_in_which_it_is_issued() -> None:
    for _ in range(64):
        made = cookies.new_value()
        assert cookies.value(fields(b"%s=%s" % (SESSION, made.encode())), SESSION) == made
    every = {urlsafe_b64encode(bytes(31) + bytes([n]))[42:43] for n in range(256)}
    for n in range(256):
        last = bytes([n])
        found = cookies.value(fields(b"%s=%s" % (SESSION, b"A" * 42 + last)), SESSION)
        assert (found is not None) is (last in every)
    for wrong in (
        b"",
        b"A" * 42,
        b"A" * 44,
        b'"' + TRUE + b'"',
        TRUE + b"\xa0",
        b"\xa0" + TRUE,
        b" " + TRUE,
        b"=" + TRUE,
    ):
        assert cookies.value(fields(b"%s=%s" % (SESSION, wrong)), SESSION) is None


@pytest.mark.parametrize("spelled", SPELLED)
async def test_a_session_planted_under_another_name_signs_nobody_in_and_nobody_out(spelled: bytes) -> None:
    edge = deploy()
    async with edge.visitor() as mallory, edge.client() as victim, edge.visitor() as alice:
        planted = spelled % SESSION + b"=" + await sign_in(mallory)
        true = SESSION + b"=" + await sign_in(alice)

        lured = await victim.get("/apps", headers=fields(planted))
        honest = [
            await victim.get("/apps", headers=fields(both))
            for both in (true, planted + b"; " + true, true + b"; " + planted)
        ]
        assert (lured.status_code, [answer.status_code for answer in honest]) == (303, [200] * 3)


@pytest.mark.parametrize("spelled", SPELLED)
async def test_a_binding_planted_under_another_name_finishes_nothing_and_hinders_nobody(spelled: bytes) -> None:
    edge = deploy()
    async with edge.visitor() as mallory, edge.client() as victim:
        mallory.client.cookies.set(BINDING.decode(), OTHER.decode(), domain="mcp.example")
        waiting = await mallory.press(await consent_page(mallory, Asking()), "Allow")
        planted = spelled % BINDING + b"=" + OTHER
        for cookie in (planted, planted + b"; %s=%s" % (BINDING, TRUE)):
            assert (await victim.get(waiting.url, headers=fields(cookie))).status_code == 403
        assert (await victim.get(waiting.url, headers=fields(BINDING + b"=" + OTHER))).status_code == 200

    async with edge.visitor() as honest:
        honest.client.event_hooks["request"] = [beside(planted)]
        assert "code" in (await allow(honest, await consent_page(honest, Asking()))).answer


def beside(planted: bytes) -> Callable[[httpx.Request], Awaitable[None]]:
    """What sends `planted` beside the browser's own cookies."""

    async def add(request: httpx.Request) -> None:
        own = request.headers.get("cookie", "").encode()
        request.headers.pop("cookie", None)
        request.headers = httpx.Headers([*request.headers.raw, (b"cookie", own + b"; " + planted)])

    return add
