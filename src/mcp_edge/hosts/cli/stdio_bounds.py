"""What a client on the standard streams may send: the bounds of the HTTP wires. It knows no tool."""

from __future__ import annotations

from collections.abc import Collection
from types import TracebackType
from typing import Any

import anyio
import mcp_types as t
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage

from mcp_edge.errors import CallerError
from mcp_edge.protocol import bounds
from mcp_edge.sdk import subscriptions

Item = SessionMessage | Exception


class WithinBounds:
    """The incoming messages, as the SDK reads them, without those that hold too much: they are answered here."""

    def __init__(self, incoming: Any, outgoing: Any) -> None:
        """Two streams of the SDK."""
        self._incoming = incoming
        self._outgoing = outgoing

    @property
    def last_context(self) -> Any:
        """The sender's context of the last message."""
        return getattr(self._incoming, "last_context", None)

    async def receive(self) -> Item:
        """The next message that is within bounds."""
        while True:
            item: Item = await self._incoming.receive()
            if isinstance(item, Exception):
                return item
            try:
                bounds.check_whole(_plain(item.message))
            except CallerError as e:
                refused = item.message
                if isinstance(refused, t.JSONRPCRequest):
                    await self._outgoing.send(_error(refused.id, e))
                elif isinstance(refused, t.JSONRPCResponse):
                    return _error(refused.id, e)  # whoever has asked is told
            else:
                return item

    async def aclose(self) -> None:
        """Read no more."""
        await self._incoming.aclose()

    def __aiter__(self) -> WithinBounds:
        return self

    async def __anext__(self) -> Item:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> WithinBounds:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()


def check_uris(uris: Collection[str]) -> None:
    """Hold the client to what an HTTP session may subscribe to.

    Raises:
        MCPError
    """
    try:
        subscriptions.check_uris(uris)
    except CallerError as e:
        raise MCPError(e.code, e.message) from None


def _plain(message: t.JSONRPCMessage) -> dict[str, Any]:
    """The members that are measured; the typed message holds the very values that were sent."""
    names = ("jsonrpc", "id", "method", "params", "result")
    plain = {name: getattr(message, name) for name in names if hasattr(message, name)}
    if isinstance(message, t.JSONRPCError):
        plain["error"] = {"data": message.error.data}
    return plain


def _error(request_id: Any, e: CallerError) -> SessionMessage:
    return SessionMessage(
        t.JSONRPCError(jsonrpc="2.0", id=request_id, error=t.ErrorData(code=e.code, message=e.message))
    )
