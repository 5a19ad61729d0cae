"""Clients whose id is the URL of their document: what is fetched and from where, what is believed, and for how long."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import anyio
import httpx
import pytest

from mcp_edge.auth.server.attempts import PER_WINDOW, Attempts
from mcp_edge.auth.server.clients import document_fetch
from mcp_edge.auth.server.clients.document_fetch import LEAST_FRESH_S, MAX_BYTES
from mcp_edge.auth.server.clients.documents import MOST_FETCHES, MOST_OF_A_NETWORK, NEW_TTL_S, STALE_S
from mcp_edge.auth.server.clients.lookup import Clients
from mcp_edge.auth.server.model import CLIENT_TTL_S, Client, OAuthError
from mcp_edge.errors import TooMany
from mcp_edge.outbound import public_http
from mcp_edge.platform import Platform
from mcp_edge.settings import Settings, Ways
from mcp_edge.storage.memory import open_memory
from tests.support.clock import Clock
from tests.support.strangers import INSIDE, PUBLIC, Names, Wire, request_from

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
        self.clients = Clients(self.platform, Attempts(self.platform))

    def response(self) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("down")
        if isinstance(self.document, bytes):
            return httpx.Response(
                self.status, headers={"content-type": "application/json", **self.headers}, content=self.document
            )  # fmt: skip
        return httpx.Response(self.status, headers=self.headers, json=self.document)

    async def authorize(self, client_id: str = URL, *, address: str = "198.51.100.7") -> Client | None:
        """What /authorize does."""
        return await self.clients.find_or_fetch(client_id, request_from(address))

    async def get_tokens(self, client_id: str = URL) -> Client:
        """What /token does."""
        client = await self.clients.find(client_id)
        assert client is not None
        await self.clients.used(client)
        return client

    async def refusal(self, client_id: str = URL) -> OAuthError:
        refusal = await self.refused(client_id)
        assert await self.platform.records.list("client/") == []  # nothing of it is kept
        return refusal

    async def refused(self, client_id: str = URL) -> OAuthError:
        with pytest.raises(OAuthError) as refusal:
            await self.authorize(client_id)
        assert refusal.value.error == "invalid_client"
        return refusal.value

    @property
    def fetches(self) -> int:
        return len(self.wire.sent)


async def test_a_client_is_what_its_document_says() -> None:
    there = Strangers()
    assert await there.authorize(URL) == CLIENT
    (sent,) = there.wire.sent
    assert (sent.method, sent.url.host, sent.headers["host"]) == ("GET", PUBLIC, "client.example")
    assert sent.headers["accept"] == "application/json"
    assert not {"authorization", "cookie"} & set(sent.headers)


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/client+json"])
async def test_json_may_have_a_type_of_its_own(kind: str) -> None:
    there = Strangers()
    there.headers = {"content-type": kind}
    assert await there.authorize(URL) == CLIENT


async def test_a_document_of_the_largest_size_is_read() -> None:
    there = Strangers()
    there.document = json.dumps(GOOD).encode().ljust(MAX_BYTES)
    assert await there.authorize(URL) == CLIENT


async def test_clients_without_a_document_are_not_asked_for_one_where_that_is_switched_off() -> None:
    there = Strangers(registration=("dcr",))
    assert await there.authorize(URL) is None
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
        "https://client.example/authorize?client_id=https://notes.example/authorize",
        "https://client.example/authorize?x=1&client%5Fid=https://other.example/app.json",
        "https://client.example/authorize?client_id",
        "https://client.example/authorize?CLIENT_ID=x",
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
    assert (await there.refusal()).message == "The client's document is not on a public server."
    assert there.fetches == 0


async def test_one_address_inside_among_public_ones_causes_no_request() -> None:
    there = Strangers([PUBLIC, "10.0.0.1"])
    await there.refusal()
    assert there.fetches == 0


async def test_a_name_server_that_changes_its_mind_gains_nothing() -> None:
    there = Strangers([PUBLIC], ["127.0.0.1"])
    assert await there.authorize(URL) == CLIENT
    assert [request.url.host for request in there.wire.sent] == [PUBLIC]
    there.clock.advance(LEAST_FRESH_S)
    await there.refusal()
    assert there.fetches == 1


# -- answers that are no document --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [201, 204, 206, 301, 302, 303, 307, 308, 304, 400, 401, 403, 404, 410])
async def test_any_status_but_200_is_no_document(status: int) -> None:
    there = Strangers()
    there.status, there.headers = status, {"location": "https://other.example/app.json"}
    assert f"status {status}" in (await there.refusal()).message
    assert there.fetches == 1


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "application/javascript", "application/x+jsonp", "json"])
async def test_another_content_type_is_no_document(kind: str) -> None:
    there = Strangers()
    there.headers = {"content-type": kind}
    assert "not served as application/json" in (await there.refusal()).message


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 5000, b'{"a":' * 900, b"1" * 5000],
)
async def test_what_is_no_json_object_is_no_document(body: bytes) -> None:
    there = Strangers()
    there.document = body
    assert (await there.refusal()).message.startswith("The client's document is not ")


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
    assert "larger than" in (await there.refusal()).message
    assert parts == 6


async def test_one_byte_too_many_is_too_large() -> None:
    there = Strangers()
    there.document = json.dumps(GOOD).encode().ljust(MAX_BYTES + 1)
    assert "larger than" in (await there.refusal()).message


async def test_a_compressed_body_is_not_unpacked() -> None:
    there = Strangers()
    there.document = gzip.compress(json.dumps({**GOOD, "padding": " " * 10_000_000}).encode())
    there.headers = {"content-encoding": "gzip"}
    assert "compressed" in (await there.refusal()).message


async def test_a_body_that_trickles_in_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_fetch, "TIMEOUT_S", 0.05)
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
    assert "cannot be fetched" in (await there.refusal()).message


async def test_a_name_that_nobody_has_has_no_document() -> None:
    there = Strangers([])
    assert "cannot be fetched" in (await there.refusal()).message


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
    assert why in (await there.refusal()).message


async def test_what_a_document_leaves_out_has_a_sensible_meaning() -> None:
    there = Strangers()
    there.document = {name: GOOD[name] for name in ("client_id", "client_name", "redirect_uris")}
    assert await there.authorize(URL) == Client(URL, "Notes App", CLIENT.redirect_uris, "cimd")


# -- how long ----------------------------------------------------------------------------------------------------------


async def test_only_what_is_read_is_kept() -> None:
    there = Strangers()
    await there.authorize()
    (key,) = await there.platform.records.list("client/")
    kept = await there.platform.records.get(key)
    assert kept is not None
    assert json.loads(kept) == {
        "place": 0,
        "format": 2,
        "name": "Notes App",
        "redirect_uris": GOOD["redirect_uris"],
        "grant_types": GOOD["grant_types"],
        "uri": "https://client.example/",
        "fetched_at": there.clock.now,
        "fresh_until": there.clock.now + LEAST_FRESH_S,
        "used_at": None,
    }


async def test_a_document_whose_client_gets_no_tokens_is_kept_for_minutes() -> None:
    there = Strangers()
    await there.authorize()
    there.clock.advance(LEAST_FRESH_S - 1)
    await there.authorize()
    assert there.fetches == 1
    there.clock.advance(1800)  # ten minutes to decide, ten to sign in, and ten until the code has to be redeemed
    assert await there.clients.find(URL) == CLIENT
    there.clock.advance(NEW_TTL_S)
    assert await there.clients.find(URL) is None
    assert await there.platform.records.list("client/") == []


async def test_a_document_is_kept_as_long_as_its_client_gets_tokens_whether_its_server_is_there_or_not() -> None:
    there = Strangers()
    await there.authorize()
    there.down = True
    await there.get_tokens()
    for _ in range(4):
        there.clock.advance(CLIENT_TTL_S / 2 + 1)
        assert await there.get_tokens() == CLIENT
    assert there.fetches == 1
    there.clock.advance(CLIENT_TTL_S)
    assert await there.clients.find(URL) is None


async def test_who_fetches_a_new_client_s_document_does_not_shorten_the_life_of_one_that_got_tokens_meanwhile() -> None:
    there = Strangers()
    await there.authorize()
    there.clock.advance(LEAST_FRESH_S)
    answer = there.response()

    async def late(request: httpx.Request) -> httpx.Response:
        await there.get_tokens()
        return answer

    there.platform = replace(
        there.platform, http_public=lambda: httpx.AsyncClient(transport=httpx.MockTransport(late))
    )  # fmt: skip
    elsewhere = Clients(there.platform, Attempts(there.platform))
    assert await elsewhere.find_or_fetch(URL, request_from()) == CLIENT
    there.clock.advance(NEW_TTL_S + 1)
    assert await elsewhere.find(URL) == CLIENT


@pytest.mark.parametrize(
    ("headers", "fresh_s"),
    [
        ({}, 3600),
        ({"cache-control": "max-age=7200"}, 7200),
        ({"cache-control": "public, max-age=7200, s-maxage=1800"}, 1800),
        ({"cache-control": "Max-Age=7200", "age": "3600"}, 3600),
        ({"cache-control": "max-age=7200", "age": "9" * 5000}, 7200),
        ({"cache-control": "max-age=7200", "age": "-1"}, 7200),
        ({"cache-control": "max-age=1"}, 300),
        ({"cache-control": "no-store"}, 300),
        ({"cache-control": "no-cache, max-age=7200"}, 300),
        ({"cache-control": "max-age=31536000"}, 86400),
        ({"cache-control": "max-age=999999999999999999999999"}, 86400),
        ({"cache-control": "max-age=soon"}, 3600),
    ],
)
async def test_a_document_in_use_is_looked_at_again_when_its_headers_say_within_bounds(
    headers: dict[str, str], fresh_s: int
) -> None:
    there = Strangers()
    there.headers = headers
    await there.authorize()
    await there.get_tokens()
    there.clock.advance(LEAST_FRESH_S)
    await there.authorize()
    there.clock.advance(fresh_s - 1)
    await there.authorize()
    assert there.fetches == 2
    there.clock.advance(1)
    there.document = {**GOOD, "client_name": "New Name"}
    found = await there.authorize()
    assert found is not None
    assert (there.fetches, found.name) == (3, "New Name")


async def test_what_another_instance_has_fetched_is_not_fetched_again() -> None:
    there = Strangers()
    await there.authorize()
    assert await Clients(there.platform, Attempts(there.platform)).find_or_fetch(URL, request_from()) == CLIENT
    assert there.fetches == 1


async def test_while_its_server_is_down_a_document_is_good_for_new_grants_for_a_week_and_no_longer() -> None:
    there = Strangers()
    await there.authorize()
    await there.get_tokens()
    there.down = True
    there.clock.advance(STALE_S - 1)
    assert await there.authorize() == CLIENT
    there.clock.advance(1)
    assert "cannot be fetched" in (await there.refused()).message
    assert await there.get_tokens() == CLIENT
    there.down = False
    assert await there.authorize() == CLIENT


@pytest.mark.parametrize("status", [404, 403, 302])
async def test_a_document_that_was_taken_down_is_good_for_no_new_grant(status: int) -> None:
    there = Strangers()
    await there.authorize()
    await there.get_tokens()
    there.clock.advance(LEAST_FRESH_S)
    there.status = status
    assert f"status {status}" in (await there.refused()).message
    there.down = True
    await there.refused()
    assert await there.get_tokens() == CLIENT  # the grants that there are end when their users say so
    there.down, there.status = False, 200
    assert await there.authorize() == CLIENT


@pytest.mark.parametrize("status", [404, 403, 302])
async def test_a_new_client_s_document_that_was_taken_down_is_gone(status: int) -> None:
    there = Strangers()
    await there.authorize()
    there.clock.advance(LEAST_FRESH_S)
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
    assert await there.authorize() == CLIENT


# -- how often ---------------------------------------------------------------------------------------------------------


async def test_an_address_brings_so_many_new_clients_and_keeps_nobody_else_from_bringing_theirs() -> None:
    there = Strangers()
    there.status = 404
    for n in range(PER_WINDOW["new-client"]):
        await there.refusal(f"https://client.example/{n}")
    for client_id in ("https://client.example/more", "https://other.example/more"):
        with pytest.raises(TooMany):
            await there.authorize(client_id)
    assert there.fetches == PER_WINDOW["new-client"]
    there.status = 200
    assert await there.authorize(address="198.51.100.8") == CLIENT


async def test_new_clients_are_counted_together_whether_they_register_or_have_documents() -> None:
    there = Strangers()
    there.status = 404
    for n in range(PER_WINDOW["new-client"] - 1):
        await there.refusal(f"https://client.example/{n}")
    limits = Attempts(there.platform)
    await limits.check(request_from(), "new-client")  # what /register counts
    with pytest.raises(TooMany):
        await there.authorize("https://client.example/more")


async def test_a_stranger_who_asks_for_other_clients_of_a_host_does_not_lock_out_a_known_one() -> None:
    there = Strangers()
    await there.authorize()
    await there.get_tokens()
    there.clock.advance(86400)
    there.status = 404
    for n in range(100):
        address = f"203.0.113.{n // PER_WINDOW['new-client']}"
        with pytest.raises(OAuthError):
            await there.authorize(f"https://client.example/{n}", address=address)
    there.status, there.document = 200, {**GOOD, "client_name": "New Name"}
    for address in ("203.0.113.1", "198.51.100.7"):  # the stranger's own address has no new clients left, but this one
        found = await there.authorize(address=address)
        assert found is not None
        assert found.name == "New Name"


async def test_a_known_document_is_fetched_so_often_and_used_as_it_was_in_between() -> None:
    there = Strangers()
    await there.authorize()
    await there.get_tokens()
    there.clock.advance(86400)
    there.down = True
    for n in range(2 * PER_WINDOW["client-renewal"]):
        assert await there.authorize(address=f"203.0.113.{n}") == CLIENT
    assert there.fetches == 1 + PER_WINDOW["client-renewal"]


async def test_a_process_fetches_so_many_documents_at_once_and_refuses_more_at_once() -> None:
    there, answer = Strangers(), anyio.Event()
    await there.authorize()
    await there.get_tokens()
    there.clock.advance(86400)
    asked = 0

    async def slow(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        if request.url.host != "slow.example":
            return there.response()
        asked += 1
        await answer.wait()
        return httpx.Response(404)

    client = httpx.AsyncClient(transport=httpx.MockTransport(slow))
    there.platform = replace(there.platform, http_public=lambda: client)
    there.clients = Clients(there.platform, Attempts(there.platform))

    async def stranger(n: int) -> None:
        with pytest.raises(OAuthError):
            await there.authorize(f"https://slow.example/{n}", address=f"203.0.113.{n}")

    async with anyio.create_task_group() as strangers:
        for n in range(MOST_FETCHES):
            strangers.start_soon(stranger, n)
        while asked < MOST_FETCHES:
            await anyio.lowlevel.checkpoint()
        with pytest.raises(TooMany) as refusal:
            await there.authorize("https://new.example/app.json")
        assert refusal.value.headers == {"retry-after": "5"}
        there.document = {**GOOD, "client_name": "New Name"}  # for what was fetched before, there are places still
        found = await there.authorize()
        assert found is not None
        assert found.name == "New Name"
        answer.set()
    assert asked == MOST_FETCHES


async def test_one_network_has_few_documents_fetched_at_once_whatever_its_addresses_are() -> None:
    there, answer = Strangers(), anyio.Event()
    asked = 0

    async def slow(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        if request.url.host != "slow.example":
            return there.response()
        asked += 1
        await answer.wait()
        return httpx.Response(404)

    client = httpx.AsyncClient(transport=httpx.MockTransport(slow))
    there.platform = replace(there.platform, http_public=lambda: client)
    there.clients = Clients(there.platform, Attempts(there.platform))
    refused = 0

    async def stranger(n: int) -> None:
        nonlocal refused
        try:
            await there.authorize(f"https://slow.example/{n}", address=f"2001:db8:1:{n:x}00::1")
        except TooMany:
            refused += 1
        except OAuthError:
            pass

    async with anyio.create_task_group() as strangers:
        for n in range(MOST_FETCHES):
            strangers.start_soon(stranger, n)
        while asked + refused < MOST_FETCHES:
            await anyio.lowlevel.checkpoint()
        assert await there.authorize(address="2001:db8:2::1") == CLIENT
        answer.set()
    assert (asked, refused) == (MOST_OF_A_NETWORK, MOST_FETCHES - MOST_OF_A_NETWORK)


async def test_where_no_name_can_be_looked_up_just_now_a_known_client_is_let_in_and_a_new_one_told_to_wait() -> None:
    there = Strangers()
    await there.authorize()
    await there.get_tokens()
    there.clock.advance(86400)

    async def full(host: str) -> list[str]:
        raise public_http.Busy(host)

    there.platform = replace(there.platform, http_public=lambda: public_http.client(there.wire.transport(), full))
    there.clients = Clients(there.platform, Attempts(there.platform))
    assert await there.authorize() == CLIENT
    with pytest.raises(TooMany, match="try again in a few seconds"):
        await there.authorize("https://new.example/app.json")
