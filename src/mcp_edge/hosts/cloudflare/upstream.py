"""httpx over the Worker's `fetch`: there are no sockets for upstream calls. One client may serve all requests."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import js
from pyodide.ffi import JsException, jsnull, to_js

from mcp_edge.hosts.cloudflare import budget
from mcp_edge.outbound import http_client, public_http
from mcp_edge.outbound.answer_body import MAX_BYTES

_ITS_OWN = frozenset({"host", "content-length", "connection", "accept-encoding"})
"""What `fetch` itself decides: it asks for the encodings that it can decode, and httpx for others."""
_DECODED = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""What no longer holds once `fetch` has decoded the body."""


class FetchTransport(httpx.AsyncBaseTransport):
    """A request is one `fetch`; its body and its answer are held in memory. Redirects and cookies are httpx's.

    An answer is read no further than a part beyond what its request allows (`answer_body.bound`, which then refuses
    it), however it was compressed: `fetch` decodes it part by part.
    """

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
            "headers": [(k, v) for k, v in request.headers.multi_items() if k not in _ITS_OWN],
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
                content = await _content(answer, request.extensions.get("max_bytes", MAX_BYTES))
        except TimeoutError as e:
            raise httpx.ReadTimeout(f"no answer in {timeout_s} s", request=request) from e
        except JsException as e:
            raise httpx.ConnectError(str(e), request=request) from e
        finally:
            abort.abort()  # after an answer this does nothing
        headers = [(k, v) for k, v in js.Array.from_(answer.headers).to_py() if k not in _DECODED]
        return httpx.Response(answer.status, headers=headers, content=content, request=request)


async def _content(answer: Any, max_bytes: int) -> bytes:
    content = bytearray()
    if answer.body is None or answer.body is jsnull:
        return b""
    reader = answer.body.getReader()
    while len(content) <= max_bytes and not (part := await reader.read()).done:
        content += part.value.to_bytes()
    return bytes(content)  # what is left is dropped by the abort that follows


def client() -> httpx.AsyncClient:
    """A client that needs no closing."""
    return http_client.client(FetchTransport(), trust_env=False)


def public_client() -> httpx.AsyncClient:
    """A client for URLs that strangers name. `fetch` resolves by itself and reaches the public internet alone."""
    return public_http.client(FetchTransport(), None)
