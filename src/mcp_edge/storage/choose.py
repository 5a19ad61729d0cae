"""From the text of `MCP_STORE` to its two stores. For wrappers and the CLI: nothing else may know an engine."""

from __future__ import annotations

import time
from collections.abc import Callable

from mcp_edge.errors import ConfigurationError
from mcp_edge.storage.ports import AtomicStore, RecordStore

KNOWN = "`sqlite:PATH`, `dynamodb:TABLE` or `memory:`"


def open_store(url: str, clock: Callable[[], float] = time.time) -> tuple[RecordStore, AtomicStore]:
    """The stores that `url` names, on which nothing has been read or written yet. `clock` gives epoch seconds.

    Raises:
        ConfigurationError: no adapter has this scheme, or the rest does not fit it.
    """
    # An adapter is imported only when it is chosen: a host need not have the engine of another.
    scheme, colon, rest = url.partition(":")
    if scheme == "sqlite" and colon:
        from mcp_edge.storage.sqlite import open_sqlite  # noqa: PLC0415 - see above

        return open_sqlite(rest, clock)
    if scheme == "dynamodb" and colon:
        try:
            from mcp_edge.storage.dynamodb import open_dynamodb  # noqa: PLC0415 - see above
        except ModuleNotFoundError as e:
            raise ConfigurationError(
                f"MCP_STORE: dynamodb needs the extra `lambda` (pip install -e '.[lambda]'): {e}"
            ) from e
        return open_dynamodb(rest, clock=clock)
    if url == "memory:":
        from mcp_edge.storage.memory import open_memory  # noqa: PLC0415 - see above

        return open_memory(clock)
    # Only the scheme is repeated: what follows it may hold a password.
    raise ConfigurationError(f"MCP_STORE: {scheme[:32]!r} names no store; use {KNOWN}")
