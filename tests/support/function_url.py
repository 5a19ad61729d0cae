"""A Function URL on loopback: HTTP to events (payload format 2.0) and back, over environments that take strict turns.

As on Lambda, an environment serves one request at a time, is frozen between two, and there is one more whenever all are
busy. The front renames `WWW-Authenticate`, and a client that leaves does not stop the function.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import parse_qsl

import h11

from tests.support.lambda_runtime import CHUNK, MAX_EVENT, Environment, Invocation, Part
from tests.support.processes import TRACEBACK

TEXT = ("text/", "application/json", "application/xml", "application/javascript", "application/x-www-form-urlencoded")
DOMAIN = "abcdefghijklmnop.lambda-url.eu-west-1.on.aws"
"""What `requestContext.domainName` says; the Host that the function sees."""
START_S = 60
LINGER_S = 0.25
BODILESS = (204, 304)
NEVER_ENDED = {"errorType": "In some accounts a streamed response without a body is never ended."}
TIMED_OUT: Part = ("error", {"errorType": "Sandbox.Timedout"})


class FunctionUrl:
    """The front and its environments, in a thread of its own while the context is open. `url` is its address."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        *,
        count: int = 2,
        timeout_s: float = 30,
        tracebacks: bool = False,
    ) -> None:
        """`command` starts the runtime. `tracebacks` allows them in the log."""
        self._command = command
        self._env = env
        self._cwd = cwd
        self._count = count
        self._timeout_s = timeout_s
        self._tracebacks = tracebacks
        self._loop = asyncio.new_event_loop()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="function-url", daemon=True)
        self._exit = ExitStack()
        self._logs = Path()
        self._connections: set[asyncio.Task[None]] = set()
        self._finishing: set[asyncio.Task[None]] = set()
        self._idle: list[Environment] = []
        """Idle environments, the one that has waited longest first."""
        self.environments: list[Environment] = []
        self.served: list[int] = []
        """The process that took each request, in order of arrival."""
        self.errors: list[Any] = []
        """Errors that the function reported, in order."""
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._logs = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="function-")))
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._thread.join(10)
            logs = self.logs()
            self._socket.close()
            self._exit.close()
            raise RuntimeError(f"{self._failure}\n{logs}") from self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=30)
        logs = self.logs()
        self._exit.close()
        if error is not None:
            error.add_note(logs[-6000:])
        elif not self._tracebacks:
            assert not TRACEBACK.search(logs), logs[-8000:]

    def logs(self) -> str:
        """What all environments have printed."""
        return "".join(path.read_text(errors="replace") for path in sorted(self._logs.glob("*.log")))

    def invoke(self, event: Any) -> Any:
        """Invoke with any event at all, as the Invoke API does, and return the answer, the head of a streamed one that
        is short, or `{"error": …}`."""
        return asyncio.run_coroutine_threadsafe(self._invoke(event), self._loop).result(self._timeout_s + 30)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        try:
            self._idle = list(await asyncio.gather(*(self._launch() for _ in range(self._count))))
            server = await asyncio.start_server(self._accept, sock=self._socket)
        except BaseException as e:  # noqa: BLE001 # told to the thread that waits
            self._failure = e
            self._started.set()
            await self._close()
            return
        self._started.set()
        await self._stop.wait()
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._close()

    async def _close(self) -> None:
        for environment in self.environments:
            await environment.close()

    async def _launch(self) -> Environment:
        log = self._logs / f"{len(self.environments)}.log"
        environment = Environment(self._command, self._env, self._cwd, log)
        self.environments.append(environment)
        await environment.start()
        await environment.ready(START_S)
        return environment

    async def _take(self) -> Environment:
        if not self._idle and self._finishing:  # it has answered, and is about to ask for more
            await asyncio.wait(self._finishing, timeout=LINGER_S, return_when=asyncio.FIRST_COMPLETED)
        while self._idle:
            environment = self._idle.pop(0)
            if environment.alive:
                return environment
        return await self._launch()

    async def _give_back(self, environment: Environment, deadline: float) -> None:
        """Lambda's own timeout: an environment that does not ask for more in time is killed."""
        if await environment.settled(max(0.0, deadline - time.monotonic())):
            self._idle.append(environment)

    async def _invoke(self, event: Any) -> Any:
        environment = await self._take()
        deadline = time.monotonic() + self._timeout_s
        invocation = Invocation(event, self._timeout_s)
        await environment.invoke(invocation)
        kind, value = await invocation.parts.get()
        await self._give_back(environment, deadline)
        return value if kind in ("answer", "start") else {"error": value}

    # -- HTTP --------------------------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await _Client(self, reader, writer).converse()
        except (OSError, h11.ProtocolError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()

    async def respond(self, client: _Client, request: h11.Request, body: bytes) -> None:
        """Run one request through an environment, and see it to its end even when the client leaves."""
        environment = await self._take()
        deadline = time.monotonic() + self._timeout_s
        self.served.append(environment.pid)
        invocation = Invocation(event_of(request, body), self._timeout_s)
        await environment.invoke(invocation)
        settled = asyncio.create_task(self._give_back(environment, deadline))
        self._connections.add(settled)
        settled.add_done_callback(self._connections.discard)
        try:
            await self._relay(client, invocation, settled)
        finally:
            self._finishing.add(settled)
            settled.add_done_callback(self._finishing.discard)

    async def _relay(self, client: _Client, invocation: Invocation, settled: asyncio.Task[None]) -> None:
        started = filled = False
        while True:
            getting = asyncio.ensure_future(invocation.parts.get())
            await asyncio.wait({getting, settled}, return_when=asyncio.FIRST_COMPLETED)
            if not getting.done() and invocation.parts.empty():
                getting.cancel()
                part = TIMED_OUT
            else:
                part = await getting
            kind, value = part
            if kind == "error":
                self.errors.append(value)
                if started:
                    client.reset()
                else:
                    await client.answer(502, {}, b"Internal Server Error")
                return
            if kind == "answer":
                status, headers, body, cookies = answer_of(value)
                await client.answer(status, headers, body, cookies)
                return
            if kind == "start":
                started = True
                filled = (
                    value["statusCode"] in BODILESS or invocation.event["requestContext"]["http"]["method"] == "HEAD"
                )
                await client.begin(value["statusCode"], value.get("headers", {}), value.get("cookies", []))
            elif kind == "data":
                filled = True
                await client.data(value)
            elif filled:
                await client.end()
                return
            else:
                self.errors.append(NEVER_ENDED)
                client.reset()
                return


class _Client:
    """A client's connection. Once the client has left, what is sent to it goes nowhere."""

    def __init__(self, front: FunctionUrl, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._front = front
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=1024 * 1024)
        self._gone = False

    async def converse(self) -> None:
        """Serve requests until either side ends the connection."""
        while True:
            request = await self._receive()
            if not isinstance(request, h11.Request):
                return
            body = b""
            while isinstance(part := await self._receive(), h11.Data):
                body += bytes(part.data)
            if len(body) > MAX_EVENT:
                await self.answer(413, {}, b'{"Message":"Request must be smaller than 6291456 bytes"}')
            else:
                await self._front.respond(self, request, body)
            if self._gone or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes, cookies: Sequence[str] = ()) -> None:
        """Send a whole answer."""
        await self.begin(status, {**headers, "content-length": str(len(body))}, cookies)
        await self.data(body)
        await self.end()

    async def begin(self, status: int, headers: Mapping[str, str], cookies: Sequence[str]) -> None:
        """Send the head, with `WWW-Authenticate` renamed."""
        fields = [(renamed(name), value) for name, value in headers.items()]
        fields += [("set-cookie", cookie) for cookie in cookies]
        await self._send(h11.Response(status_code=status, headers=fields))

    async def data(self, data: bytes) -> None:
        """Send a part of the body."""
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        """Send the end."""
        await self._send(h11.EndOfMessage())

    def reset(self) -> None:
        """End the connection in the middle."""
        self._gone = True
        self._writer.transport.abort()

    async def _send(self, event: h11.Event) -> None:
        if self._gone or self._writer.transport.is_closing():
            self._gone = True
            return
        try:
            self._writer.write(self._http.send(event) or b"")
            await self._writer.drain()
        except OSError:
            self._gone = True

    async def _receive(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(CHUNK))
            elif isinstance(event, h11.Event):
                return event
            else:
                return h11.PAUSED


