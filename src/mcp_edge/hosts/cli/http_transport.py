"""A connection's transport as the protocol sees it: it closes without losing the answer, and knows what was taken.

It knows no HTTP.
"""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
from collections.abc import Callable
from socket import SHUT_WR
from typing import Any

LINGER_S = 5.0
"""How long a client may go on sending after the last answer, unless it ends its side."""
MAX_LINGER = 16 * 1024 * 1024
"""Bytes that it may send meanwhile."""


class Transport:
    """A socket's transport whose `close` waits for a client that is still sending.

    A socket that is closed with data unread resets the connection, and the client may never see the answer
    (RFC 9112 §9.6). So our side ends first, and what comes is dropped, for a while.
    """

    def __init__(self, socket: asyncio.Transport, unread: Callable[[], bool]) -> None:
        """`unread` says whether the client may still be sending."""
        self.closing = False
        """Whether `close` or `abort` was called."""
        self.write = socket.write
        self._socket = socket
        self._unread = unread
        self._dropped = 0
        self._ending = False
        """Whether our side ends when what waits is sent."""
        self._end: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Bytes that wait in this process; the kernel holds some more."""
        return self._socket.get_write_buffer_size()

    @property
    def untaken(self) -> int:
        """Bytes that the client has not taken: those that wait here, and those that the kernel holds.

        It asks for more only when a third of its buffer, up to a megabyte, is free again.
        """
        return self._socket.get_write_buffer_size() + self._queued()

    def _queued(self) -> int:
        """Bytes that the kernel holds; 0 where it does not tell."""
        try:
            answer = fcntl.ioctl(self._socket.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):  # no Linux, or closed
            return 0
        return int.from_bytes(answer, sys.byteorder)

    def close(self) -> None:
        """Send what waits, end our side, and close when the client has ended its own or too much of it has come."""
        if self.closing:
            return
        self.closing = True
        if not self._unread() or self._socket.is_closing():
            self._socket.close()
            return
        if self.waiting:
            self._ending = True
            self._socket.set_write_buffer_limits(0)  # the protocol is told when nothing waits any more
        else:
            self._end_side()
        self._socket.resume_reading()
        self._end = asyncio.get_running_loop().call_later(LINGER_S, self._socket.close)

    def drained(self) -> None:
        """Most of what waited is sent; after `close`, all of it."""
        if self._ending:
            self._end_side()

    def _end_side(self) -> None:
        """End our side. asyncio's `write_eof` would raise in a callback of its own where the client has reset."""
        self._ending = False
        try:
            self._socket.get_extra_info("socket").shutdown(SHUT_WR)
        except OSError:  # ENOTCONN: it is gone
            asyncio.get_running_loop().call_soon(self._socket.abort)  # asyncio may be in the middle of writing

    def drop(self, size: int) -> None:
        """Forget `size` bytes that came after `close`."""
        self._dropped += size
        if self._dropped > MAX_LINGER:
            self._socket.close()

    def abort(self) -> None:
        """Close at once, and forget what waits to be sent."""
        self.closing = True
        self._socket.abort()

    def lost(self) -> None:
        """The connection is gone."""
        if self._end is not None:
            self._end.cancel()

    def is_closing(self) -> bool:
        """Whether `close` or `abort` was called, or the client is gone."""
        return self.closing or self._socket.is_closing()

    def pause_reading(self) -> None:
        """Read nothing more for now; not after `close`, which reads to its end."""
        if not self.closing:
            self._socket.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        self._socket.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As asyncio's."""
        return self._socket.get_extra_info(name, default)
