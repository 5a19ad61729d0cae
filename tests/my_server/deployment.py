"""A server to call: the example's tools behind the SDK's own in-process client, as some user, on either era."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel
from mcp import Client
from mcp.client.session import ElicitationFnT, LoggingFnT
from mcp.server.subscriptions import ServerEvent
from mcp_types import CallToolResult, ContentBlock, TextContent

from mcp_edge import User
from mcp_edge.platform import Platform
from mcp_edge.tools.current import CURRENT
from my_server.server import create_server

ALICE = User(issuer="test", subject="alice", name="Alice")
BOB = User(issuer="test", subject="bob", name="Bob")


@dataclass
class Call:
    """The current call, as tools see it. It keeps what they announce."""

    user: User
    platform: Platform
    events: list[ServerEvent]
    announced: anyio.Event

    async def changed(self, event: ServerEvent) -> None:
        """Keep the event. It is a write to a store, so it is a point where a cancelled call ends."""
        await anyio.lowlevel.checkpoint()
        self.events.append(event)
        self.announced.set()


@dataclass
class Edge:
    """One deployment: one store for all users."""

    platform: Platform
    mode: str
    events: list[ServerEvent] = field(default_factory=list[ServerEvent])
    announced: anyio.Event = field(default_factory=anyio.Event)

    @asynccontextmanager
    async def client(
        self, user: User = ALICE, *, answer: ElicitationFnT | None = None, log: LoggingFnT | None = None
    ) -> AsyncGenerator[Client]:
        """A client through which `user` calls; `answer` is what the user says when asked."""
        token = CURRENT.set(Call(user, self.platform, self.events, self.announced))
        try:
            async with Client(
                create_server(self.platform.settings),
                mode=self.mode,
                elicitation_callback=answer,
                logging_callback=log,
                log_level="debug" if log else None,
            ) as client:
                yield client
        finally:
            CURRENT.reset(token)


def value(result: CallToolResult) -> dict[str, Any]:
    """The structured result of a call that must have worked."""
    assert not result.is_error, text(result.content)
    assert result.structured_content is not None
    return result.structured_content


def failure(result: CallToolResult) -> str:
    """The message of a call that must have failed as the tool foresaw."""
    assert result.is_error
    return text(result.content).partition(": ")[2]


def text(content: list[ContentBlock]) -> str:
    """The text of the blocks."""
    return "".join(block.text for block in content if isinstance(block, TextContent))
