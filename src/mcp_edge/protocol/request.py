"""One HTTP request over raw ASGI: its headers, its body within limits, and an answer in one piece.

It knows HTTP and nothing of MCP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.types import Receive, Scope, Send

from mcp_edge.errors import BadRequest, EdgeError, MethodNotAllowed, TooLarge
from mcp_edge.protocol import eager
from mcp_edge.protocol.client_address import client_address
from mcp_edge.protocol.signing import mint
from mcp_edge.text.ascii import digits

JSON = b"application/json"
BODY_TIMEOUT_S = 30
Header = tuple[bytes, bytes]
PRINCIPAL = "mcp-edge.principal"
"""Member of the scope: the principal of the request's user, once known. The server bounds what waits for one user."""
CLAIM = "mcp-edge.claim"
"""Member of the scope's state, where the server counts requests: a function that takes the principal of the request's
user, and returns whether the request has a place."""
TAKEN = "mcp-edge.taken"
"""Member of the scope's state, where the server can tell: a function that returns how many bytes were read."""


class Gone(EdgeError):
    """The client closed the connection before its request was whole."""


class Request:
    """An ASGI request. `raw` holds the headers, names in lower case, the last of duplicates winning."""

    __slots__ = (
        "_address_header",
        "_headers",
        "begun",
        "ended",
        "extra",
        "method",
        "pairs",
        "path",
        "query",
        "raw",
        "receive",
        "scope",
        "send",
        "size",
        "trace",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, address_header: bytes | None = None) -> None:
        """`address_header`, in small letters, is the header in which a trusted proxy states the client's address."""
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self.pairs: Sequence[Header] = scope["headers"]
        self.raw: dict[bytes, bytes] = dict(self.pairs)
        self.receive = receive
        self.send = send
        self.size = 0
        """Bytes of the body; 0 until the body is read."""
        self.extra: list[Header] = []
        """Headers of any answer to this request, such as those of CORS."""
        self.begun = self.ended = False
        """Whether the status was sent; whether the response has ended, or its reader is gone."""
        self._address_header = address_header
        self._headers: dict[str, str] | None = None
        self.trace: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers as text, for handlers. The client has written them: no identity is read from them."""
        if self._headers is None:
            self._headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in self.pairs}
        return self._headers

    def values(self, name: bytes) -> list[bytes]:
        """Every value of the header `name`, which is in small letters, in the order of the request."""
        return [value for key, value in self.pairs if key == name]

    def address(self) -> str:
        """The client's address in its canonical spelling; empty where nobody knows it."""
        return client_address(self.scope, self.pairs, self._address_header)

    def claim(self, principal: str) -> bool:
        """Tell the server whose request this is. False where the user has as many requests as one user may have."""
        claim = self.scope.get("state", {}).get(CLAIM)
        if claim is None:
            return True
        self.scope[PRINCIPAL] = principal
        return claim(principal)

    def trace_id(self) -> str:
        """The id that the log and the client get for a bug; 16 hex digits, the same each time."""
        if self.trace is None:
            self.trace = mint()[:16]
        return self.trace

    async def body(self, max_bytes: int) -> bytes:
        """The whole body.

        Raises:
            TooLarge: the body is longer than `max_bytes`. A declared length is refused before anything is read.
            BadRequest: the body did not arrive in `BODY_TIMEOUT_S` seconds.
            Gone: the client left.
        """
        declared = self.raw.get(b"content-length")
        # A number with fewer digits than the bound is below the bound.
        long = declared is not None and 10 ** min(len(declared), 19) > max_bytes
        if declared and long and digits(declared) and (len(declared) > 18 or int(declared) > max_bytes):
            raise TooLarge(f"The body is over {max_bytes} bytes.")
        # Most bodies are there already. Then the coroutine ends at its first step, and costs no timer (5 µs).
        body = eager.begin(self._whole(max_bytes))
        if isinstance(body, bytes):
            return body
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                return await body
        except TimeoutError:
            raise BadRequest("The body did not arrive in time.") from None

    async def _whole(self, max_bytes: int) -> bytes:
        body = bytearray()  # in one piece: a list of pieces of a byte each would take fifty times as much
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Gone
            chunk: bytes = message.get("body", b"")
            if len(body) + len(chunk) > max_bytes:
                raise TooLarge(f"The body is over {max_bytes} bytes.")
            if not body and not message.get("more_body"):
                self.size = len(chunk)
                return chunk
            body += chunk
            if not message.get("more_body"):
                self.size = len(body)
                return bytes(body)

    async def answer(self, status: int, body: bytes = b"", kind: bytes = JSON, headers: Sequence[Header] = ()) -> None:
        """Send a whole response: `body` with the content type `kind`, `headers` and `extra`. HEAD gets no body."""
        self.begun = self.ended = True
        fields: list[Header] = [(b"content-length", b"%d" % len(body)), *headers, *self.extra]
        if body:
            fields.append((b"content-type", kind))
        await self.send({"type": "http.response.start", "status": status, "headers": fields})
        await self.send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    def only(self, *allowed: str) -> None:
        """Refuse other HTTP methods than `allowed` (RFC 9110 §15.5.6).

        Raises:
            MethodNotAllowed: the request's method is another.
        """
        if self.method not in allowed:
            raise MethodNotAllowed(f"{self.path} answers {', '.join(allowed)}.", headers={"allow": ", ".join(allowed)})
