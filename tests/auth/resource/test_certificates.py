"""A certificate counts when the proxy that verified it names it, and when nobody else does."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from mcp_edge.app import create_app
from mcp_edge.auth.resource.certificates import ProxyCertificates
from mcp_edge.errors import ConfigurationError, Unauthenticated
from mcp_edge.protocol.request import Request
from mcp_edge.settings import Settings
from mcp_edge.user import User
from tests.auth.server.deployment import PUBLIC_URL, create_server, deploy

SECRET = secrets.token_hex(32)
SUBJECT = "CN=ann,O=Example"


def client(secret: str = SECRET) -> httpx.AsyncClient:
    """A client of a server that takes certificates."""
    platform = deploy().platform
    told: dict[str, Any] = {
        "auth": "access",
        "certificate_header": "X-Client-Cert-Subject",
        "proxy_secret": SecretStr(secret) if secret else None,
    }
    app = create_app(create_server(), replace(platform, settings=platform.settings.model_copy(update=told)))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC_URL)


Headers = list[tuple[str, str | bytes]]
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "certificates", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


async def asked(headers: Headers) -> httpx.Response:
    """The answer to a request of revision 2026-07-28."""
    fields: Headers = [
        *headers,
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/list"),
    ]
    raw = [(name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in fields]
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}
    async with client() as caller:
        return await caller.post("/mcp", json=message, headers=raw)


async def answer(headers: Headers) -> int:
    """The status of a request."""
    return (await asked(headers)).status_code


async def user_of(subject: bytes) -> User:
    """Whom the server sees behind a certificate that the proxy has named so."""
    platform = deploy().platform
    told: dict[str, Any] = {"certificate_header": "X-Client-Cert-Subject", "proxy_secret": SecretStr(SECRET)}
    authenticator = ProxyCertificates(replace(platform, settings=platform.settings.model_copy(update=told)))
    fields = [(b"x-proxy-secret", SECRET.encode()), (b"x-client-cert-subject", subject)]
    return await authenticator.authenticate(request_with(fields))


def request_with(fields: list[tuple[bytes, bytes]]) -> Request:
    async def nothing(*_: object) -> Any:
        raise AssertionError("nothing is received or sent")

    return Request({"type": "http", "method": "POST", "path": "/mcp", "headers": fields}, nothing, nothing)


@pytest.mark.anyio
async def test_the_proxys_word_is_taken() -> None:
    assert await answer([("x-proxy-secret", SECRET), ("x-client-cert-subject", SUBJECT)]) == 200


@pytest.mark.anyio
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("x-client-cert-subject", SUBJECT)],
        [("x-proxy-secret", "x" * 64), ("x-client-cert-subject", SUBJECT)],
        [("x-proxy-secret", SECRET)],
        [("x-proxy-secret", SECRET), ("x-client-cert-subject", " ")],
        [("x-proxy-secret", SECRET), ("x-client-cert-subject", "x" * 513)],
        [("x-proxy-secret", SECRET), ("x-client-cert-subject", SUBJECT), ("x-client-cert-subject", "CN=eve")],
        [("authorization", f"Bearer {SECRET}"), ("x-client-cert-subject", SUBJECT)],
        [("x-proxy-secret", "x" * 64), ("x-proxy-secret", SECRET), ("x-client-cert-subject", SUBJECT)],
    ],
    ids=[
        "nothing", "no secret", "another secret", "no name", "an empty name", "a long name", "two names", "a bearer",
        "two secrets",
    ],
)  # fmt: skip
async def test_nobody_elses_is(headers: Headers) -> None:
    assert await answer(headers) == 401


NAMES = [
    "CN=Nicolà", "CN=NicolÅ", "CN=NicolÃ", "CN=Nicol", "CN=Nicolà Rossi", "CN=Nicola\u0300", "CN=nicolà",
    "CN=Łukasz", "CN=Ŝukasz", "CN=?ukasz", "CN=\u212Aim", "CN=Kim", "CN=kim", "CN=ﬁn", "CN=fin", "CN=ß", "CN=ss",
    "CN=\uff11", "CN=1", "AB:CD:EF", "ab:cd:ef", "CN=ann,O=Example", "CN=ann, O=Example",
]  # fmt: skip
"""Names that some reading of bytes or letters takes for one another."""


@pytest.mark.anyio
async def test_each_name_is_a_user_of_its_own_and_is_shown_as_it_is() -> None:
    users = [await user_of(name.encode()) for name in NAMES]

    assert [(user.subject, user.name) for user in users] == [(name, name) for name in NAMES]
    assert len({user.principal for user in users}) == len(NAMES)


@pytest.mark.anyio
async def test_only_space_and_tab_around_a_name_are_not_part_of_it() -> None:
    assert (await user_of(b" \tCN=ann\t ")).subject == "CN=ann"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        ("CN=Nicolà".encode("latin-1"), "is not UTF-8"),
        ("CN=NicolÅ".encode("latin-1"), "is not UTF-8"),
        (b"CN=ann\xa0", "is not UTF-8"),
        (b"\x85CN=ann", "is not UTF-8"),
        (b"CN=ann\xc3", "is not UTF-8"),
        (b"CN=\xc1\xa1nn", "is not UTF-8"),
        (b"CN=\xed\xa0\x80", "is not UTF-8"),
        ("CN=ann\ufffd".encode(), "is not UTF-8"),
        ("CN=ann\u00a0".encode(), "cannot be seen"),
        ("\u0085CN=ann".encode(), "cannot be seen"),
        ("CN=ann\u2028".encode(), "cannot be seen"),
        ("CN=\u202enna".encode(), "cannot be seen"),
        *[(b"CN=ann" + bytes([byte]), "cannot be seen") for byte in (0x0B, 0x0C, 0x1C, 0x1D, 0x1E, 0x1F, 0x7F, 0)],
        *[(bytes([byte]) + b"CN=ann", "cannot be seen") for byte in (0x0B, 0x0C, 0x1C, 0x1D, 0x1E, 0x1F, 0x7F, 0)],
        (b"x" * 513, "longer than 512"),
        (b" \t", "named none"),
    ],
)
async def test_a_name_that_could_be_taken_for_another_is_refused_and_the_client_is_told_why(
    subject: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "mcp_edge.audit"), pytest.raises(Unauthenticated, match=reason):
        await user_of(subject)

    assert reason in caplog.text


@pytest.mark.anyio
async def test_of_two_names_none_is_taken_and_the_answer_says_so() -> None:
    two: Headers = [("x-client-cert-subject", SUBJECT), ("x-client-cert-subject", SUBJECT)]
    answered = await asked([("x-proxy-secret", SECRET), *two])

    assert answered.status_code == 401
    assert "the proxy named two" in answered.json()["error"]["message"]


@pytest.mark.parametrize("option", ["certificate_header", "client_address_header"])
@pytest.mark.parametrize("name", ["X-Client-Cért", "X Client", "X-Client:", "X-Client\u00a0", "X-\u212a"])
def test_what_cannot_be_the_name_of_a_header_ends_the_start(option: str, name: str) -> None:
    assert Settings.from_env({f"MCP_{option.upper()}": "X-Client-Cert"})
    with pytest.raises(ConfigurationError, match=f"MCP_{option.upper()}: .*is no name of a header"):
        Settings.from_env({f"MCP_{option.upper()}": name})


@pytest.mark.parametrize("secret", ["", "x" * 31])
def test_without_a_secret_of_its_own_it_does_not_start(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="MCP_PROXY_SECRET"):
        client(secret)
