"""The SDK's `Connection` for one request, without the event and exit stack that only a held connection uses."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import anyio
import mcp_types as t
from mcp.server.connection import Connection
from mcp.shared.dispatcher import Outbound


class Link(Connection):
    """A born-ready connection whose costly parts are made when somebody asks for them."""

    def __init__(  # pyright: ignore[reportMissingSuperCall] # the base builds what __getattr__ builds on demand
        self,
        outbound: Outbound,
        version: str,
        session_id: str | None,
        client: t.InitializeRequestParams | None,
        capabilities: t.ClientCapabilities | None,
    ) -> None:
        self.outbound = outbound
        self.protocol_version = version
        self.session_id = session_id
        self.client_capabilities = capabilities
        self.client_params = client

    def __getattr__(self, name: str) -> Any:
        """`initialized`, `exit_stack` and `state`, made at first use. Called for missing attributes only."""
        if name == "initialized":
            value: Any = anyio.Event()
            value.set()
        elif name == "exit_stack":
            value = AsyncExitStack()
        elif name == "state":
            value = {}
        else:
            raise AttributeError(name)
        setattr(self, name, value)
        return value

    async def aclose(self) -> None:
        """Run what a handler pushed on the exit stack, if any did."""
        stack: AsyncExitStack | None = self.__dict__.get("exit_stack")
        if stack is not None:
            await stack.aclose()
