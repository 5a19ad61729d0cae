"""Emulates Lambda around one execution environment: a real runtime process, its Runtime API, and its freezer.

The process is stopped (SIGSTOP) from the moment it asks for the next invocation until there is one. It knows no HTTP
request of a client's: an invocation is an event in, and out come an answer in one piece or a stream.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h11

CHUNK = 65536
MAX_EVENT = 6 * 1024 * 1024
MAX_ANSWER = 6 * 1024 * 1024
SEPARATOR = b"\0" * 8
Part = tuple[str, Any]
"""`("start", prelude)`, `("data", bytes)`, `("end", None)`, `("answer", value)`, `("error", {type and body})`."""


@dataclass(slots=True)
class Invocation:
    """One event on its way through an environment."""

    event: Any
    timeout_s: float
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    parts: asyncio.Queue[Part] = field(default_factory=lambda: asyncio.Queue(4))
    """What the runtime answers, bounded as Lambda's own buffers are."""


class Environment:
    """One execution environment. Made and used inside one event loop."""

    def __init__(
        self,
        command: Sequence[str] = (),
        env: Mapping[str, str] = MappingProxyType({}),
        cwd: Path = Path(),
        log: Path = Path(os.devnull),
    ) -> None:
        self._command = command
        self._env = env
        self._cwd = cwd
        self._log = log
        self._server: asyncio.Server | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._invocations: asyncio.Queue[Invocation] = asyncio.Queue()
        self._current: Invocation | None = None
        self._ready = asyncio.Event()
        self.init_error: Any = None
        self.connections = 0
        self.asked: list[str] = []
        """What the runtime asked for or told, in order: `next`, `response`, `error`, `init/error`, `restore/next`."""

    @property
    def pid(self) -> int:
        """The runtime's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs (or is frozen)."""
        return self._process is not None and self._process.poll() is None

    @property
    def frozen(self) -> bool:
        """Whether the kernel holds the process stopped."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    async def listen(self) -> str:
        """Open the Runtime API and return its address. Without a process, whoever calls it is never frozen."""
        self._server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        """Start the process; it is ready, or has failed, when `ready` returns."""
        env = {**self._env, "AWS_LAMBDA_RUNTIME_API": await self.listen()}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    async def ready(self, timeout_s: float = 30) -> None:
        """Return once the runtime waits for an invocation and is frozen.

        Raises:
            TimeoutError: it does not come.
            RuntimeError: its init failed.
        """
        async with asyncio.timeout(timeout_s):
            await self._ready.wait()
        if self.init_error is not None:
            raise RuntimeError(f"init failed: {self.init_error}")

    async def invoke(self, invocation: Invocation) -> None:
        """Thaw the environment for `invocation`, whose `parts` then fill."""
        self._ready.clear()
        self._current = invocation
        await self._invocations.put(invocation)

    async def settled(self, timeout_s: float) -> bool:
        """Wait until the runtime asks for the next invocation. False if it dies or takes longer: then it is killed."""
        deadline = time.monotonic() + timeout_s
        while not self._ready.is_set() and self.alive and time.monotonic() < deadline:
            with suppress(TimeoutError):  # now and then it looks whether the process has died
                async with asyncio.timeout(min(0.1, timeout_s)):
                    await self._ready.wait()
        if not self._ready.is_set() or not self.alive:
            self.kill()
            return False
        return True

    def kill(self) -> None:
        """End the process at once, frozen or not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    async def close(self) -> None:
        """End the process and its Runtime API."""
        self.kill()
        if self._server is not None:
            self._server.close()

    # -- the Runtime API ---------------------------------------------------------------------------------------------

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_EVENT)
        self.connections += 1
        try:
            while True:
                request = await _next(connection, reader)
                if not isinstance(request, h11.Request):
                    return
                await self._serve(connection, reader, writer, request)
                if connection.our_state is h11.MUST_CLOSE:
                    return
                connection.start_next_cycle()
        except (OSError, h11.ProtocolError, asyncio.CancelledError):
            if self._current is not None and not self.alive:
                with suppress(asyncio.QueueFull):
                    self._current.parts.put_nowait(("error", {"errorType": "Runtime.ExitError"}))
        finally:
            writer.close()

    async def _serve(
        self,
        connection: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: h11.Request,
    ) -> None:
        path = request.target.decode().removeprefix("/2018-06-01/runtime/")
        headers = {name.decode(): value.decode() for name, value in request.headers}
        self.asked.append(path.rpartition("/")[2] if path.startswith("invocation") else path)
        if path in ("invocation/next", "restore/next"):
            await _whole(connection, reader)
            self._signal(signal.SIGSTOP)
            if path == "restore/next":
                answer: list[tuple[str, str]] = []
                body = b""
            else:
                self._current = None
                self._ready.set()
                invocation = await self._invocations.get()
                body = json.dumps(invocation.event).encode()
                answer = [
                    ("Lambda-Runtime-Aws-Request-Id", invocation.id),
                    ("Lambda-Runtime-Deadline-Ms", str(int((time.time() + invocation.timeout_s) * 1000))),
                    ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:000000000000:function:mcp"),
                    ("Lambda-Runtime-Trace-Id", f"Root={invocation.id}"),
                    ("Content-Type", "application/json"),
                ]
            self._signal(signal.SIGCONT)
            await _reply(connection, writer, 200, answer, body)
        elif path == "init/error":
            self.init_error = json.loads(await _whole(connection, reader))
            await _reply(connection, writer, 202)
            self._ready.set()
        else:
            _, request_id, what = path.split("/")
            current = self._current
            if current is None or current.id != request_id:
                await _whole(connection, reader)
                await _reply(connection, writer, 400, body=b'{"errorType":"InvalidRequestID"}')
                return
            if what == "error":
                await current.parts.put(("error", json.loads(await _whole(connection, reader))))
                await _reply(connection, writer, 202)
            elif headers.get("lambda-runtime-function-response-mode") == "streaming":
                await self._stream(connection, reader, current)
                await _reply(connection, writer, 202)
            else:
                body = await _whole(connection, reader)
                if len(body) > MAX_ANSWER:
                    await current.parts.put(("error", {"errorType": "Function.ResponseSizeTooLarge"}))
                    await _reply(connection, writer, 413, body=b'{"errorType":"RequestEntityTooLarge"}')
                else:
                    await current.parts.put(("answer", json.loads(body)))
                    await _reply(connection, writer, 202)

    def _signal(self, which: signal.Signals) -> None:
        if self._process is not None:
            os.kill(self.pid, which)

    async def _stream(self, connection: h11.Connection, reader: asyncio.StreamReader, current: Invocation) -> None:
        """Pass a streamed response on as it comes, each chunk when the next one begins: Function URLs were seen to."""
        held, body = b"", False
        while True:
            event = await _next(connection, reader)
            ended = isinstance(event, h11.EndOfMessage)
            if ended or (isinstance(event, h11.Data) and event.chunk_start):
                held, body = await _pass_on(held, current, body=body)
            if isinstance(event, h11.Data):
                held += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                trailers = {name.decode(): value.decode() for name, value in event.headers}
                kind = trailers.get("lambda-runtime-function-error-type")
                if kind is None:
                    await current.parts.put(("end", None))
                else:
                    error = json.loads(base64.b64decode(trailers["lambda-runtime-function-error-body"]))
                    await current.parts.put(("error", error))
                return


async def _pass_on(held: bytes, current: Invocation, *, body: bool) -> tuple[bytes, bool]:
    """What is left to hold, and whether the prelude is over."""
    if not body:
        head, found, held = held.partition(SEPARATOR)
        if not found:
            return head, False
        await current.parts.put(("start", json.loads(head)))
    if held:
        await current.parts.put(("data", held))
    return b"", True


async def _next(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Event | type[h11.PAUSED]:
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(CHUNK))
        elif isinstance(event, h11.Event):
            return event
        else:
            return h11.PAUSED


async def _whole(connection: h11.Connection, reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while not isinstance(event := await _next(connection, reader), h11.EndOfMessage):
        assert isinstance(event, h11.Data), event
        parts.append(bytes(event.data))
    return b"".join(parts)


async def _reply(
    connection: h11.Connection,
    writer: asyncio.StreamWriter,
    status: int,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
) -> None:
    fields = [*headers, ("Content-Length", str(len(body)))]
    for event in (h11.Response(status_code=status, headers=fields), h11.Data(data=body), h11.EndOfMessage()):
        writer.write(connection.send(event) or b"")
    await writer.drain()
