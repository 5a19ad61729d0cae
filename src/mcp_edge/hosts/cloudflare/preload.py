"""What the core and the SDK import when the first call needs it, imported with the Worker instead.

A deploy-time snapshot of the isolate's memory then holds it, and no request pays for it.
"""

from importlib import import_module

LATE = (
    "anyio._backends._asyncio",
    "anyio.to_thread",  # the Workers SDK has it run inline, if it is imported before the first request
    "mcp_edge.wires.batch",
    "mcp_edge.wires.http_sse.endpoints",
    "mcp_edge.wires.listening",
)


def preload() -> None:
    """Import them. It begins nothing and draws no random number."""
    for name in LATE:
        import_module(name)
