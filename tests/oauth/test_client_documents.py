"""Clients whose id is the URL of their document: what is fetched and from where, what is believed, and for how long."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

from mcp_edge.errors import TooMany
from mcp_edge.oauth import client_documents
from mcp_edge.oauth.client_documents import MAX_BYTES
from mcp_edge.oauth.clients import Clients
from mcp_edge.oauth.limits import PER_WINDOW, Limits
from mcp_edge.oauth.model import Client, OAuthError
from mcp_edge.platform import Platform
from mcp_edge.settings import Settings, Ways
from mcp_edge.storage.memory import open_memory
from tests.storage.clock import Clock
from tests.support.strangers import INSIDE, PUBLIC, Names, Wire

pytestmark = pytest.mark.anyio

URL = "https://client.example/app.json"
GOOD: dict[str, Any] = {
    "client_id": URL,
    "client_name": "Notes App",
    "client_uri": "https://client.example/",
    "redirect_uris": ["http://127.0.0.1/cb", "https://client.example/cb"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
    "logo_uri": "https://client.example/logo.png",
    "something_new": {"nested": [1, 2, 3]},
}
CLIENT = Client(
    id=URL,
    name="Notes App",
    redirect_uris=("http://127.0.0.1/cb", "https://client.example/cb"),
    kind="cimd",
    uri="https://client.example/",
)


class Strangers:
    """An instance of the server, and a stranger's server whose answer can be changed."""

    def __init__(self, *answers: list[str], registration: Ways = ("cimd", "dcr")) -> None:
        self.clock = Clock()
        self.names = Names(*(answers or ([PUBLIC],)))
        self.wire = Wire(lambda _: self.response())
        self.document: Any = GOOD
        self.headers: dict[str, str] = {}
        self.status = 200
        self.down = False
        records, atomics = open_memory(self.clock)
        settings = Settings(public_url="https://notes.example", registration=registration)
        self.platform = Platform(
            settings, records, atomics, clock=self.clock, http_public=lambda: self.wire.client(self.names)
        )  # fmt: skip
        self.clients = Clients(self.platform, Limits(self.platform))

    def response(self) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("down")
        if isinstance(self.document, bytes):
            return httpx.Response(
                self.status, headers={"content-type": "application/json", **self.headers}, content=self.document
            )  # fmt: skip
        return httpx.Response(self.status, headers=self.headers, json=self.document)

    async def refusal(self, client_id: str = URL) -> OAuthError:
        with pytest.raises(OAuthError) as refusal:
            await self.clients.find(client_id)
        assert refusal.value.error == "invalid_client"
        assert await self.platform.records.list("client/") == []  # nothing of it is kept
        return refusal.value

    @property
    def fetches(self) -> int:
        return len(self.wire.sent)


async def test_a_client_is_what_its_document_says() -> None:
    there = Strangers()
    assert await there.clients.find(URL) == CLIENT
    (sent,) = there.wire.sent
    assert (sent.method, sent.url.host, sent.headers["host"]) == ("GET", PUBLIC, "client.example")
    assert sent.headers["accept"] == "application/json"
    assert not {"authorization", "cookie"} & set(sent.headers)


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/client+json"])
async def test_json_may_have_a_type_of_its_own(kind: str) -> None:
    there = Strangers()
    there.headers = {"content-type": kind}
    assert await there.clients.find(URL) == CLIENT


async def test_a_document_of_the_largest_size_is_read() -> None:
    there = Strangers()
    there.document = json.dumps(GOOD).encode().ljust(MAX_BYTES)
    assert await there.clients.find(URL) == CLIENT


async def test_clients_without_a_document_are_not_asked_for_one_where_that_is_switched_off() -> None:
    there = Strangers(registration=("dcr",))
    assert await there.clients.find(URL) is None
    assert (there.fetches, there.names.asked) == (0, [])


# -- where documents are not looked for --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "client_id",
    [
        "https://client.example",
        "https://client.example?x=/app.json",
        "https://client.example/app.json#fragment",
        "https://user@client.example/app.json",
        "https://user:secret@client.example/app.json",
        "https://client.example/./app.json",
        "https://client.example/a/../app.json",
        "https://client.example/%2e%2e/app.json",
        "https://client.example/%2E/app.json",
        "https://client.example/..",
        "https://client.example/a b",
        "https://client.example/\n",
        "https://client.example\\@127.0.0.1/app.json",
        "https://client.example/*",
        "https://client.example:8443/app.json",
        "https://client.example:22/app.json",
        "https://notes.example/authorize",
        "https://NOTES.example/authorize",
        "https://localhost/app.json",
        "https://localhost:443/app.json",
        "https://metadata.google.internal./app.json",
        "https://intranet/app.json",
        "https://127.0.0.1/app.json",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/app.json",
        "https://[::ffff:169.254.169.254]/app.json",
        "https://[fd00:ec2::254]/app.json",
        "https://2130706433/app.json",
        "https://0x7f000001/app.json",
        "https://0177.0.0.1/app.json",
        "https://127.1/app.json",
        "https://0x7f.1/app.json",
        "https://127.0.0.1.:443/app.json",
        "https:///app.json",
        "https://client.example/" + "a" * 1000,
    ],
)
async def test_an_id_that_is_no_good_url_causes_no_request(client_id: str) -> None:
    there = Strangers()
    await there.refusal(client_id)
    assert (there.fetches, there.names.asked) == (0, [])


