"""One store with instances of the app over it, and the requests that clients of each revision send to them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

from mcp_edge.app import create_app
from mcp_edge.errors import StoreUnavailable
from mcp_edge.platform import CallEvent, Platform, PollIntervals, ProcessDrain
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import MemoryAtomics, MemoryRecords
from mcp_edge.storage.ports import Entry
from tests.support.asgi import Answer, Call, Headers
from tests.support.clock import Clock
from tests.support.tool_server import HERE, Recorder, create_server

MODERN = "2026-07-28"
HANDSHAKE = ("2025-03-26", "2025-06-18", "2025-11-25")
ENVELOPE: dict[str, Any] = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}, "sampling": {}, "roots": {}},
}
BOTH = "application/json, text/event-stream"
KEYS = {"alice": "alice-key", "bob": "bob-key"}


class FlakyLink:
    """What joins an instance to the store. Cut, the instance is as good as dead: it waits for ever, until mended.

    With `refused` set the store answers at once that it cannot be reached; with `refuse_next`, once only.
    """

    def __init__(self) -> None:
        self.refused = self.refuse_next = False
        self._whole = asyncio.Event()
        self._whole.set()

    def cut(self) -> None:
        self._whole.clear()

    @property
    def is_whole(self) -> bool:
        return self._whole.is_set()

    def mend(self) -> None:
        self.refused = False
        self._whole.set()

    async def whole(self) -> None:
        await self._whole.wait()
        if self.refused or self.refuse_next:
            self.refuse_next = False
            raise StoreUnavailable("the store is away")


@dataclass
class FarRecords:
    """A `RecordStore` at the end of a link."""

    link: FlakyLink
    store: MemoryRecords

    async def get(self, key: str) -> bytes | None:
        await self.link.whole()
        return await self.store.get(key)

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        await self.link.whole()
        await self.store.put(key, value, ttl_s=ttl_s)

    async def delete(self, key: str) -> None:
        await self.link.whole()
        await self.store.delete(key)

    async def list(self, prefix: str, *, after: str = "", limit: int = 100) -> list[str]:
        await self.link.whole()
        return await self.store.list(prefix, after=after, limit=limit)

    async def sweep(self, *, limit: int = 1000) -> int:
        await self.link.whole()
        return await self.store.sweep(limit=limit)

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass
class FarAtomics:
    """An `AtomicStore` at the end of a link."""

    link: FlakyLink
    store: MemoryAtomics

    async def create(self, key: str, value: bytes, *, nonce: str, ttl_s: float | None = None) -> bool:
        await self.link.whole()
        return await self.store.create(key, value, nonce=nonce, ttl_s=ttl_s)

    async def get(self, key: str) -> Entry | None:
        await self.link.whole()
        return await self.store.get(key)

    async def swap(self, key: str, value: bytes, *, version: int, nonce: str, ttl_s: float | None = None) -> int | None:
        await self.link.whole()
        return await self.store.swap(key, value, version=version, nonce=nonce, ttl_s=ttl_s)

    async def delete(self, key: str) -> None:
        await self.link.whole()
        await self.store.delete(key)

    async def read(self, prefix: str, *, after: str = "", limit: int = 100) -> list[Entry]:
        await self.link.whole()
        return await self.store.read(prefix, after=after, limit=limit)

    async def sweep(self, *, limit: int = 1000) -> int:
        await self.link.whole()
        return await self.store.sweep(limit=limit)

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass
class RecordedTelemetry:
    """Telemetry that keeps the events."""

    events: list[CallEvent] = field(default_factory=list[CallEvent])

    def call(self, event: CallEvent) -> None:
        self.events.append(event)


class Instance:
    """One process of the deployment, as far as a test can tell."""

    def __init__(self, name: str, deployment: Deployment, settings: Settings, **platform: Any) -> None:
        self.name = name
        self.link = FlakyLink()
        self.drain = ProcessDrain()
        self.telemetry = RecordedTelemetry()
        self.platform = Platform(
            settings,
            FarRecords(self.link, deployment.records),
            FarAtomics(self.link, deployment.atomics),
            telemetry=self.telemetry,
            clock=deployment.clock,
            poll_intervals=PollIntervals(first_s=0.001, most_s=0.004),
            drain=self.drain,
            **platform,
        )
        self._recorder = deployment.recorder
        self._app = create_app(create_server, self.platform)
        self.calls: list[Call] = []

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI app; its tools know where they run."""
        HERE.set((self._recorder, self.name))
        await self._app(scope, receive, send)

    def send(
        self,
        method: str,
        path: str,
        headers: Headers = (),
        body: bytes | Sequence[bytes] = b"",
        *,
        whole: bool = True,
        host: str | None = "localhost",
    ) -> Call:
        """Begin any request at all."""
        fields = [*headers] if host is None else [("host", host), *headers]
        chunks = [body] if isinstance(body, bytes) else body
        call = Call(self.app, method, path, fields, chunks, whole=whole)
        self.calls.append(call)
        return call

    def post(self, body: Any, headers: Headers = (), path: str = "/mcp", accept: str = BOTH) -> Call:
        """POST JSON, or bytes as they are."""
        raw = body if isinstance(body, bytes) else json_of(body)
        return self.send("POST", path, [("content-type", "application/json"), ("accept", accept), *headers], raw)

    def modern(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        *,
        id: Any = 1,
        meta: dict[str, Any] | None = None,
        key: str | None = None,
        headers: Headers = (),
    ) -> Call:
        """A well-formed request of 2026-07-28."""
        params = {**(params or {}), "_meta": {**ENVELOPE, **(meta or {})}}
        name = params.get("uri" if method == "resources/read" else "name") if method in NAMED else None
        fields = [("mcp-protocol-version", MODERN), ("mcp-method", method), *headers]
        fields += [("mcp-name", name)] if isinstance(name, str) else []
        return self.post(request(method, params, id=id), [*fields, *bearer(key)])

    async def initialize(
        self, version: str = "2025-11-25", *, key: str | None = None, capabilities: dict[str, Any] | None = None
    ) -> Session:
        """Open a session."""
        able = ENVELOPE["io.modelcontextprotocol/clientCapabilities"] if capabilities is None else capabilities
        who = {"name": "tests", "version": "1"}
        params = {"protocolVersion": version, "capabilities": able, "clientInfo": who}
        answer = await self.post(request("initialize", params), bearer(key)).whole()
        assert answer.status == 200, answer
        assert answer.json["result"]["protocolVersion"] == version
        return Session(answer.headers["mcp-session-id"], version, key)

    def fail_once(self, method: str, prefix: str, part: bytes = b"", *, done: bool = False) -> asyncio.Event:
        """Fail the next call of an atomic method for a key with `prefix`, and with `part` in its value if it has one.

        With `done` it is carried out, and only its answer is lost.
        """
        atomics: Any = self.platform.atomics
        original = getattr(atomics, method)
        failed = asyncio.Event()

        async def failing(key: str, *value: bytes, **named: Any) -> Any:
            if failed.is_set() or not key.startswith(prefix) or any(part not in v for v in value):
                return await original(key, *value, **named)
            failed.set()
            if done:
                await original(key, *value, **named)
            raise StoreUnavailable("the store is away")

        setattr(atomics, method, failing)
        return failed


