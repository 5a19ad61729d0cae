"""mcp-edge: one stateless core for remote MCP servers, wrapped by each host. What a fork's tools use is here."""

from mcp_edge.auth.scopes import Scope, declare_scopes, requires, requires_no_scope
from mcp_edge.tools.current import UserState, changes_bus, current_user, http, http_public, state
from mcp_edge.tools.upstream import Upstream, connected, upstream
from mcp_edge.user import User

__all__ = [
    "Scope",
    "Upstream",
    "User",
    "UserState",
    "changes_bus",
    "connected",
    "current_user",
    "declare_scopes",
    "http",
    "http_public",
    "requires",
    "requires_no_scope",
    "state",
    "upstream",
]