@pytest.mark.parametrize("address", INSIDE)
async def test_a_name_that_leads_inside_causes_no_request(address: str) -> None:
    there = Strangers([address])
    assert (await there.refusal()).description == "The client's document is not on a public server."
    assert there.fetches == 0


async def test_one_address_inside_among_public_ones_causes_no_request() -> None:
    there = Strangers([PUBLIC, "10.0.0.1"])
    await there.refusal()
    assert there.fetches == 0


async def test_a_name_server_that_changes_its_mind_gains_nothing() -> None:
    there = Strangers([PUBLIC], ["127.0.0.1"])
    assert await there.clients.find(URL) == CLIENT
    assert [request.url.host for request in there.wire.sent] == [PUBLIC]
    there.clock.advance(client_documents.KEPT_S)
    await there.refusal()
    assert there.fetches == 1


# -- answers that are no document --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [201, 204, 206, 301, 302, 303, 307, 308, 304, 400, 401, 403, 404, 410])
async def test_any_status_but_200_is_no_document(status: int) -> None:
    there = Strangers()
    there.status, there.headers = status, {"location": "https://other.example/app.json"}
    assert f"status {status}" in (await there.refusal()).description
    assert there.fetches == 1


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "application/javascript", "application/x+jsonp", "json"])
async def test_another_content_type_is_no_document(kind: str) -> None:
    there = Strangers()
    there.headers = {"content-type": kind}
    assert "not served as application/json" in (await there.refusal()).description


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 5000, b'{"a":' * 900, b"1" * 5000],
)
async def test_what_is_no_json_object_is_no_document(body: bytes) -> None:
    there = Strangers()
    there.document = body
    assert (await there.refusal()).description.startswith("The client's document is not ")


async def test_a_body_without_end_is_read_no_further_than_allowed() -> None:
    there, parts = Strangers(), 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal parts
        while True:
            parts += 1
            yield b" " * 1024

    there.wire.answer = lambda _: httpx.Response(
        200, headers={"content-type": "application/json"}, content=endless()
    )  # fmt: skip
    assert "larger than" in (await there.refusal()).description
    assert parts == 6


async def test_one_byte_too_many_is_too_large() -> None:
    there = Strangers()
    there.document = json.dumps(GOOD).encode().ljust(MAX_BYTES + 1)
    assert "larger than" in (await there.refusal()).description


async def test_a_compressed_body_is_not_unpacked() -> None:
    there = Strangers()
    there.document = gzip.compress(json.dumps({**GOOD, "padding": " " * 10_000_000}).encode())
    there.headers = {"content-encoding": "gzip"}
    assert "compressed" in (await there.refusal()).description


async def test_a_body_that_trickles_in_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_documents, "TIMEOUT_S", 0.05)
    there = Strangers()

    async def trickle() -> AsyncIterator[bytes]:
        yield b"{"
        await anyio.sleep_forever()

    there.wire.answer = lambda _: httpx.Response(
        200, headers={"content-type": "application/json"}, content=trickle()
    )  # fmt: skip
    assert "no answer" in (await there.refusal()).reason


async def test_a_server_that_is_down_has_no_document() -> None:
    there = Strangers()
    there.down = True
    assert "cannot be fetched" in (await there.refusal()).description


async def test_a_name_that_nobody_has_has_no_document() -> None:
    there = Strangers([])
    assert "cannot be fetched" in (await there.refusal()).description


