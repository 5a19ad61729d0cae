"""httpx over the Worker's `fetch`: there are no sockets for upstream calls. One client may serve all requests."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import js
from pyodide.ffi import JsException, to_js

from mcp_edge.cloudflare import budget

_DECODED = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""What no longer holds once `fetch` has decoded the body."""


class FetchTransport(httpx.AsyncBaseTransport):
    """A request is one `fetch`; its body and its answer are held in memory. Redirects and cookies are httpx's."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request.

        Raises:
            httpx.ReadTimeout: no answer in the request's read timeout, in seconds.
            httpx.ConnectError: the network's failure, as `fetch` words it.
        """
        body = await request.aread()
        abort = js.AbortController.new()
        options: dict[str, Any] = {
            "method": request.method,
            "headers": [(k, v) for k, v in request.headers.multi_items() if k not in ("host", "content-length")],
            "redirect": "manual",
            "signal": abort.signal,
        }
        if body:
            options["body"] = to_js(body)
        timeout_s: float | None = request.extensions.get("timeout", {}).get("read")
        try:
            async with asyncio.timeout(timeout_s):
                budget.count()
                answer = await js.fetch(str(request.url), to_js(options, dict_converter=js.Object.fromEntries))
                content = (await answer.arrayBuffer()).to_bytes()
        except TimeoutError as e:
            raise httpx.ReadTimeout(f"no answer in {timeout_s} s", request=request) from e
        except JsException as e:
            raise httpx.ConnectError(str(e), request=request) from e
        finally:
            abort.abort()  # after an answer this does nothing
        headers = [(k, v) for k, v in js.Array.from_(answer.headers).to_py() if k not in _DECODED]
        return httpx.Response(answer.status, headers=headers, content=content, request=request)


def client() -> httpx.AsyncClient:
    """A client that needs no closing."""
    return httpx.AsyncClient(transport=FetchTransport(), trust_env=False)
