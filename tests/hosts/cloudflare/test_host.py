"""What a Worker needs beside its stores, outside a Worker: `js` and `pyodide` are stood in for."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from itertools import repeat
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest

from mcp_edge import Upstream
from mcp_edge.errors import ConfigurationError, UpstreamError
from mcp_edge.outbound.answer_body import MAX_BYTES, AnswerTooLarge
from mcp_edge.platform import CallEvent

Import = Callable[[str], Any]


def same(value: Any, **_: Any) -> Any:
    """What crosses between JavaScript and Python as it is."""
    return value


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Import]]:
    """JavaScript's global object, and an import of a module that uses it, undone after the test."""
    js: Any = ModuleType("js")
    js.Object = SimpleNamespace(keys=vars)
    package = importlib.import_module("mcp_edge.hosts.cloudflare")
    ffi = SimpleNamespace(JsException=RuntimeError, jsnull=object(), to_js=same)
    stood_in = {"js": js, "pyodide": ModuleType("pyodide"), "pyodide.ffi": ffi}
    for name, module in {**stood_in, "workers": SimpleNamespace(python_to_rpc=same)}.items():
        monkeypatch.setitem(sys.modules, name, module)
    loaded: list[str] = []

    def load(name: str) -> Any:
        loaded.append(name)
        return importlib.import_module(f"mcp_edge.hosts.cloudflare.{name}")

    yield js, load
    for name in loaded:
        del sys.modules[f"mcp_edge.hosts.cloudflare.{name}"]
        delattr(package, name)


class Reader:
    """What `fetch` decodes of a body, part by part, without end."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self.taken = 0

        self.getReader = lambda: self

    async def read(self) -> Any:
        part = next(self._parts, None)
        self.taken += len(part or b"")
        return SimpleNamespace(done=part is None, value=SimpleNamespace(to_bytes=lambda: part))


def answering(js: Any, body: Reader, sent: list[Any]) -> None:
    """Let JavaScript's `fetch` give this body, and note what it was asked for."""

    async def fetch(url: str, options: dict[str, Any]) -> Any:
        sent.append((url, options["method"], dict(options["headers"])))
        return SimpleNamespace(status=200, headers=[("content-encoding", "gzip"), ("etag", "1")], body=body)

    def copied(pairs: list[Any]) -> Any:
        return SimpleNamespace(to_py=lambda: pairs)

    js.AbortController = SimpleNamespace(new=lambda: SimpleNamespace(signal=None, abort=lambda: None))
    js.Object = SimpleNamespace(fromEntries=dict)
    js.Array = SimpleNamespace(from_=copied)
    js.fetch = fetch


@pytest.mark.anyio
async def test_an_answer_that_has_no_end_is_read_no_further_than_its_request_allows(host: tuple[Any, Import]) -> None:
    js, load = host
    upstream = load("upstream")
    for client in (upstream.client(), upstream.public_client()):
        async with client:
            for max_bytes, extensions in ((5000, {"max_bytes": 5000}), (MAX_BYTES, {})):
                answering(js, body := Reader(repeat(b" " * 4096)), [])
                with pytest.raises(AnswerTooLarge, match=f"larger than {max_bytes} bytes"):
                    await client.get("https://api.example/x", extensions=extensions)
                assert body.taken <= max_bytes + 4096
    async with upstream.client() as client:
        answering(js, body := Reader(repeat(b" " * 4096)), [])
        with pytest.raises(UpstreamError, match="larger than 6000 bytes"):
            await Upstream("https://api.example", "token", client).get("/x", max_bytes=6000)
        assert body.taken == 8192