def renamed(name: str) -> str:
    """A response header's name as it leaves a Function URL."""
    return "x-amzn-remapped-www-authenticate" if name.lower() == "www-authenticate" else name


def event_of(request: h11.Request, body: bytes) -> dict[str, Any]:
    """The event of an HTTP request, payload format 2.0."""
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for raw_name, raw_value in request.headers:
        name, value = raw_name.decode().lower(), raw_value.decode("latin-1")
        if name == "cookie":
            cookies += value.split("; ")
        elif name not in ("connection", "transfer-encoding"):
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    path, _, query = request.target.decode().partition("?")
    return event(request.method.decode(), path, headers, body, query=query, cookies=cookies)


def event(
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    *,
    query: str = "",
    cookies: Sequence[str] = (),
    binary: bool | None = None,
) -> dict[str, Any]:
    """A Function URL's event; `binary` decides on base64, by default the content type does."""
    kind = headers.get("content-type", "text/plain")
    encoded = not kind.startswith(TEXT) if binary is None else binary
    made: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {
            **headers,
            "host": DOMAIN,
            "x-forwarded-proto": "https",
            "x-forwarded-port": "443",
            "x-forwarded-for": "127.0.0.1",
        },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": DOMAIN.partition(".")[0],
            "domainName": DOMAIN,
            "domainPrefix": DOMAIN.partition(".")[0],
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": "00000000-0000-0000-0000-000000000000",
            "routeKey": "$default",
            "stage": "$default",
            "time": "01/Jan/2026:00:00:00 +0000",
            "timeEpoch": 1767225600000,
        },
        "isBase64Encoded": encoded,
    }
    if query:
        made["queryStringParameters"] = dict(parse_qsl(query))
    if cookies:
        made["cookies"] = list(cookies)
    if body:
        made["body"] = base64.b64encode(body).decode() if encoded else body.decode()
    return made


def answer_of(value: Any) -> tuple[int, dict[str, str], bytes, list[str]]:
    """Status, headers, body and cookies of a buffered answer in format 2.0; any other value is a JSON body itself."""
    if not isinstance(value, dict) or "statusCode" not in value:
        return 200, {"content-type": "application/json"}, json.dumps(value).encode(), []
    answer = cast("dict[str, Any]", value)
    body: str = answer.get("body", "")
    raw = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
    given: dict[str, str] = answer.get("headers", {})
    headers = {name.lower(): value for name, value in given.items() if name.lower() != "content-length"}
    return answer["statusCode"], {"content-type": "application/json", **headers}, raw, answer.get("cookies", [])
