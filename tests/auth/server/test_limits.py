"""How often an address may try, and whose address it is."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest

from mcp_edge.auth.server.attempts import PER_WINDOW, Attempts
from mcp_edge.errors import StoreUnavailable, TooMany
from mcp_edge.platform import Platform
from mcp_edge.protocol.request import Request
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import MemoryAtomics, MemoryRecords
from mcp_edge.storage.ports import Entry
from mcp_edge.text.hashing import short_hash
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio


def platform(clock: Clock | None = None, *, atomics: MemoryAtomics | None = None, **options: Any) -> Platform:
    clock = clock or Clock()
    limiter = options.pop("limiter", None)
    return Platform(
        Settings(**options), MemoryRecords(clock), atomics or MemoryAtomics(clock), clock=clock, limiter=limiter
    )


def request(*headers: tuple[str, str], client: tuple[str, int] | None = ("198.51.100.7", 50000)) -> Request:
    async def receive() -> Any:
        raise AssertionError("nothing is read")

    async def send(message: Any) -> None:
        raise AssertionError(f"nothing is sent: {message}")

    fields = [(name.lower().encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "method": "POST", "path": "/token", "headers": fields, "client": client}
    return Request(scope, receive, send)


async def passed(attempts: Attempts, *headers: tuple[str, str], client: str = "198.51.100.7", most: int = 50) -> int:
    """How many attempts to register pass before one is refused."""
    for n in range(most):
        try:
            await attempts.check(request(*headers, client=(client, 1)), "new-client")
        except TooMany:
            return n
    return most


FORGED = [
    ("X-Forwarded-For", "203.0.113.9"),
    ("X-Real-IP", "203.0.113.9"),
    ("Forwarded", "for=203.0.113.9"),
    ("CF-Connecting-IP", "203.0.113.9"),
    ("True-Client-IP", "203.0.113.9"),
]


async def test_no_header_makes_an_address_where_no_proxy_is_trusted() -> None:
    assert Attempts(platform()).address(request(*FORGED)) == "198.51.100.7"


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["10.0.0.1, 192.0.2.66, 203.0.113.9"], "203.0.113.9"),  # the proxy appends to what the client has written
        (["192.0.2.66", "203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9:49152"], "203.0.113.9"),
        (["[2001:db8::9]:49152"], "2001:db8::9"),
        (["2001:DB8:0::9"], "2001:db8::9"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["fe80::1%eth0"], "fe80::1"),
        ([], "198.51.100.7"),
        (["unknown"], "198.51.100.7"),
        (["203.0.113.9, "], "198.51.100.7"),
        (["203.0.113.9, \xa0192.0.2.66"], "198.51.100.7"),
        (["203.0.113.9,\t 192.0.2.66 \t"], "192.0.2.66"),
        (["'; drop table"], "198.51.100.7"),
    ],
)
async def test_a_trusted_proxy_states_the_address_in_the_last_entry(fields: list[str], address: str) -> None:
    attempts = Attempts(platform(client_address_header="X-Forwarded-For"))
    assert attempts.address(request(*(("X-Forwarded-For", field) for field in fields))) == address


async def test_only_the_header_that_is_trusted_is_read() -> None:
    attempts = Attempts(platform(client_address_header="CF-Connecting-IP"))
    assert attempts.address(request(("X-Forwarded-For", "192.0.2.66"), ("CF-Connecting-IP", "203.0.113.9"))) == (
        "203.0.113.9"
    )


@pytest.mark.parametrize("client", [None, ("", 0), ("unix", 0)])
async def test_a_host_that_states_no_address_has_one_count_for_all(client: tuple[str, int] | None) -> None:
    attempts = Attempts(platform())
    assert attempts.address(request(client=client)) == ""
    for _ in range(PER_WINDOW["new-client"]):
        await attempts.check(request(client=client), "new-client")
    with pytest.raises(TooMany):
        await attempts.check(request(client=client), "new-client")


async def test_one_attempt_too_many_is_refused_and_told_when_to_come_back() -> None:
    clock = Clock()
    attempts = Attempts(platform(clock))
    clock.advance(60 - clock.now % 60)
    assert await passed(attempts) == PER_WINDOW["new-client"] == 10
    with pytest.raises(TooMany) as refusal:
        await attempts.check(request(), "new-client")
    # At the minute's end the ten begin to slide out, the first of them six seconds later.
    assert refusal.value.headers == {"retry-after": "66"}


async def test_who_comes_back_when_told_is_let_in() -> None:
    clock = Clock()
    attempts = Attempts(platform(clock))
    clock.advance(-(clock.now % 60) + 17)
    assert await passed(attempts) == 10
    for _ in range(15):
        with pytest.raises(TooMany) as refusal:
            await attempts.check(request(), "new-client")
        clock.advance(int(refusal.value.headers["retry-after"]))
        await attempts.check(request(), "new-client")


async def test_no_minute_has_more_attempts_than_the_limit_at_its_seam() -> None:
    clock = Clock()
    attempts = Attempts(platform(clock))
    clock.advance(-(clock.now % 60) + 59)
    assert await passed(attempts) == 10
    clock.advance(2)  # a fixed window would now begin to count anew
    assert await passed(attempts) == 0
    clock.advance(30)
    assert await passed(attempts) == 5


async def test_after_two_quiet_minutes_nothing_is_remembered() -> None:
    clock = Clock()
    where = platform(clock)
    attempts = Attempts(where)
    assert await passed(attempts) == 10
    clock.advance(120)
    assert await where.atomics.read("limit/") == []
    assert await passed(attempts) == 10


async def test_addresses_and_endpoints_are_counted_apart() -> None:
    attempts = Attempts(platform())
    assert await passed(attempts) == 10
    assert await passed(attempts, client="198.51.100.8") == 10
    await attempts.check(request(), "token")


async def test_forged_headers_do_not_win_more_attempts() -> None:
    attempts = Attempts(platform())
    assert await passed(attempts) == 10
    assert await passed(attempts, *FORGED) == 0


async def test_a_trusted_proxy_s_clients_are_counted_apart_whatever_they_write_themselves() -> None:
    attempts = Attempts(platform(client_address_header="X-Forwarded-For"))
    assert await passed(attempts, ("X-Forwarded-For", "203.0.113.9")) == 10
    assert await passed(attempts, ("X-Forwarded-For", "192.0.2.1, 203.0.113.9")) == 0
    assert await passed(attempts, ("X-Forwarded-For", "203.0.113.10")) == 10


async def test_all_addresses_of_a_customer_s_ipv6_network_count_as_one() -> None:
    attempts = Attempts(platform())
    assert await passed(attempts, client="2001:db8:1:2::1") == 10
    assert await passed(attempts, client="2001:db8:1:2:ffff::1") == 0
    assert await passed(attempts, client="2001:db8:1:3::1") == 10


@pytest.mark.parametrize(
    ("networks", "most"),
    [
        ([f"2001:db8:1:{n:x}::1" for n in range(40)], 20),  # /64s of one /56
        ([f"2001:db8:1:{n:x}00::1" for n in range(40)], 40),  # /56s of one /48
        ([f"2001:db8:1:{n * 7:x}::1" for n in range(40)], 40),  # /64s all over a /48
        ([f"198.51.100.{n}" for n in range(40)], 160),  # addresses of one /24
        ([f"::ffff:198.51.100.{n}" for n in range(40)], 160),
        ([f"2001:db8:{n:x}::1" for n in range(5)], 50),  # /48s, each somebody else's
        ([f"198.51.{n}.1" for n in range(5)], 50),
    ],
)
async def test_a_stranger_with_many_networks_has_little_more_than_one_with_one(networks: list[str], most: int) -> None:
    where = platform()
    attempts = Attempts(where)
    assert sum([await passed(attempts, client=address) for address in networks]) == most
    assert len(await where.atomics.read("limit/", limit=100)) <= 5  # nor a record for each


async def test_who_is_refused_at_home_takes_nothing_from_the_neighbours() -> None:
    attempts = Attempts(platform())
    for _ in range(100):
        with suppress(TooMany):
            await attempts.check(request(client=("2001:db8:1:2::1", 1)), "new-client")
    assert await passed(attempts, client="2001:db8:1:ff02::1") == 10


async def test_a_network_that_was_used_up_is_free_again_when_its_window_has_passed() -> None:
    clock = Clock()
    attempts = Attempts(platform(clock))
    clock.advance(60 - clock.now % 60)
    for n in range(4):
        assert await passed(attempts, client=f"2001:db8:1:{n:x}00::1") == 10
    with pytest.raises(TooMany) as refusal:
        await attempts.check(request(client=("2001:db8:1:ff00::1", 1)), "new-client")
    clock.advance(int(refusal.value.headers["retry-after"]))
    await attempts.check(request(client=("2001:db8:1:ff00::1", 1)), "new-client")


async def test_a_count_of_an_older_release_is_read_and_written_so_that_it_can_read_it() -> None:
    clock = Clock()
    where = platform(clock)
    key = f"limit/{short_hash('client-renewal:https://client.example/')}"
    await where.atomics.create(key, json.dumps([1, int(clock() // 60), 0, 9]).encode(), nonce="n")
    attempts = Attempts(where)
    await attempts.count("client-renewal", "https://client.example/")
    with pytest.raises(TooMany):
        await attempts.count("client-renewal", "https://client.example/")
    entry = await where.atomics.get(key)
    assert entry is not None
    assert json.loads(entry.value) == [1, int(clock() // 60), 0, 10]


async def test_parallel_attempts_on_two_instances_are_counted_once_each() -> None:
    where = platform()
    both = [Attempts(where), Attempts(where)]

    async def attempt(n: int) -> bool:
        try:
            await both[n % 2].check(request(), "new-client")
        except TooMany:
            return False
        return True

    assert sum(await asyncio.gather(*(attempt(n) for n in range(20)))) == PER_WINDOW["new-client"]


class Away(MemoryAtomics):
    """A store that cannot be reached."""

    async def get(self, key: str) -> Entry | None:
        raise StoreUnavailable("away")


async def test_without_a_count_there_is_no_attempt() -> None:
    with pytest.raises(StoreUnavailable):
        await Attempts(platform(atomics=Away())).check(request(), "token")


class Binding:
    """A platform's own limiter."""

    def __init__(self, allowed: bool) -> None:
        self.allowed = allowed
        self.keys: list[str] = []

    async def allow(self, key: str) -> bool:
        self.keys.append(key)
        return self.allowed


