"""A proxy before DynamoDB that fails on purpose: it throttles, answers 5xx, says nothing, and loses answers."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from enum import Enum
from urllib.parse import urlsplit


class Fault(Enum):
    """What becomes of a request."""

    NONE = "it is carried out and answered"
    THROTTLED = "400, not carried out"
    BROKEN = "500, not carried out"
    BROKEN_AFTER = "500, carried out"
    CLOSED = "the connection ends, not carried out"
    LOST = "the connection ends, carried out"
    CUT = "half of the answer comes, carried out"
    SILENT = "no answer, not carried out"
    SILENT_AFTER = "no answer, carried out"


CARRIED_OUT = frozenset({Fault.NONE, Fault.BROKEN_AFTER, Fault.LOST, Fault.CUT, Fault.SILENT_AFTER})
FAULTS = [fault for fault in Fault if fault is not Fault.NONE]
_TYPE = "com.amazonaws.dynamodb.v20120810#"


def first(*faults: Fault) -> Callable[[str], Fault]:
    """These faults in turn, and none after them."""
    left = iter(faults)
    return lambda _: next(left, Fault.NONE)


def then_throttled(fault: Fault, done: Callable[[], bool]) -> Callable[[str], Fault]:
    """`fault` for the first write, and no way through for its repetitions until `done`; reads have no faults."""
    turn = first(fault)

    def plan(operation: str) -> Fault:
        if operation in ("GetItem", "Query"):
            return Fault.NONE
        found = turn(operation)
        return Fault.THROTTLED if found is Fault.NONE and not done() else found

    return plan


class FaultyProxy:
    """Forwards each request to `target`, with the fault that `plan` names for its operation."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = parts.hostname, parts.port
        self.plan: Callable[[str], Fault] = lambda _: Fault.NONE
        self.counted: Counter[str] = Counter()
        self.heads: list[bytes] = []
        """The heads of the requests, as they came."""
        self.body = b""
        """The body of the request that `plan` is asked about."""
        self.url = ""
        self._held: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._held.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._held.discard(task)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head, body = await _message(reader)
        found = re.search(rb"(?i)x-amz-target: DynamoDB_20120810\.(\w+)", head)
        assert found is not None
        operation = found[1].decode()
        self.heads.append(head)
        self.counted[operation] += 1
        self.body = body
        fault = self.plan(operation)
        answer = await self._forward(head + body) if fault in CARRIED_OUT else b""
        if fault is Fault.THROTTLED:
            answer = _answer(b"400 Bad Request", "ProvisionedThroughputExceededException")
        elif fault in (Fault.BROKEN, Fault.BROKEN_AFTER):
            answer = _answer(b"500 Internal Server Error", "InternalServerError")
        elif fault in (Fault.SILENT, Fault.SILENT_AFTER):
            await reader.read()  # until the client has had enough
            return False
        elif fault in (Fault.CLOSED, Fault.LOST):
            return False
        elif fault is Fault.CUT:
            answer = answer[: len(answer) - 1]
        writer.write(answer)
        await writer.drain()
        return fault is not Fault.CUT

    async def _forward(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._target)
        try:
            writer.write(request)
            head, body = await _message(reader)
        finally:
            writer.transport.abort()
        return head + body

    async def aclose(self) -> None:
        """End the connections that are left."""
        for task in self._held:
            task.cancel()
        await asyncio.gather(*self._held)


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    return head, await reader.readexactly(int(length[1]) if length else 0)


def _answer(status: bytes, kind: str) -> bytes:
    body = json.dumps({"__type": _TYPE + kind, "message": "on purpose"}).encode()
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@asynccontextmanager
async def faulty_proxy(target: str, tls: ssl.SSLContext | None = None) -> AsyncGenerator[FaultyProxy]:
    """A proxy that has no faults until it is given a plan, over TLS when it is given the means."""
    proxy = FaultyProxy(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=tls)
    proxy.url = f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.aclose()
        await server.wait_closed()
