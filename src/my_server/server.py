"""The server: its name, what it tells a model, and which tools it has. A new tool is a new file and one line here."""

from mcp.server import MCPServer

import mcp_edge
from mcp_edge import Scope
from mcp_edge.settings import Settings
from my_server.tools import import_notes, note_resources, notes, organizations, whoami

INSTRUCTIONS = """\
Keeps short notes for each user. Search before adding, so that a note is not written twice; the full text of a note is \
also the resource notes://{id}. Deleting asks the user first."""

SCOPES = (
    Scope("notes:read", "read your notes", read_only=True),
    Scope("notes:write", "write and delete your notes", implies=("notes:read",)),
    Scope("organizations:read", "see which organizations you are a member of", read_only=True),
)
"""What a user may allow a client. Each tool says which of them it needs, next to its name."""


def create_server(settings: Settings) -> MCPServer:
    """The server, made once per process when the first request needs it.

    `settings` is for tools that are offered only where an option says so; these are offered everywhere.
    """
    del settings
    server = MCPServer(
        name="my-server",
        title="My server",
        version="0.1.0",
        instructions=INSTRUCTIONS,
        subscriptions=mcp_edge.changes_bus(),
        # Each call is logged once, without its contents; the SDK's own lines at INFO would quote the tools' errors.
        log_level="WARNING",
    )
    mcp_edge.declare_scopes(server, *SCOPES, prompts={"summarize_notes": ("notes:read",)})
    whoami.register(server)
    notes.register(server)
    note_resources.register(server)
    import_notes.register(server)
    organizations.register(server)
    return server
