"""The body of somebody else's answer, taken no further than a bound: what is compressed is undone piece by piece.

httpx by itself undoes as many codings as an answer names, each for all of its input at once, before anybody can count:
2 KB become gigabytes. Here one coding at most is undone, and what comes of it never exceeds a piece.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Collection, Iterator

import httpx

from mcp_edge.text.ascii import lowered, stripped

CODINGS = ("gzip", "deflate")
"""What can be undone (RFC 9110 §8.4.1)."""
MAX_BYTES = 16 * 1024 * 1024
"""The most of an answer whose request says nothing else."""
_PIECE = 64 * 1024
_SLACK = 1024
"""What a coding may add to a body that does not shrink: its header and the like."""
_ITS_CODING = ("content-encoding", "content-length")
"""What describes the encoded body."""


class AnswerTooLarge(httpx.RequestError):
    """The answer is larger than its request allows, or becomes so when it is decoded. The rest was not read."""


def wanted(request: httpx.Request, *, max_bytes: int, codings: Collection[str] = CODINGS) -> None:
    """State in the request what its answer may be: `Bounded` and the Worker's `fetch` read it there."""
    request.extensions.update(max_bytes=max_bytes, codings=tuple(codings))
    request.headers["accept-encoding"] = "identity"


async def bound(response: httpx.Response) -> None:
    """Let whoever reads `response` get no more than its request allows: a hook for an `httpx.AsyncClient`'s responses.

    A request states it as `extensions={"max_bytes": …}`; `MAX_BYTES` hold otherwise. The headers come out as those of
    the decoded body.

    Raises:
        httpx.DecodingError: it is encoded in a way that is not undone, or twice.
        AnswerTooLarge
    """
    extensions = response.request.extensions
    max_bytes, codings = extensions.get("max_bytes", MAX_BYTES), extensions.get("codings", CODINGS)
    if response.is_stream_consumed:  # a transport that holds whole answers, and has decoded them
        if len(response.content) > max_bytes:
            raise _too_large(response, max_bytes)
        return
    coding = _coding(response, codings)
    assert isinstance(response.stream, httpx.AsyncByteStream)
    response.stream = _Bounded(response, response.stream, coding, max_bytes)
    if coding:
        for name in _ITS_CODING:
            response.headers.pop(name, None)


class _Bounded(httpx.AsyncByteStream):
    """A stream of pieces, decoded; it breaks off where there is more than `max_bytes`."""

    def __init__(self, response: httpx.Response, raw: httpx.AsyncByteStream, coding: str, max_bytes: int) -> None:
        self._response = response
        self._raw = raw
        self._coding = coding
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        decoder = _Decoder(self._coding) if self._coding else None
        taken = came = 0
        async for part in self._raw:
            came += len(part)
            if decoder is None:
                pieces = iter((part,))
            elif came > self._max_bytes + _SLACK:  # endless, and decoded to nothing
                raise _too_large(self._response, self._max_bytes)
            else:
                pieces = decoder.decode(part)
            try:
                for piece in pieces:
                    taken += len(piece)
                    if taken > self._max_bytes:
                        raise _too_large(self._response, self._max_bytes)
                    yield piece
            except zlib.error as e:
                raise httpx.DecodingError(f"the answer is no {self._coding}", request=self._response.request) from e
        if decoder is not None and came and not decoder.ended:
            raise httpx.DecodingError("the answer is broken off", request=self._response.request)

    async def aclose(self) -> None:
        await self._raw.aclose()


class _Decoder:
    """One coding, undone in pieces of at most `_PIECE` bytes."""

    def __init__(self, coding: str) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16) if coding == "gzip" else None
        self._head = b""

    @property
    def ended(self) -> bool:
        """Whether the coding's own end has come."""
        return self._inflate is not None and self._inflate.eof

    def decode(self, part: bytes) -> Iterator[bytes]:
        """What `part` adds.

        Raises:
            zlib.error: it is something else.
        """
        if self._inflate is None:
            self._head = part = self._head + part
            if len(part) < 2:
                return
            # RFC 1950 §2.2; some servers leave these two bytes out.
            headed = part[0] & 0x0F == zlib.DEFLATED and int.from_bytes(part[:2], "big") % 31 == 0
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS if headed else -zlib.MAX_WBITS)
        while piece := self._inflate.decompress(part, _PIECE):
            yield piece
            part = self._inflate.unconsumed_tail
        if self._inflate.unused_data:
            raise zlib.error("something follows its end")


def _coding(response: httpx.Response, allowed: Collection[str]) -> str:
    """The one coding of the answer, empty where there is none.

    Raises:
        httpx.DecodingError: there are more, or it is not `allowed`.
    """
    named = response.headers.get_list("content-encoding", split_commas=True)
    codings = [
        name for name in (lowered(stripped(name)).removeprefix("x-") for name in named) if name not in ("", "identity")
    ]
    if not codings:
        return ""
    if len(codings) > 1 or codings[0] not in allowed:
        raise httpx.DecodingError("the answer is compressed in a way that is not taken", request=response.request)
    return codings[0]


def _too_large(response: httpx.Response, max_bytes: int) -> AnswerTooLarge:
    return AnswerTooLarge(f"the answer is larger than {max_bytes} bytes", request=response.request)
