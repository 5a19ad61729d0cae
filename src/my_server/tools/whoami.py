"""`whoami`: what the server knows about its caller. The smallest tool: a function, a model, one `register`."""

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

import mcp_edge


class ClientView(BaseModel):
    """The client, as it describes itself. Nothing here is proven."""

    name: str
    version: str
    capabilities: list[str] = Field(description="What the client says it can do, such as `elicitation`.")


class Identity(BaseModel):
    """The caller. `issuer` and `subject` are proven by the credential; `name` is only for display."""

    name: str
    subject: str
    issuer: str
    protocol_version: str = Field(description="The MCP revision this call was made with.")
    client: ClientView | None = Field(description="Null when the client did not introduce itself.")


async def whoami(ctx: Context) -> Identity:
    """Tell which user is calling, through which client, and with which protocol version."""
    user = mcp_edge.current_user()
    return Identity(
        name=user.name,
        subject=user.subject,
        issuer=user.issuer,
        protocol_version=ctx.session.protocol_version,
        client=_client(ctx),
    )


def _client(ctx: Context) -> ClientView | None:
    introduction = ctx.session.client_params
    if introduction is None:
        return None
    info = introduction.client_info
    declared = introduction.capabilities.model_dump(by_alias=True, exclude_none=True)
    return ClientView(name=info.name, version=info.version, capabilities=sorted(declared))


def register(server: MCPServer) -> None:
    """Offer the tool."""
    server.add_tool(
        whoami,
        title="Who am I",
        annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
        meta=mcp_edge.requires_no_scope(),
    )