# -- documents that are not believed -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"client_id": "https://other.example/app.json"}, "another client_id"),
        ({"client_id": URL + "/"}, "another client_id"),
        ({"client_id": URL.upper()}, "another client_id"),
        ({"client_id": None}, "another client_id"),
        ({"client_id": [URL]}, "another client_id"),
        ({"client_secret": "x"}, "holds a secret"),
        ({"client_secret": None}, "holds a secret"),
        ({"client_secret_expires_at": 0}, "holds a secret"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "must be none"),
        ({"token_endpoint_auth_method": "client_secret_post"}, "must be none"),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, "must be none"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "must be none"),
        ({"token_endpoint_auth_method": ["none"]}, "must be none"),
        ({"redirect_uris": []}, "redirect URI"),
        ({"redirect_uris": None}, "redirect URI"),
        ({"redirect_uris": "https://client.example/cb"}, "redirect_uris"),
        ({"redirect_uris": [["https://client.example/cb"]]}, "redirect_uris"),
        ({"redirect_uris": ["https://client.example/cb", "javascript:alert(1)"]}, "redirect URI"),
        ({"redirect_uris": ["http://client.example/cb"]}, "redirect URI"),
        ({"redirect_uris": [f"https://client.example/{n}" for n in range(21)]}, "redirect URIs"),
        ({"client_name": None}, "client_name"),
        ({"client_name": ""}, "client_name"),
        ({"client_name": "\u202e\u200b \n"}, "client_name"),
        ({"client_name": {"en": "x"}}, "client_name"),
        ({"client_uri": "javascript:alert(1)"}, "client_uri"),
        ({"logo_uri": "data:image/svg+xml,<svg/onload=alert(1)>"}, "logo_uri"),
        ({"tos_uri": "https://user@client.example/"}, "tos_uri"),
        ({"policy_uri": 7}, "policy_uri"),
        ({"grant_types": ["client_credentials"]}, "authorization_code"),
        ({"grant_types": "authorization_code"}, "grant_types"),
        ({"response_types": ["token"]}, "response type"),
    ],
)
async def test_a_document_that_says_what_is_not_allowed_is_refused(change: dict[str, Any], why: str) -> None:
    there = Strangers()
    there.document = {**GOOD, **change}
    assert why in (await there.refusal()).description


async def test_what_a_document_leaves_out_has_a_sensible_meaning() -> None:
    there = Strangers()
    there.document = {name: GOOD[name] for name in ("client_id", "client_name", "redirect_uris")}
    assert await there.clients.find(URL) == Client(URL, "Notes App", CLIENT.redirect_uris, "cimd")


# -- how long ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "fresh_s"),
    [
        ({}, 3600),
        ({"cache-control": "max-age=7200"}, 7200),
        ({"cache-control": "public, max-age=7200, s-maxage=1800"}, 1800),
        ({"cache-control": "Max-Age=7200", "age": "3600"}, 3600),
        ({"cache-control": "max-age=1"}, 300),
        ({"cache-control": "no-store"}, 300),
        ({"cache-control": "no-cache, max-age=7200"}, 300),
        ({"cache-control": "max-age=31536000"}, 86400),
        ({"cache-control": "max-age=999999999999999999999999"}, 86400),
        ({"cache-control": "max-age=soon"}, 3600),
    ],
)
async def test_a_document_is_looked_at_again_when_its_headers_say_within_bounds(
    headers: dict[str, str], fresh_s: int
) -> None:
    there = Strangers()
    there.headers = headers
    await there.clients.find(URL)
    there.clock.advance(fresh_s - 1)
    await there.clients.find(URL)
    assert there.fetches == 1
    there.clock.advance(1)
    there.document = {**GOOD, "client_name": "New Name"}
    found = await there.clients.find(URL)
    assert found is not None
    assert (there.fetches, found.name) == (2, "New Name")


async def test_what_another_instance_has_fetched_is_not_fetched_again() -> None:
    there = Strangers()
    await there.clients.find(URL)
    assert await Clients(there.platform, Limits(there.platform)).find(URL) == CLIENT
    assert there.fetches == 1


async def test_while_its_server_is_down_a_document_is_used_for_a_day_and_no_longer() -> None:
    there = Strangers()
    await there.clients.find(URL)
    there.down = True
    there.clock.advance(86399)
    assert await there.clients.find(URL) == CLIENT
    there.clock.advance(1)
    await there.refusal()


@pytest.mark.parametrize("status", [404, 403, 302])
async def test_a_document_that_was_taken_down_is_used_no_more(status: int) -> None:
    there = Strangers()
    await there.clients.find(URL)
    there.clock.advance(3600)
    there.status = status
    await there.refusal()
    there.down = True
    await there.refusal()


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_an_error_of_the_server_is_neither_kept_nor_final(status: int) -> None:
    there = Strangers()
    there.status = status
    await there.refusal()
    there.status = 200
    assert await there.clients.find(URL) == CLIENT


async def test_nobody_can_have_a_host_asked_without_end() -> None:
    there = Strangers()
    there.status = 404
    for n in range(PER_WINDOW["client-document"]):
        await there.refusal(f"https://victim.example/{n}")
    with pytest.raises(TooMany):
        await there.clients.find("https://victim.example/more")
    assert there.fetches == PER_WINDOW["client-document"]
    there.status = 200
    assert await there.clients.find(URL) == CLIENT
