"""Besides `sdk/`, each package imports the parts of the SDK that are listed here, and no others."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.support.root import ROOT

SOURCE = ROOT / "src/mcp_edge"

EVERYWHERE = {"mcp_types", "mcp.server.mcpserver", "mcp.shared.exceptions"}
"""What a server's author imports, too: the protocol's types, `MCPServer`, the errors."""

BESIDES: dict[str, set[str]] = {
    "auth": {"mcp.shared.uri_template"},
    "calls": {"mcp.server.context", "mcp.server.request_state", "mcp.shared.inbound", "mcp_types.methods"},
    "records": {"mcp.shared.subscriptions"},
    "tools": {"mcp.server.subscriptions"},
    "wires": {"mcp.shared.inbound"},
    # stdio is served by the SDK's own loop, which wants the SDK's own parts.
    "hosts": {
        "mcp.server.context", "mcp.server.lowlevel.server", "mcp.server.session", "mcp.server.stdio",
        "mcp.server.subscriptions", "mcp.shared.message", "mcp.shared.subscriptions",
    },
}  # fmt: skip
"""Package -> what its modules import besides."""


def test_a_package_besides_sdk_imports_only_what_is_listed_for_it() -> None:
    found: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        package = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        imported = set(imports(ast.parse(path.read_text()))) - EVERYWHERE
        if imported and package != "sdk":
            found.setdefault(package, set()).update(imported)

    assert found == BESIDES


def test_nothing_private_is_imported() -> None:
    private = {
        (path.name, name)
        for path in SOURCE.rglob("*.py")
        for name in imports(ast.parse(path.read_text()))
        if any(part.startswith("_") for part in name.split("."))
    }

    assert private == set()


def imports(tree: ast.AST) -> Iterator[str]:
    """The modules of the SDK that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            if node.module in ("mcp", "mcp_types", "mcp.server", "mcp.shared"):
                names = [f"{node.module}.{alias.name}" if alias.name.islower() else node.module for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] in ("mcp", "mcp_types"))
