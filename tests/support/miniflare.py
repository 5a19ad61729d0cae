"""Miniflare's KV and D1, in a Node process of their own, as objects of the shape that bindings have on Pyodide."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx

from mcp_edge.storage.javascript import JsException
from tests.support.node import NODE_MODULES, node_command

SCRIPT = Path(__file__).with_suffix(".mjs")


@contextmanager
def miniflare() -> Generator[str]:
    """The URL of a running Miniflare."""
    assert (NODE_MODULES / "miniflare").is_dir(), "`make test` installs it"
    command = [*node_command(), str(SCRIPT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, "Miniflare did not start"
            yield url
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


class Converted:
    """A JavaScript value that stays on its side until it is asked for."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def to_py(self) -> Any:
        return self._value


class Bridge:
    """Calls to the bindings of one Miniflare. Counts them by the name of the method that is awaited."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.calls: list[str] = []

    async def ask(self, **message: Any) -> Any:
        response = await self._client.post("/", content=json.dumps(message))
        answer = response.json()
        if "error" in answer:
            raise JsException(answer["error"])
        return answer["value"]

    async def call(self, binding: str, *chain: tuple[str, tuple[Any, ...]]) -> Any:
        # Python's None is JavaScript's undefined, which JSON cannot say and D1 refuses.
        assert not any(value is None for _, values in chain for value in values)
        self.calls.append(f"{binding}.{chain[-1][0]}")
        return await self.ask(binding=binding, chain=chain)


@asynccontextmanager
async def bridge(url: str) -> AsyncGenerator[Bridge]:
    """A connection to an emptied Miniflare."""
    plain = httpx.AsyncHTTPTransport(verify=False)  # reading the certificates takes longer than most tests
    async with httpx.AsyncClient(base_url=url, timeout=60, transport=plain) as client:
        connected = Bridge(client)
        await connected.ask(reset="empty")
        yield connected


class KV:
    """The KV namespace."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def get(self, key: str, kind: str, /) -> Any:
        return await self._bridge.call("KV", ("get", (key, kind)))

    async def put(self, key: str, value: str, /, **options: float) -> Any:
        return await self._bridge.call("KV", ("put", (key, value, options)))

    async def delete(self, key: str, /) -> Any:
        return await self._bridge.call("KV", ("delete", (key,)))

    async def list(self, **options: str | int) -> Converted:
        return Converted(await self._bridge.call("KV", ("list", (options,))))


class Statement:
    """A prepared statement of D1."""

    def __init__(self, bridge: Bridge, chain: tuple[tuple[str, tuple[Any, ...]], ...]) -> None:
        self._bridge = bridge
        self._chain = chain

    def bind(self, *values: str | float) -> Statement:
        return Statement(self._bridge, (*self._chain, ("bind", values)))

    async def raw(self) -> Converted:
        return Converted(await self._bridge.call("DB", *self._chain, ("raw", ())))


class D1:
    """The D1 database."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def prepare(self, query: str, /) -> Statement:
        return Statement(self._bridge, (("prepare", (query,)),))