NAMED = ("tools/call", "prompts/get", "resources/read")


@dataclass(frozen=True)
class Session:
    """A handshake session, as its client knows it. Every request may go to another instance."""

    id: str
    version: str
    key: str | None = None

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("mcp-session-id", self.id), ("mcp-protocol-version", self.version), *bearer(self.key)]

    def post(self, at: Instance, message: Any, *, accept: str = BOTH) -> Call:
        """Send one message."""
        return at.post(message, self.headers, accept=accept)

    def request(self, at: Instance, method: str, params: dict[str, Any] | None = None, *, id: Any = 1) -> Call:
        """Send one request."""
        return self.post(at, request(method, params, id=id))

    def call(
        self, at: Instance, tool: str, arguments: dict[str, Any] | None = None, *, id: Any = 1, token: Any = None
    ) -> Call:
        """Call a tool; with `token` it may report progress."""
        params: dict[str, Any] = {"name": tool, "arguments": arguments or {}}
        if token is not None:
            params["_meta"] = {"progressToken": token}
        return self.request(at, "tools/call", params, id=id)

    def get(self, at: Instance, last_event_id: str | None = None) -> Call:
        """Open the standalone stream, or resume one."""
        fields = [*self.headers, ("accept", "text/event-stream")]
        return at.send("GET", "/mcp", fields + ([("last-event-id", last_event_id)] if last_event_id else []))

    async def answer(self, at: Instance, question: Any, result: dict[str, Any]) -> Answer:
        """Answer a server's request."""
        return await self.post(at, {"jsonrpc": "2.0", "id": question, "result": result}).whole()

    async def delete(self, at: Instance) -> Answer:
        """End the session."""
        return await at.send("DELETE", "/mcp", self.headers).whole()


class Deployment:
    """A store, a clock, and the instances over it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.records, self.atomics = MemoryRecords(self.clock), MemoryAtomics(self.clock)
        self.recorder = Recorder()
        self.instances: list[Instance] = []

    def instance(self, name: str, platform: dict[str, Any] | None = None, **settings: Any) -> Instance:
        """Start an instance."""
        given: dict[str, Any] = {"secret_keys": (SecretStr("k" * 43),), "store": "memory:", "quiet_s": 30, **settings}
        if given.get("auth") == "keys":
            given["keys"] = {user: sha256(key.encode()).hexdigest() for user, key in KEYS.items()}
        instance = Instance(name, self, Settings.model_validate(given), **(platform or {}))
        self.instances.append(instance)
        return instance

    def pair(self, **settings: Any) -> tuple[Instance, Instance]:
        """Start two instances with the same settings."""
        return self.instance("A", **settings), self.instance("B", **settings)

    async def close(self) -> None:
        """End what is still under way."""
        for instance in self.instances:
            instance.link.mend()  # what an instance gives back at the end needs the store
            for call in instance.calls:
                await call.kill()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Let everything else run until something is so."""
        async with asyncio.timeout(10):
            while not reached():
                await asyncio.sleep(0)


def json_of(message: Any) -> bytes:
    """A message as bytes."""
    return json.dumps(message).encode()


def request(method: str, params: dict[str, Any] | None = None, *, id: Any = 1) -> dict[str, Any]:
    """A JSON-RPC request."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": id, "method": method}
    return message if params is None else {**message, "params": params}


def notification(method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """A JSON-RPC notification."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    return message if params is None else {**message, "params": params}


def bearer(key: str | None) -> list[tuple[str, str]]:
    """The credential of a `keys` user."""
    return [] if key is None else [("authorization", f"Bearer {key}")]


def text(message: Any) -> str:
    """The text of a tool's result."""
    return message["result"]["content"][0]["text"]