async def test_the_platform_s_limiter_refuses_before_the_store_is_asked() -> None:
    binding = Binding(allowed=False)
    with pytest.raises(TooMany) as refusal:
        await Attempts(platform(atomics=Away(), limiter=binding)).check(request(), "token")
    assert (refusal.value.headers["retry-after"], binding.keys) == ("60", ["token:198.51.100.7"])


async def test_what_the_platform_s_limiter_lets_through_is_counted_all_the_same() -> None:
    assert await passed(Attempts(platform(limiter=Binding(allowed=True)))) == 10
    with pytest.raises(StoreUnavailable):
        await Attempts(platform(atomics=Away(), limiter=Binding(allowed=True))).check(request(), "token")


@pytest.mark.parametrize("odd", [b"\xa0", b"\x85", b"\x1c", b"\x0b", b"\x0c", b"\xc2\xa0", b"\xb2", b"\xef\xbc\x91"])
def test_an_address_with_a_byte_that_is_no_space_is_none(odd: bytes) -> None:
    attempts, asked = Attempts(platform(client_address_header="X-Forwarded-For")), request()
    for stated in (odd + b"203.0.113.9", b"203.0.113.9" + odd, b"203.0.113.9:" + odd + b"80", b"203.0." + odd + b".9"):
        asked.pairs = [(b"x-forwarded-for", b"10.0.0.1, " + stated)]
        assert attempts.address(asked) == ("203.0.113.9" if stated[:12] == b"203.0.113.9:" else "198.51.100.7")
    asked.pairs = [(b"x-forwarded-for", b"10.0.0.1,\t 203.0.113.9 ")]
    assert attempts.address(asked) == "203.0.113.9"
