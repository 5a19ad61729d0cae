"""The connections of one process: how many there may be, and how much may wait for clients that do not read.

It knows no HTTP: a connection is busy or not, has a client, and holds bytes that were not taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from mcp_edge.hosts.cli.uploads import Uploads
from mcp_edge.protocol.networks import Network

MAX_WAITING = 128 * 1024 * 1024
"""Bytes of answers that may wait for clients to read them, in sum."""
MAX_WAITING_OF_ONE = 32 * 1024 * 1024
"""The same for one user, and for one network."""
FAREWELLS = 64
"""Connections beyond all room, which are told so or answered how the process is. Then the oldest gives way."""
FAREWELLS_OF_ONE = 8
"""The same for one network."""


class Connection(Protocol):
    """What is known of one connection."""

    networks: tuple[Network, ...]
    """Around its client; none where nobody knows it, or where a proxy's would stand for everybody's."""

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


class LinkedAccounts:
    """All of them."""

    def __init__(self, most: int) -> None:
        """`most` may be open at once, half of them from one network, or busy for one user."""
        self._most = most
        self._of_one = max(1, most // 2)
        self.uploads = Uploads(self._of_one)
        self._open: dict[Connection, tuple[str, ...]] = {}
        """Those that have a place, with the names of their networks."""
        self._of: Counter[str] = Counter()
        self._last: dict[Connection, None] = {}
        """In the order of their last answers, or of their coming."""
        self._farewells: dict[Connection, None] = {}
        """Those that have no place, in the order of their coming."""
        self._users: dict[Connection, str] = {}
        self._busy: dict[str, dict[Connection, None]] = {}
        """Those that are busy for each user, and some that were."""
        self._slow: dict[Connection, None] = {}
        """Those for whose clients much waits."""
        self._stalled: dict[Connection, tuple[int, float]] = {}
        """How much each client for whom anything waits had taken, and since when no more than that."""

    def admit(self, connection: Connection) -> bool:
        """Give a new one its place. False when there is none, since all others are busy: then it is to be told so."""
        if not self._has_room(connection.networks):
            self._tell(connection)
            return False
        names = tuple(network.name for network in connection.networks)
        self._open[connection] = names
        self._of.update(names)
        self._last[connection] = None
        return True

    def _has_room(self, networks: tuple[Network, ...]) -> bool:
        """Whether there is a place, if need be that of another one of the same network."""
        for network in networks:  # the widest has half, those within it their share of that
            if self._of[network.name] >= max(1, self._of_one * network.share // networks[-1].share):
                return self._make_room(network.name)
        return len(self._open) < self._most or self._make_room("")

    def _tell(self, connection: Connection) -> None:
        """Keep one that has no place for as long as no newer ones need to be told the same."""
        of_one = [c for c in self._farewells if c.networks and c.networks[-1:] == connection.networks[-1:]]
        if len(of_one) >= FAREWELLS_OF_ONE:
            self._drop_one(of_one)
        elif len(self._farewells) >= FAREWELLS:
            self._drop_one(list(self._farewells))
        self._farewells[connection] = None

    def _drop_one(self, told: list[Connection]) -> None:
        found = next((c for c in told if not c.busy), told[0])
        del self._farewells[found]
        found.abort()

    def _make_room(self, network: str) -> bool:
        """Close the one that has been idle longest, of a network or of all. False when there is none."""
        found = next((c for c in self._last if (not network or network in self._open[c]) and not c.busy), None)
        if found is None:
            return False
        self._leave(found)
        found.abort()
        return True

    def _leave(self, connection: Connection) -> None:
        """Take its place back."""
        for name in self._open.pop(connection, ()):
            self._of[name] -= 1
            if not self._of[name]:
                del self._of[name]
        self._last.pop(connection, None)

    def lost(self, connection: Connection) -> None:
        """It is closed."""
        self._leave(connection)
        self._farewells.pop(connection, None)
        self._slow.pop(connection, None)
        self._release(connection)

    def claim(self, connection: Connection, user: str) -> bool:
        """Count a connection that is busy for a user. False when as many are as one user may have."""
        self._release(connection)
        busy = self._busy.setdefault(user, {})
        if len(busy) >= self._of_one:
            for idle in [c for c in busy if not c.busy]:  # their clients have taken the answers meanwhile
                del busy[idle], self._users[idle]
            if len(busy) >= self._of_one:
                return False
        busy[connection] = None
        self._users[connection] = user
        return True

    def _release(self, connection: Connection) -> None:
        user = self._users.pop(connection, None)
        if user is not None:
            busy = self._busy[user]
            del busy[connection]
            if not busy:
                del self._busy[user]

    def answered(self, connection: Connection) -> None:
        """It has answered a request."""
        if connection in self._last:
            del self._last[connection]
            self._last[connection] = None
        if not connection.busy:
            self._release(connection)

    def slow(self, connection: Connection) -> None:
        """Much waits for its client. Where that is too much in sum, those give way that have been slow for longest."""
        self._slow[connection] = None
        networks, principal = connection.networks, connection.principal
        _give_way(list(self._slow), MAX_WAITING)
        if networks:
            _give_way([c for c in self._slow if c.networks[-1:] == networks[-1:]], MAX_WAITING_OF_ONE)
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
