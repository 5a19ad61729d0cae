"""The connections of one process: how many there may be, and how much may wait for clients that do not read.

It knows no HTTP: a connection is busy or not, has a client, and holds bytes that were not taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from typing import Protocol

MAX_WAITING = 128 * 1024 * 1024
"""Bytes of answers that may wait for clients to read them, in sum."""
MAX_WAITING_OF_ONE = 32 * 1024 * 1024
"""The same for one user, and for one network."""
FAREWELLS = 64
"""Connections beyond all room that are told so; more are closed without a word."""


class Connection(Protocol):
    """What is known of one connection."""

    network: str
    """Of its client; empty where nobody knows it, or where a proxy's would stand for everybody's."""

    @property
    def principal(self) -> str:
        """Whose answer it is; empty where that was not asked."""
        ...

    @property
    def busy(self) -> bool:
        """Whether it has a request, or an answer that its client has not taken."""
        ...

    @property
    def waiting(self) -> int:
        """Bytes that its client has not taken."""
        ...

    @property
    def taken(self) -> int:
        """Bytes that its client has taken so far."""
        ...

    def abort(self) -> None:
        """Close it at once."""
        ...


class Connections:
    """All of them."""

    def __init__(self, most: int) -> None:
        """`most` may be open at once, half of them from one network."""
        self._most = most
        self._open = 0
        self._of: Counter[str] = Counter()
        self._last: dict[Connection, None] = {}
        """In the order of their last answers, or of their coming."""
        self._slow: dict[Connection, None] = {}
        """Those for whose clients much waits."""
        self._stalled: dict[Connection, tuple[int, float]] = {}
        """How much each client for whom anything waits had taken, and since when no more than that."""

    @property
    def crowded(self) -> bool:
        """Whether there is no room even for telling clients that there is none."""
        return self._open > self._most + FAREWELLS

    def admit(self, connection: Connection) -> bool:
        """Count a new one. False when there is no room for it, since all others are busy."""
        room = True
        if connection.network and self._of[connection.network] >= self._most // 2:
            room = self._make_room(connection.network)
        elif self._open >= self._most:
            room = self._make_room("")
        self._open += 1
        self._of[connection.network] += 1
        if room:
            self._last[connection] = None
        return room

    def _make_room(self, network: str) -> bool:
        """Close the one that has been idle longest, of a network or of all. False when there is none."""
        found = next((c for c in self._last if not c.busy and (not network or c.network == network)), None)
        if found is None:
            return False
        del self._last[found]
        found.abort()
        return True

    def lost(self, connection: Connection) -> None:
        """It is closed."""
        self._open -= 1
        self._of[connection.network] -= 1
        if not self._of[connection.network]:
            del self._of[connection.network]
        self._last.pop(connection, None)
        self._slow.pop(connection, None)

    def answered(self, connection: Connection) -> None:
        """It has answered a request."""
        self._last.pop(connection, None)
        self._last[connection] = None

    def slow(self, connection: Connection) -> None:
        """Much waits for its client. Where that is too much in sum, those give way that have been slow for longest."""
        self._slow[connection] = None
        network, principal = connection.network, connection.principal
        _give_way(list(self._slow), MAX_WAITING)
        if network:
            _give_way([c for c in self._slow if c.network == network], MAX_WAITING_OF_ONE)
        if principal:
            _give_way([c for c in self._slow if c.principal == principal], MAX_WAITING_OF_ONE)

    def caught_up(self, connection: Connection) -> None:
        """Little waits for its client."""
        self._slow.pop(connection, None)

    def end_stalled(self, connections: Iterable[Connection], *, now: float, after_s: float) -> None:
        """Close those whose clients have taken nothing of what waits for them in `after_s` seconds."""
        before, self._stalled = self._stalled, {}
        for connection in connections:
            if not connection.waiting:
                continue
            taken = connection.taken
            had, since = before.get(connection, (-1, now))
            if taken == had and now - since >= after_s:
                connection.abort()
            else:
                self._stalled[connection] = taken, (since if taken == had else now)


def _give_way(slow: list[Connection], most: int) -> None:
    """Close the first ones until no more than `most` bytes wait. The last one stays, however much waits for it."""
    waiting = sum(connection.waiting for connection in slow)
    for connection in slow[:-1]:
        if waiting <= most:
            return
        waiting -= connection.waiting
        connection.abort()


def network_of(address: str) -> str:
    """What counts as one: an IPv4 address, or the /64 of an IPv6 one. Empty when it is no address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return f"{IPv6Address(int(found) >> 64 << 64)}/64"
    return str(found)
