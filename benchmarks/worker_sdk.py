"""A Worker on the SDK alone, in the way that a Worker has to: its app is made for each request.

Nothing that a request began may outlive it there, and the SDK's session manager begins a task group. The server itself
is kept. `workers.asgi` runs the app's lifespan around the request.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from mcp.server.mcpserver import MCPServer
from workers import WorkerEntrypoint, asgi  # pyright: ignore[reportAttributeAccessIssue] # not in the stub

from benchmarks.echo import create_server


@cache
def server() -> MCPServer[Any]:
    """The one server."""
    return create_server()


class PerRequest(WorkerEntrypoint):
    """What is measured."""

    async def fetch(self, request: Any) -> Any:
        """Answer one request."""
        app = server().streamable_http_app(json_response=True, stateless_http=True)
        return await asgi.fetch(app, request, self.env)
