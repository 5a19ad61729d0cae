"""Clients of the settings, and clients that register themselves."""

from __future__ import annotations

import asyncio
import json
from hashlib import sha256
from typing import Any

import pytest
from mcp.shared.auth import OAuthClientInformationFull

from mcp_edge.auth.server.attempts import Attempts
from mcp_edge.auth.server.clients.lookup import Clients
from mcp_edge.auth.server.clients.registered import UNUSED_TTL_S
from mcp_edge.auth.server.model import CLIENT_TTL_S, Client, OAuthError
from mcp_edge.errors import ConfigurationError, NotFound
from mcp_edge.platform import Platform
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import open_memory
from tests.support.clock import Clock
from tests.support.strangers import request_from

pytestmark = pytest.mark.anyio

NATIVE: dict[str, Any] = {
    "client_name": "Notes App",
    "redirect_uris": ["http://localhost:3000/cb", "http://127.0.0.1:3000/cb"],
    "token_endpoint_auth_method": "none",
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
}
WEB: dict[str, Any] = {"client_name": "Web App", "redirect_uris": ["https://app.example/cb"]}
SECRET_SHA256 = sha256(b"a secret").hexdigest()


class Server:
    """Clients of one server."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        records, atomics = open_memory(self.clock)
        self.platform = Platform(Settings(**options), records, atomics, clock=self.clock)
        self.attempts = Attempts(self.platform)
        self.clients = Clients(self.platform, self.attempts)

    async def get_tokens(self, client_id: str) -> None:
        """What /token does for a client that is known."""
        client = await self.clients.find(client_id)
        assert client is not None
        await self.clients.used(client)

    async def records(self) -> list[dict[str, Any]]:
        """Everything that is kept of clients."""
        values = [await self.platform.records.get(key) for key in await self.platform.records.list("client/")]
        return [json.loads(value) for value in values if value is not None]


# -- of the settings ---------------------------------------------------------------------------------------------------


async def test_clients_of_the_settings_are_known() -> None:
    confidential = {"client_id": "web", "client_secret_sha256": SECRET_SHA256, **WEB}
    server = Server(clients=({"client_id": "cli", **NATIVE}, confidential), registration=())
    assert [await server.clients.find(name) for name in ("cli", "web", "other", "https://client.example/x")] == [
        Client("cli", "Notes App", ("http://localhost:3000/cb", "http://127.0.0.1:3000/cb"), "static"),
        Client("web", "Web App", ("https://app.example/cb",), "static", "client_secret_basic", SECRET_SHA256),
        None,
        None,
    ]


async def test_a_client_with_a_document_can_be_known_beforehand() -> None:
    url = "https://client.example/app.json"
    server = Server(clients=({"client_id": url, **WEB},), registration=())
    assert await server.clients.find(url) == Client(url, "Web App", ("https://app.example/cb",), "static")


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (WEB, "client_id"),
        ({**WEB, "client_id": ""}, "client_id"),
        ({**WEB, "client_id": "a b"}, "client_id"),
        ({**WEB, "client_id": 7}, "client_id"),
        ({**WEB, "client_id": "web", "client_secret": "x"}, "client_secret_sha256 takes the place"),
        ({**WEB, "client_id": "web", "client_secret_sha256": "x"}, "SHA-256 in hex"),
        ({**WEB, "client_id": "web", "client_secret_sha256": sha256(b"").hexdigest()}, "of an empty text"),
        ({**WEB, "client_id": "web", "client_secret_sha256": sha256(b"\n").hexdigest()}, "of an empty text"),
        ({**WEB, "client_id": "web", "client_secret_sha256": SECRET_SHA256.upper()}, "SHA-256 in hex"),
        (
            {**WEB, "client_id": "web", "client_secret_sha256": SECRET_SHA256, "token_endpoint_auth_method": "none"},
            "do not fit together",
        ),
        ({**WEB, "client_id": "web", "token_endpoint_auth_method": "client_secret_post"}, "do not fit together"),
        ({"client_id": "web"}, "redirect URI"),
        ({**WEB, "client_id": "web", "redirect_uris": ["http://app.example/cb"]}, "redirect URI"),
    ],
)
def test_a_client_of_the_settings_that_cannot_be_used_ends_the_start(document: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=f"MCP_CLIENTS: client 2: .*{why}"):
        Server(clients=({"client_id": "cli", **NATIVE}, document))


def test_two_clients_of_one_id_end_the_start() -> None:
    with pytest.raises(ConfigurationError, match="another one of the same client_id"):
        Server(clients=({"client_id": "cli", **NATIVE}, {"client_id": "cli", **WEB}))


# -- registered --------------------------------------------------------------------------------------------------------


async def test_a_public_client_registers_and_is_found() -> None:
    server = Server()
    answer = await server.clients.register({**NATIVE, "client_uri": "https://app.example/", "unknown": [{}]})
    client_id = answer["client_id"]
    assert answer == {
        **NATIVE,
        "client_id": client_id,
        "client_id_issued_at": int(server.clock.now),
        "client_uri": "https://app.example/",
    }
    OAuthClientInformationFull.model_validate(answer)
    assert await server.clients.find(client_id) == Client(
        client_id, "Notes App", tuple(NATIVE["redirect_uris"]), "dcr", uri="https://app.example/"
    )


async def test_the_same_registration_twice_makes_one_record() -> None:
    server = Server()
    other_order = {**NATIVE, "redirect_uris": NATIVE["redirect_uris"][::-1], "software_version": "2"}
    answers = await asyncio.gather(*(server.clients.register(d) for d in (NATIVE, NATIVE, other_order)))
    assert len({answer["client_id"] for answer in answers}) == 1
    assert len(await server.records()) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"client_name": "Other"},
        {"redirect_uris": ["http://localhost:3000/cb"]},
        {"client_uri": "https://app.example/"},
        {"grant_types": ["authorization_code"]},
    ],
)
async def test_a_registration_that_differs_is_another_client(change: dict[str, Any]) -> None:
    server = Server()
    first, other = await server.clients.register(NATIVE), await server.clients.register({**NATIVE, **change})
    assert first["client_id"] != other["client_id"]


async def test_a_confidential_client_is_shown_its_secret_once_and_only_the_digest_is_kept() -> None:
    server = Server()
    first, second = await server.clients.register(WEB), await server.clients.register(WEB)
    secret = first["client_secret"]
    assert first == {
        **WEB,
        "client_id": first["client_id"],
        "client_id_issued_at": int(server.clock.now),
        "client_secret": secret,
        "client_secret_expires_at": 0,
        "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    }
    assert first["client_id"] != second["client_id"]
    assert secret != second["client_secret"]
    digest = sha256(secret.encode()).hexdigest()
    assert await server.clients.find(first["client_id"]) == Client(
        first["client_id"], "Web App", ("https://app.example/cb",), "dcr", "client_secret_basic", digest
    )
    assert secret not in json.dumps(await server.records())


@pytest.mark.parametrize(
    ("uris", "method"),
    [
        (["http://localhost/cb"], "none"),
        (["https://app.example/cb"], "client_secret_basic"),
        (["http://localhost/cb", "https://app.example/cb"], "client_secret_basic"),
    ],
)
async def test_a_native_app_that_names_no_method_is_public(uris: list[str], method: str) -> None:
    answer = await Server().clients.register({"redirect_uris": uris})
    assert answer["token_endpoint_auth_method"] == method
    assert ("client_secret" in answer) == (method != "none")


async def test_grant_types_that_there_are_not_are_left_out_of_the_answer() -> None:
    asked = ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"]
    answer = await Server().clients.register({**NATIVE, "grant_types": asked})
    assert answer["grant_types"] == ["authorization_code"]


async def test_a_registration_is_kept_for_a_day_and_while_its_client_gets_tokens() -> None:
    server = Server()
    unused = (await server.clients.register(WEB))["client_id"]
    used = (await server.clients.register(NATIVE))["client_id"]
    await server.get_tokens(used)
    server.clock.advance(UNUSED_TTL_S)
    assert await server.clients.find(unused) is None
    for _ in range(4):
        server.clock.advance(CLIENT_TTL_S / 2 + 1)
        await server.get_tokens(used)
    server.clock.advance(CLIENT_TTL_S)
    assert await server.clients.find(used) is None
    assert await server.records() == []


async def test_to_be_asked_for_prolongs_no_registration() -> None:
    server = Server()
    client_id = (await server.clients.register(NATIVE))["client_id"]
    for _ in range(24):
        server.clock.advance(UNUSED_TTL_S / 24)
        await server.clients.find_or_fetch(client_id, request_from())
    assert await server.clients.find(client_id) is None
    assert await server.records() == []


async def test_a_client_that_is_in_use_is_written_again_only_when_half_of_its_life_is_gone() -> None:
    server = Server()
    client_id = (await server.clients.register(NATIVE))["client_id"]
    await server.get_tokens(client_id)
    (first,) = await server.records()
    server.clock.advance(CLIENT_TTL_S / 2 - 1)
    await server.get_tokens(client_id)
    assert await server.records() == [first]
    server.clock.advance(1)
    await server.get_tokens(client_id)
    assert await server.records() == [{**first, "renewed_at": server.clock.now}]


async def test_to_register_again_does_not_shorten_a_life() -> None:
    server = Server()
    client_id = (await server.clients.register(NATIVE))["client_id"]
    await server.get_tokens(client_id)
    issued_at = int(server.clock.now)
    server.clock.advance(UNUSED_TTL_S - 1)
    assert (await server.clients.register(NATIVE))["client_id_issued_at"] == issued_at
    server.clock.advance(UNUSED_TTL_S + 1)
    assert await server.clients.find(client_id) is not None
    server.clock.advance(CLIENT_TTL_S - 2 * UNUSED_TTL_S - 1)
    await server.clients.register(NATIVE)
    server.clock.advance(1)
    assert await server.clients.find(client_id) is None, "nor does it prolong one"


@pytest.mark.parametrize(
    "client_id", ["", "dcr_", "dcr_" + "0" * 32, "dcr_" + "A" * 32, "x" * 5000, "é", "a/../b", "\0"]
)
async def test_nobody_is_found_by_an_invented_id(client_id: str) -> None:
    server = Server()
    await server.clients.register(NATIVE)
    assert await server.clients.find(client_id) is None


async def test_where_registration_is_switched_off_nobody_registers_and_nobody_registered_is_found() -> None:
    server = Server()
    client_id = (await server.clients.register(NATIVE))["client_id"]
    closed = Clients(Platform(Settings(registration=("cimd",)), server.platform.records, server.platform.atomics),
                     server.attempts)  # fmt: skip
    assert await closed.find(client_id) is None
    with pytest.raises(NotFound):
        await closed.register(NATIVE)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("  Notes\tApp\r\n", "Notes App"),
        ("Notes\u202eppA\u202c", "Notes ppA"),
        ("\u2066No\u200btes\u2069\ufeff", "No tes"),
        ("N\x00o\x1b[31mtes", "N o [31mtes"),
        ("\U000e0041Notes\U000f0000", "Notes"),
        ("Notes\ud800", "Notes"),
        ("Cafe\u0301", "Café"),
        ("笔记 📝", "笔记 📝"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),  # text as any other: pages escape it
        ("x" * 5000, "x" * 80),
    ],
)
async def test_a_name_is_one_line_of_what_can_be_seen(name: str, kept: str) -> None:
    server = Server()
    answer = await server.clients.register({**NATIVE, "client_name": name})
    found = await server.clients.find(answer["client_id"])
    assert found is not None
    assert (answer["client_name"], found.name) == (kept, kept)


async def test_who_gives_no_name_has_none() -> None:
    server = Server()
    answer = await server.clients.register({"redirect_uris": ["https://app.example/cb"], "client_name": "\u200b"})
    found = await server.clients.find(answer["client_id"])
    assert found is not None
    assert ("client_name" in answer, found.name) == (False, "")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"redirect_uris": None}, "invalid_redirect_uri"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": {}}, "invalid_redirect_uri"),
        ({"redirect_uris": [7]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app.example/cb", "http://evil.example/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://user@app.example/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app.example/cb#x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app.example/" + "a" * 2000]}, "invalid_redirect_uri"),
        ({"redirect_uris": [f"https://app.example/{n}" for n in range(21)]}, "invalid_redirect_uri"),
        ({"client_name": 7}, "invalid_client_metadata"),
        ({"client_name": ["x"]}, "invalid_client_metadata"),
        ({"client_name": False}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": []}, "invalid_client_metadata"),
        ({"client_uri": "javascript:alert(1)"}, "invalid_client_metadata"),
        ({"client_uri": "https://app.example/\r\nx"}, "invalid_client_metadata"),
        ({"client_uri": "https://app.example@evil.example/"}, "invalid_client_metadata"),
        ({"client_uri": "https://"}, "invalid_client_metadata"),
        ({"client_uri": "//evil.example"}, "invalid_client_metadata"),
        ({"client_uri": "https://[abc"}, "invalid_client_metadata"),
        ({"client_uri": "https://a]b/"}, "invalid_client_metadata"),
        ({"client_uri": "https://\U0001d54f.example/"}, "invalid_client_metadata"),
        ({"client_uri": "https://app.example/" + "a" * 2000}, "invalid_client_metadata"),
        ({"logo_uri": "data:image/png;base64,AAAA"}, "invalid_client_metadata"),
        ({"logo_uri": "file:///etc/passwd"}, "invalid_client_metadata"),
        ({"tos_uri": {}}, "invalid_client_metadata"),
        ({"jwks_uri": "http:/x"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": 7}, "invalid_client_metadata"),
        ({"grant_types": ["implicit"]}, "invalid_client_metadata"),
        ({"grant_types": "authorization_code"}, "invalid_client_metadata"),
        ({"response_types": ["token"]}, "invalid_client_metadata"),
    ],
)
async def test_what_is_not_allowed_is_refused_and_leaves_no_record(change: dict[str, Any], error: str) -> None:
    server = Server()
    with pytest.raises(OAuthError) as refusal:
        await server.clients.register({**NATIVE, **change})
    assert (refusal.value.error, refusal.value.status) == (error, 400)
    assert await server.records() == []
