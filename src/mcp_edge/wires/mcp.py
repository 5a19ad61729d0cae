"""/mcp: guard, authenticate, choose the wire. It decides nothing else."""

from __future__ import annotations

from mcp_edge.calls.core import Core
from mcp_edge.errors import EdgeError, MethodNotAllowed
from mcp_edge.protocol import bounds, guards, jsonrpc
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.revisions import MODERN
from mcp_edge.user import User
from mcp_edge.wires import handshake, modern

_ALLOW = {"allow": "GET, POST, DELETE, OPTIONS"}


async def serve(core: Core, request: Request, user: User) -> None:
    """Answer a request whose host, origin and user are known.

    Raises:
        EdgeError: for the app to answer.
    """
    if request.method == "POST":
        guards.check_post(request)
        message = bounds.parse(await request.body(core.platform.settings.max_body_bytes))
        wire = modern if modern.claims(request, message) else handshake
        try:
            bounds.check(message, request.size)
            await wire.post(core, request, user, message)
        except EdgeError as e:
            request_id = jsonrpc.member(message, "id")
            e.request_id = request_id if jsonrpc.is_id(request_id) else None
            raise
    elif request.raw.get(b"mcp-protocol-version") == modern.VERSION:
        raise MethodNotAllowed(f"Revision {MODERN.version} has POST only.", headers={"allow": "POST"})
    elif request.method == "GET":
        from mcp_edge.wires import listening  # noqa: PLC0415 # not loaded by a host that only answers POSTs

        guards.check_get(request)
        await listening.get(core, request, user)
    elif request.method == "DELETE":
        await handshake.delete(core, request, user)
    else:
        raise MethodNotAllowed("/mcp answers GET, POST and DELETE.", headers=_ALLOW)