@pytest.mark.anyio
async def test_fetch_asks_for_the_encodings_that_it_can_decode(host: tuple[Any, Import]) -> None:
    """httpx would ask for deflate, which a Worker's `fetch` hands on as it is."""
    js, load = host
    sent: list[Any] = []

    answering(js, Reader(iter([b"{", b"}"])), sent)
    upstream = load("upstream")
    async with upstream.client() as client:
        answer: httpx.Response = await client.post("https://api.example/x", headers={"x-own": "1"}, json={})
    assert (answer.json(), dict(answer.headers)) == ({}, {"etag": "1", "content-length": "2"})
    ((url, method, headers),) = sent
    assert (url, method) == ("https://api.example/x", "POST")
    headers.pop("user-agent")
    assert headers == {"accept": "*/*", "content-type": "application/json", "x-own": "1"}


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_line_has_the_level_of_its_call_whatever_the_client_has_named_it(host: tuple[Any, Import], form: str) -> None:
    js, load = host
    said: list[str] = []

    def saying(name: str, line: str) -> None:
        said.append(name)

    js.console = SimpleNamespace(**{name: partial(saying, name) for name in ("debug", "log", "warn", "error")})
    console = load("console")
    sink = console.LineSink(console.Console(), form)
    named = CallEvent("error", "error/warning", "error", "", 1.0, "error", "error", "error", "error", "error")
    for status in ("ok", "error", "interrupted", "-32603"):
        sink.call(named._replace(status=status))
    assert said == ["log", "log", "warn", "error"]


def test_a_number_of_the_configuration_need_not_be_in_quotes(host: tuple[Any, Import]) -> None:
    environment = host[1]("environment")
    env = SimpleNamespace(MCP_LEASE_S=20, MCP_QUIET_S=0.5, MCP_KEYS="", MCP_AUTH="keys", OTHER="x")
    options = {"MCP_LEASE_S": "20", "MCP_QUIET_S": "0.5", "MCP_KEYS": "", "MCP_AUTH": "keys"}
    assert environment.variables(env) == {**options, "OTHER": "x"}
    assert environment.count(SimpleNamespace(SUBREQUESTS=1000), "SUBREQUESTS", 50) == 1000
    assert environment.count(SimpleNamespace(), "SUBREQUESTS", 50) == 50


@pytest.mark.parametrize("value", [["a"], {"a": "b"}, True])
def test_what_is_no_text_is_refused_rather_than_overlooked(host: tuple[Any, Import], value: Any) -> None:
    environment = host[1]("environment")
    with pytest.raises(ConfigurationError, match="MCP_ALLOWED_USERS must be text"):
        environment.variables(SimpleNamespace(MCP_ALLOWED_USERS=value))


@pytest.mark.parametrize("value", ["many", "0", "-1", "5e1", 0.5])
def test_a_budget_is_a_whole_number(host: tuple[Any, Import], value: Any) -> None:
    environment = host[1]("environment")
    with pytest.raises(ConfigurationError, match="SUBREQUESTS must be a whole number from 1"):
        environment.count(SimpleNamespace(SUBREQUESTS=value), "SUBREQUESTS", 50)


@pytest.mark.anyio
async def test_the_app_gets_the_bytes_of_a_header_that_were_sent(
    host: tuple[Any, Import], monkeypatch: pytest.MonkeyPatch
) -> None:
    """workerd reads them as UTF-8; two values that were sent as two must not become one."""
    js, load = host
    names = ["Łukasz", "Ŝukasz", "?ukasz", "Nicolà", "NicolÃ\xa0", "\u00a0Nicol", "\ufffd", "\ud800", "😀"]
    seen: list[Any] = []

    def entries(pairs: list[tuple[str, str]]) -> Any:
        return SimpleNamespace(to_py=partial(dict[str, str], pairs))

    def task(work: Coroutine[Any, Any, None], *, loop: asyncio.AbstractEventLoop, eager_start: bool) -> Any:
        """This Python may have no eager tasks."""
        del eager_start
        return loop.create_task(work)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del receive
        seen.append(scope["headers"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    def response(*parts: Any) -> Any:
        return parts

    def app_at(origin: str) -> Any:
        assert origin == "https://mcp.example"
        return app

    js.Object, js.Response = SimpleNamespace(fromEntries=entries), SimpleNamespace(new=response)
    bridge = load("bridge")
    monkeypatch.setattr(bridge, "_Task", task)
    for name in names:
        request = SimpleNamespace(url="https://mcp.example/mcp", method="POST", headers=[("x-name", name)])
        await bridge.serve(app_at, SimpleNamespace(js_object=request), None)

    assert seen == [[(b"x-name", name.encode("utf-8", "surrogatepass"))] for name in names]
