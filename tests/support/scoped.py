"""A server whose tools, prompts and resources need scopes, and callers whose credentials allow some of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any

from mcp.server import CacheHint
from mcp.server.mcpserver import AcceptedElicitation, Context, Elicit, ElicitationResult, MCPServer, Resolve
from mcp_types import Completion, CompletionArgument, CompletionContext, PromptReference, ResourceTemplateReference
from pydantic import BaseModel

from mcp_edge import Scope, User, declare_scopes, requires
from mcp_edge.auth.authenticator import step_up
from mcp_edge.auth.scopes import Scopes
from mcp_edge.errors import Unauthenticated
from mcp_edge.protocol.request import Request
from mcp_edge.settings import Settings
from mcp_edge.tools.current import changes_bus
from tests.support.tool_server import gate, runs

SCOPES = (
    Scope("read", "read", read_only=True),
    Scope("write", "write", implies=("read",)),
    Scope("audit", "see who did what", read_only=True, on_demand=True),
)


class Badges:
    """An authenticator whose credential reads `user scope scope`, or `user` alone for somebody who is not restricted.

    What a credential is worth can change while it is in use, as it does with tokens that a server gave out.
    """

    def __init__(self) -> None:
        self.revoked: set[str] = set()
        self.worth: dict[str, str] = {}
        """Credential -> what it is worth from now on."""

    async def authenticate(self, request: Request) -> User:
        badge = request.raw.get(b"authorization", b"").decode().removeprefix("Bearer ")
        if not badge or badge in self.revoked:
            raise Unauthenticated("No badge.", code=-32000, headers={"www-authenticate": "Bearer"})
        subject, *scopes = self.worth.get(badge, badge).split()
        allowed = Scopes(SCOPES).closure(scopes) if scopes else None
        return User(issuer="badges", subject=subject, scopes=allowed, client=f"client of {subject}")

    def step_up(self, request: Request, needed: Collection[str]) -> Mapping[str, str]:
        headers = step_up(request, needed)
        where = ', resource_metadata="https://here.test/.well-known/x"'
        return {**headers, "www-authenticate": headers["www-authenticate"] + where}


class Name(BaseModel):
    """A form of one field."""

    name: str


def _who() -> Elicit[Name]:
    return Elicit("Who are you?", Name)


def scoped_server(settings: Settings) -> MCPServer[Any]:
    """`create_server` of every instance."""
    del settings
    public = CacheHint(ttl_ms=1000, scope="public")
    hints: Any = {"tools/list": public, "prompts/list": public, "resources/read": public}
    server: MCPServer[Any] = MCPServer("scoped", version="1.0.0", subscriptions=changes_bus(), cache_hints=hints)
    declare_scopes(server, *SCOPES, prompts={"secret": ("read",)})
    _tools(server)
    _others(server)
    return server


def _tools(server: MCPServer[Any]) -> None:
    @server.tool(structured_output=False)
    def free() -> str:
        """Needs nothing."""
        return "free"

    @server.tool(structured_output=False, meta=requires("read"))
    def look() -> str:
        """Needs a scope that another one implies."""
        return "seen"

    @server.tool(structured_output=False, meta=requires("write"))
    def change() -> str:
        """Says that it ran."""
        runs("change")
        return "changed"

    @server.tool(structured_output=False, meta=requires("write", "audit"))
    def history() -> str:
        """Needs two."""
        return "history"

    @server.tool(structured_output=False, meta=requires("write"))
    async def rename(answer: Annotated[ElicitationResult[Name], Resolve(_who)]) -> str:
        """Asks first."""
        runs("rename")
        return f"now {answer.data.name}" if isinstance(answer, AcceptedElicitation) else answer.action

    @server.tool(structured_output=False, meta=requires("read"))
    async def slow() -> str:
        """Waits at the gate."""
        runs("slow")
        await gate()
        return "done"

    @server.tool(structured_output=False)
    async def touch(uri: str, ctx: Context) -> str:
        """Says that a resource changed."""
        await ctx.notify_resource_updated(uri)
        return "touched"

    @server.tool(structured_output=False)
    async def grow() -> str:
        """Adds a tool, and puts another one in the place of `free`."""

        def grown() -> str:
            """Was not there at the start."""
            return "grown"

        server.add_tool(grown, meta=requires("write"))
        server.remove_tool("free")
        server.add_tool(free, meta=requires("write"))
        return "grew"


def _others(server: MCPServer[Any]) -> None:
    @server.resource("open://fixed", mime_type="text/plain")
    def open_fixed() -> str:
        return "open"

    @server.resource("secret://fixed", mime_type="text/plain", meta=requires("read"))
    def secret_fixed() -> str:
        return "secret"

    @server.resource("open://of/{id}", mime_type="text/plain")
    def open_of(id: str) -> str:
        return f"open {id}"

    @server.resource("secret://of/{id}", mime_type="text/plain", meta=requires("read"))
    def secret_of(id: str) -> str:
        return f"secret {id}"

    @server.prompt()
    def plain() -> str:
        """Needs nothing."""
        return "plain"

    @server.prompt()
    def secret() -> str:
        """Needs a scope."""
        return "secret"

    @server.completion()
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion | None:
        del ref, argument, context
        return Completion(values=["anna"])
