"""A body in chunks (RFC 9112 §7.1), with what surrounds its data bounded and dropped. It knows no head, no socket."""

from __future__ import annotations

import re

MAX_EXCESS = 16 * 1024
"""Bytes by which the framing of a body may outweigh its data (as in Go since CVE-2023-39326)."""
MAX_CHUNK_LINE = 4096
"""Bytes of a chunk's size with its extensions, or of a trailer field."""

_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n\0]*)?\r\n")
_TRAILER = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*)?\r\n")


class Chunks:
    """A chunked body as it arrives (RFC 9112 §7.1), with its framing weighed against its data."""

    def __init__(self) -> None:
        self._left = 0
        """Bytes that are missing of the chunk that has begun."""
        self._ends = False
        """Whether the end of a chunk's last line is still to come."""
        self._trailers = False
        self._ended = False
        self._excess = 0

    def take(self, raw: bytearray) -> bytes:
        """Remove from `raw` what is whole, and return its data as one chunk; extensions and trailers are dropped.

        Raises:
            ValueError: it is malformed, or has more framing than data.
        """
        data: list[bytearray] = []
        at, had_ended = 0, self._ended
        while at < len(raw) and not self._ended:
            before = at
            if self._left:
                data.append(raw[at : at + self._left])
                at += len(data[-1])
                self._left -= len(data[-1])
            elif self._ends:
                at = self._line_end(raw, at)
            elif self._trailers:
                at = self._trailer(raw, at)
            else:
                at = self._sizes(raw, at, data)
            if at == before:
                break
        del raw[:at]
        body = b"".join(data)
        return (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (
            b"0\r\n\r\n" if self._ended > had_ended else b""
        )

    def _sizes(self, raw: bytearray, at: int, data: list[bytearray]) -> int:
        """Read chunks that are whole, and the size of the first one that is not."""
        while (line := _CHUNK.match(raw, at, at + MAX_CHUNK_LINE)) is not None:
            begin = line.end()
            size = int(line[1], 16)
            self._weigh(begin - at + 2 - size)
            end = begin + size
            if not size:
                self._trailers = True
                return begin
            if not raw.startswith(b"\r\n", end):
                self._left, self._ends = size, True
                return begin
            data.append(raw[begin:end])
            at = end + 2
        if raw.find(b"\n", at, at + MAX_CHUNK_LINE) >= 0 or len(raw) - at > MAX_CHUNK_LINE:
            raise ValueError("A chunk of the body is malformed.")
        return at

    def _line_end(self, raw: bytearray, at: int) -> int:
        """Read what follows the data of a chunk."""
        if raw.startswith(b"\r\n", at):
            self._ends = False
            return at + 2
        if raw[at] != ord("\r") or len(raw) > at + 1:
            raise ValueError("A chunk of the body is malformed.")
        return at

    def _trailer(self, raw: bytearray, at: int) -> int:
        """Read a trailer field, or the empty line that ends the body."""
        line = _TRAILER.match(raw, at, at + MAX_CHUNK_LINE)
        if line is None:
            if raw.find(b"\n", at) >= 0 or len(raw) - at > MAX_CHUNK_LINE:
                raise ValueError("A trailer field is malformed.")
            return at
        self._weigh(line.end() - at)
        self._ended = line.end() == at + 2
        return line.end()

    def _weigh(self, excess: int) -> None:
        self._excess = max(0, self._excess + excess)
        if self._excess > MAX_EXCESS:
            raise ValueError("The body has more framing than data.")
