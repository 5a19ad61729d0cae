"""A Worker's `fetch` to ASGI and back, with as few crossings between JavaScript and Python as can be.

An answer in one piece becomes a `Response` with that body; an event stream, or a body whose first part says that more
follows, becomes a `Response` over a stream while the app runs on. It knows no MCP.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import js
from pyodide.ffi import JsException, jsnull, to_js
from starlette.types import ASGIApp, Message

from mcp_edge.errors import ConfigurationError
from mcp_edge.hosts.cloudflare import budget

logger = logging.getLogger(__name__)

_BODILESS = frozenset({101, 103, 204, 205, 304})
_EVENTS = b"text/event-stream"
_PRIVATE = frozenset({b"set-cookie", b"location", b"mcp-session-id"})
_AHEAD = 16
"""Parts that may wait for a reader. A reader that lets more wait stalls the app."""
Header = tuple[bytes, bytes]
_Task: Any = asyncio.Task
"""CPython's task, started eagerly. Pyodide's own tasks and futures cost two extra turns of the event loop, each a round
trip through JavaScript."""


def serve(app_at: Callable[[str], ASGIApp], request: Any, ctx: Any) -> asyncio.Future[Any]:
    """The JavaScript `Response` to a `workers.Request` from the app at its origin.

    The response is ready as soon as its head is known. `ctx` keeps the isolate until the app has ended. After a client
    has left its stream, the app has about 30 seconds to end.
    """
    call = _Call(request.js_object, ctx)
    call.task = _Task(call.run(app_at), loop=asyncio.get_running_loop(), eager_start=True)
    return call.response


class _Call:
    """One request."""

    def __init__(self, request: Any, ctx: Any) -> None:
        self.response: asyncio.Future[Any] = asyncio.Future(loop=asyncio.get_running_loop())
        self.task: asyncio.Task[None] | None = None
        self._request = request
        self._ctx = ctx
        self._status = 200
        self._headers: Sequence[Header] = ()
        self._given: dict[str, str] = {}
        self._read = False
        self._reader: Any = None
        self._stream: _Stream | None = None

    async def run(self, app_at: Callable[[str], ASGIApp]) -> None:
        """Run the app to its end; what it raises is logged, for nobody waits for this task."""
        budget.begin()
        try:
            scope = self._scope()
            await app_at(f"{scope['scheme']}://{scope['server'][0]}")(scope, self._receive, self._send)
        except ConfigurationError as e:
            logger.error("this Worker is not configured: %s", e)  # noqa: TRY400 # no bug, so no traceback
        except Exception:
            logger.exception("a request failed")
        if self._stream is not None:
            self._stream.close()
        elif not self.response.done():
            self._status, self._headers = 500, ()
            self._answer(b'{"error":"The server failed; its log says why."}')

    def _scope(self) -> dict[str, Any]:
        request = self._request
        scheme, _, rest = request.url.partition("://")
        authority, slash, target = rest.partition("/")
        path, _, query = target.partition("?")
        self._given = js.Object.fromEntries(request.headers).to_py()
        address = self._given.get("cf-connecting-ip")  # Cloudflare's own: it overwrites what a client sends
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": scheme,
            "server": (authority, None),
            "client": (address, 0) if address else None,
            "path": unquote(slash + path) if "%" in path else slash + path,
            "raw_path": (slash + path).encode(),
            "query_string": query.encode(),
            # The platform decodes them as UTF-8, so these are the bytes that were sent; what was no UTF-8 is U+FFFD.
            "headers": [(name.encode(), value.encode("utf-8", "surrogatepass")) for name, value in self._given.items()],
        }

    # -- receive -----------------------------------------------------------------------------------------------------

    async def _receive(self) -> Message:
        """The body, then the client's leaving.

        A body of declared length comes in one piece, any other part by part, so that its limit can be kept.
        """
        if self._read:
            await asyncio.wait({self.response})
            if self._stream is not None:
                await asyncio.wait({self._stream.gone})
            return {"type": "http.disconnect"}
        try:
            if self._reader is None and "content-length" in self._given:
                self._read = True
                return {"type": "http.request", "body": (await self._request.arrayBuffer()).to_bytes()}
            return await self._part()
        except JsException:
            self._read = True
            return {"type": "http.disconnect"}

    async def _part(self) -> Message:
        if self._reader is None:
            body = self._request.body
            if body is None or body is jsnull:
                self._read = True
                return {"type": "http.request", "body": b""}
            self._reader = body.getReader()
        part = await self._reader.read()
        self._read = part.done
        return {"type": "http.request", "body": b"" if part.done else part.value.to_bytes(), "more_body": not part.done}

    # -- send --------------------------------------------------------------------------------------------------------

    async def _send(self, message: Message) -> None:
        """Take the head, then the body.

        Raises:
            OSError: nobody reads it any more.
        """
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], message["headers"]
            if any(name == b"content-type" and value.startswith(_EVENTS) for name, value in self._headers):
                self._begin()  # now, not at the first event: the client waits for the head
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._stream is None:
            if not more:
                self._answer(body)
                return
            self._begin()
        stream = self._stream
        assert stream is not None
        if body:
            await stream.send(body)
        if not more:
            stream.close()

    def _answer(self, body: bytes) -> None:
        """Answer in one piece. Text crosses as it is; bytes would be copied twice."""
        content = None if self._status in _BODILESS else body.decode()
        self.response.set_result(js.Response.new(content, _init(self._status, tuple(self._headers))))

    def _begin(self) -> None:
        """Answer with a stream."""
        self._stream = _Stream()
        init = _init(self._status, tuple(self._headers))
        self.response.set_result(js.Response.new(self._stream.readable, init))
        self._ctx.waitUntil(self.task)


class _Stream:
    """A `ReadableStream` whose source calls back here.

    No promise of JavaScript is awaited: a stream rejects with whatever reason its reader gave, and Python cannot raise
    an `undefined`.
    """

    def __init__(self) -> None:
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the reader has left."""
        self._wanted: asyncio.Future[None] | None = None
        self._controller: Any = None
        source = {"start": self.start, "pull": self.pull, "cancel": self.cancel}
        self.readable = js.ReadableStream.new(
            to_js(source, dict_converter=_object), to_js({"highWaterMark": _AHEAD}, dict_converter=_object)
        )

    def start(self, controller: Any) -> None:
        """The platform gives the stream's other end."""
        self._controller = controller

    def pull(self, _: Any) -> None:
        """The platform wants more."""
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    def cancel(self, _: Any = None) -> None:
        """The platform has lost the reader."""
        self._controller = None
        if not self.gone.done():
            self.gone.set_result(None)

    async def send(self, body: bytes) -> None:
        """Pass `body` on, and wait while more than a few parts wait for the reader.

        Raises:
            OSError: the reader has left.
        """
        if self._controller is None:
            raise OSError("the client has left")
        self._controller.enqueue(to_js(body))
        if self._controller.desiredSize <= 0:
            self._wanted = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._wanted, self.gone}, return_when=asyncio.FIRST_COMPLETED)

    def close(self) -> None:
        """Let the reader come to the end. Idempotent."""
        if self._controller is not None:
            self._controller.close()
            self._controller = None


def _object(entries: Any) -> Any:
    return js.Object.fromEntries(entries)


def _init(status: int, headers: tuple[Header, ...]) -> Any:
    """The second argument of `Response`. What is for one client alone, such as a cookie or a code, is not kept."""
    alone = not _PRIVATE.isdisjoint(name for name, _ in headers)
    return _made(status, headers) if alone else _shared(status, headers)


@lru_cache(128)
def _shared(status: int, headers: tuple[Header, ...]) -> Any:
    """One object for all answers with this head.

    Most answers share one, because their length is left to the platform.
    """
    return _made(status, headers)


def _made(status: int, headers: tuple[Header, ...]) -> Any:
    fields = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in headers if n != b"content-length"]
    return to_js({"status": status, "headers": fields}, dict_converter=_object)
