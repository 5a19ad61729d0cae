"""The walks through a host to the app: the request is the shortest one, so that what is seen is the host.

Lambda's Runtime API is the emulated one. A Worker's JavaScript is stood in for by what this one request needs of it.
"""

from __future__ import annotations

import asyncio
import importlib
import secrets
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest

from mcp_edge.hosts.aws_lambda.environment import Environment
from mcp_edge.hosts.aws_lambda.runtime_api import RuntimeApi
from mcp_edge.hosts.aws_lambda.streaming import serve
from my_server.server import create_server
from tests.support.function_url import event
from tests.support.lambda_runtime import Environment as LambdaService
from tests.support.lambda_runtime import Invocation
from tests.walks.product import ROOT

HEALTH = "/healthz"
DEADLINE_S = 10.0
Go = Callable[[], Awaitable[None]]


class _Unheard:
    """Stands for the telemetry, which `/healthz` does not use."""

    def invocation(self, request_id: str) -> None:
        """Nobody hears it."""


def _variables() -> dict[str, str]:
    """What makes a server that may run outside loopback."""
    return {
        "MCP_AUTH": "keys",
        "MCP_KEYS": f"ada:{sha256(b'key-of-ada').hexdigest()}",
        "MCP_SECRET_KEYS": secrets.token_hex(32),
        "MCP_STORE": "memory:",
    }


@asynccontextmanager
async def lambda_streaming() -> AsyncGenerator[Go]:
    """One invocation through the streaming runtime loop."""
    telemetry: Any = _Unheard()
    lambda_ = LambdaService()
    api = RuntimeApi(await lambda_.listen())
    served = Environment(create_server, _variables(), telemetry, streaming=True)
    task = asyncio.create_task(serve(served, telemetry, api))

    async def go() -> None:
        await lambda_.ready(DEADLINE_S)
        invocation = Invocation(event("GET", HEALTH, {}), DEADLINE_S)
        await lambda_.invoke(invocation)
        kind, head = await invocation.parts.get()
        assert (kind, head["statusCode"]) == ("start", 200)
        while kind != "end":
            kind, _ = await invocation.parts.get()
        await lambda_.ready(DEADLINE_S)

    try:
        yield go
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        api.drop()
        await lambda_.close()


@asynccontextmanager
async def worker() -> AsyncGenerator[Go]:
    """One request through the Worker's entry."""
    with pytest.MonkeyPatch.context() as patch:
        for name, stand_in in _platform().items():
            patch.setitem(sys.modules, name, stand_in)  # pyright: ignore[reportArgumentType] # no module is made for it
        patch.setattr(sys, "path", [str(ROOT / "worker"), *sys.path])
        before = set(sys.modules)
        entry, bridge = map(importlib.import_module, ("entry", "mcp_edge.hosts.cloudflare.bridge"))
        patch.setattr(bridge, "_Task", _begun)
        env = SimpleNamespace(KV=_Namespace(), **_variables())
        request = SimpleNamespace(url=f"https://mcp.example{HEALTH}", method="GET", headers=[], body=None)

        async def go() -> None:
            status, _ = await entry.Default(None, env).fetch(SimpleNamespace(js_object=request))
            assert status == 200

        yield go
        for name in set(sys.modules) - before:
            del sys.modules[name]  # they have seen what is no platform


class _Entrypoint:
    """Stands for the class that the Workers SDK gives."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self.ctx = ctx
        self.env = env


class _Namespace:
    """Stands for a KV namespace, which `/healthz` does not use."""

    get = put = delete = list = None


def _begun(work: Coroutine[Any, Any, None], *, loop: asyncio.AbstractEventLoop, eager_start: bool) -> Any:
    """This Python may have no eager tasks."""
    del eager_start
    return loop.create_task(work)


def _platform() -> dict[str, SimpleNamespace]:
    """What a Worker imports of Pyodide and of its SDK."""

    def same(value: Any, **_: Any) -> Any:
        return value

    def entries(pairs: Any) -> Any:
        return SimpleNamespace(to_py=partial(dict[str, str], pairs))

    def response(_: Any, init: Any) -> tuple[int, Any]:
        return init["status"], init["headers"]

    ffi = SimpleNamespace(JsException=RuntimeError, jsnull=object(), to_js=same)
    return {
        "js": SimpleNamespace(
            Object=SimpleNamespace(fromEntries=entries, keys=vars), Response=SimpleNamespace(new=response)
        ),
        "pyodide": SimpleNamespace(ffi=ffi),
        "pyodide.ffi": ffi,
        "workers": SimpleNamespace(Request=object, WorkerEntrypoint=_Entrypoint, python_to_rpc=same),
    }
