"""Host names looked up for strangers: how many at once, in sum and for one network, and how many that never end.

The system's lookup cannot be cancelled, and a silent name server holds a thread for half a minute. So each lookup has a
thread of its own, never one of the event loop's, in which the names of our own upstreams are looked up. Its place is
free as soon as nobody waits for it, and the threads that are left behind are bounded, too.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpx

MOST_LOOKUPS = 16
"""Names of strangers that are looked up at the same time; as many more for names that were reached before."""
MOST_ABANDONED = 48
"""Lookups that nobody waits for any more; names that were reached before have as many again."""
MOST_OF_A_NETWORK = 4
"""Of each network, those that nobody waits for included."""
TIMEOUT_S = 3.0


class Busy(httpx.RequestError):
    """Too many names are being looked up. Nothing was sent."""


@dataclass(frozen=True, slots=True)
class Asker:
    """For whom a name is looked up."""

    network: str
    known: bool = False
    """Whether the name was reached before."""


ASKER: ContextVar[Asker | None] = ContextVar("mcp-edge.asker", default=None)
"""Set by who knows for whom a URL is fetched; without it a name is a stranger's, and of no network."""


class _Threads:
    """The lookups of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waited = self._strangers = self._abandoned = 0
        self._networks: Counter[str] = Counter()

    def begin(self, asker: Asker | None) -> _Thread:
        """A place.

        Raises:
            Busy: there is none.
        """
        known, network = (asker.known, asker.network) if asker else (False, None)
        more = 2 if known else 1
        with self._lock:
            full = self._waited >= more * MOST_LOOKUPS if known else self._strangers >= MOST_LOOKUPS
            if full or self._abandoned >= more * MOST_ABANDONED:
                raise Busy("too many names are being looked up")
            if network is not None and self._networks[network] >= MOST_OF_A_NETWORK:
                raise Busy("too many names are being looked up for one network")
            self._waited += 1
            self._strangers += not known
            if network is not None:
                self._networks[network] += 1
        return _Thread(self, known, network)

    def move(self, thread: _Thread, *, ended: bool) -> None:
        """The thread has ended, or nobody waits for it any more; its network's place it gives back at its end."""
        with self._lock:
            if not thread.left:
                self._waited -= 1
                self._strangers -= not thread.known
                self._abandoned += not ended
            elif ended:
                self._abandoned -= 1
            if ended and thread.network is not None:
                self._networks[thread.network] -= 1
                self._networks = +self._networks  # forgets who has none
            thread.left = True


@dataclass(slots=True)
class _Thread:
    """One lookup under way."""

    threads: _Threads
    known: bool
    network: str | None
    left: bool = False
    """Whether nobody waits for it, or it has ended."""

    def move(self, *, ended: bool) -> None:
        """See `_Threads.move`."""
        self.threads.move(self, ended=ended)


_THREADS = _Threads()


async def resolve(host: str) -> Sequence[str]:
    """The system's addresses of `host`.

    Raises:
        OSError: it has none, or its name server does not answer in `TIMEOUT_S` seconds.
        Busy: no place is free.
    """
    thread = _THREADS.begin(ASKER.get())
    found: Future[list[Any]] = Future()
    found.set_running_or_notify_cancel()
    try:
        # A daemon: a process that stops does not wait for it.
        threading.Thread(target=_look_up, args=(host, found, thread), name="strangers' names", daemon=True).start()
    except RuntimeError as e:
        thread.move(ended=True)
        raise Busy("no thread can be started") from e
    try:
        async with asyncio.timeout(TIMEOUT_S):
            places = await asyncio.wrap_future(found)
    finally:
        if not found.done():
            thread.move(ended=False)
    return list(dict.fromkeys(str(place[0]) for *_, place in places))


def _look_up(host: str, found: Future[list[Any]], thread: _Thread) -> None:
    try:
        places = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as e:
        thread.move(ended=True)
        found.set_exception(e)
    else:
        thread.move(ended=True)
        found.set_result(places)
