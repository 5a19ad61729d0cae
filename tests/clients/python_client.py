"""The official Python client on every wire, with a note of all that it is told and asked. It knows no test."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.session import ClientRequestContext, IncomingMessage
from mcp.client.sse import sse_client
from mcp_types import (
    CallToolResult,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestParams,
    ElicitResult,
    ListRootsResult,
    LoggingMessageNotificationParams,
    ProgressNotification,
    PromptListChangedNotification,
    ResourceListChangedNotification,
    ResourceUpdatedNotification,
    Root,
    TextContent,
    ToolListChangedNotification,
)
from pydantic import FileUrl

from tests.support.fleet import Fleet
from tests.support.round_robin import Exchange, RoundRobin

MODERN = "2026-07-28"
HTTP_SSE = "2024-11-05"
DEADLINE_S = 15
ANSWERS: dict[str, dict[str, str | int | float | bool | list[str] | None]] = {
    "Which city?": {"city": "Oslo"},
    "Really delete?": {"sure": True},
}
"""What the user says to each question."""


async def until(told: Callable[[], bool]) -> None:
    """Return once `told()` holds.

    Raises:
        TimeoutError: it did not within the deadline.
    """
    with anyio.fail_after(DEADLINE_S):
        while not told():
            await anyio.sleep(0.01)  # a poll under a deadline: the proxy's thread announces nothing


@dataclass(slots=True)
class Told:
    """All that the server said of its own accord."""

    progress: list[tuple[float, float | None, str | None]] = field(
        default_factory=list[tuple[float, float | None, str | None]]
    )
    logs: list[object] = field(default_factory=list[object])
    changes: list[str] = field(default_factory=list[str])
    asked: list[str] = field(default_factory=list[str])

    async def on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.progress.append((progress, total, message))

    async def on_log(self, params: LoggingMessageNotificationParams) -> None:
        self.logs.append(params.data)

    async def on_message(self, message: IncomingMessage) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            self.changes.append(str(message.params.uri))
        elif isinstance(
            message, ToolListChangedNotification | ResourceListChangedNotification | PromptListChangedNotification
        ):
            self.changes.append(message.method)
        elif isinstance(message, Exception) and not isinstance(message, ProgressNotification):
            self.changes.append(f"transport: {type(message).__name__}")

    async def on_elicit(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        self.asked.append(params.message)
        return ElicitResult(action="accept", content=ANSWERS[params.message])

    async def on_sample(self, context: ClientRequestContext, params: CreateMessageRequestParams) -> CreateMessageResult:
        self.asked.append("sampling")
        return CreateMessageResult(role="assistant", model="test", content=TextContent(text="a line"))

    async def on_roots(self, context: ClientRequestContext) -> ListRootsResult:
        self.asked.append("roots")
        return ListRootsResult(roots=[Root(uri=FileUrl("file:///srv"))])


@dataclass(slots=True)
class Peer:
    """A connected client, what it was told, and what passed through the proxy since it connected."""

    client: Client
    told: Told
    proxy: RoundRobin | None = None
    since: int = 0

    async def call(self, tool: str, **arguments: Any) -> Any:
        """The text of the tool's answer, which must not be an error."""
        return text(await self.client.call_tool(tool, arguments, progress_callback=self.told.on_progress))

    @property
    def passed(self) -> list[Exchange]:
        """The requests since this client connected."""
        assert self.proxy is not None
        return self.proxy.exchanges[self.since :]

    async def listening(self) -> None:
        """Return once the standalone stream is open (handshake wires)."""
        await until(lambda: any(seen.method == "GET" and seen.status == 200 for seen in self.passed))


def text(result: CallToolResult) -> str:
    """The one text of a successful result."""
    assert not result.is_error, result.content
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


@asynccontextmanager
async def connected(fleet: Fleet, version: str) -> AsyncGenerator[Peer]:
    """The official client on the wire of `version`; 2024-11-05 is HTTP+SSE."""
    assert fleet.proxy is not None
    since = len(fleet.proxy.exchanges)
    server = sse_client(f"{fleet.url}/sse") if version == HTTP_SSE else f"{fleet.url}/mcp"
    async with launched(server, version) as peer:
        yield Peer(peer.client, peer.told, fleet.proxy, since)


@asynccontextmanager
async def launched(server: Any, version: str, *, mode: str = "") -> AsyncGenerator[Peer]:
    """The official client over any transport, made to offer just `version`, unless `mode` lets it negotiate."""
    told = Told()
    with pytest.MonkeyPatch.context() as patch:
        # The client always offers its newest handshake version: this is how an older one speaks to the server.
        if version != MODERN and not mode:
            patch.setattr("mcp.client.session.LATEST_HANDSHAKE_VERSION", version)
        client = Client(
            server,
            mode=mode or (MODERN if version == MODERN else "legacy"),
            read_timeout_seconds=DEADLINE_S,
            elicitation_callback=told.on_elicit,
            sampling_callback=told.on_sample,
            list_roots_callback=told.on_roots,
            logging_callback=told.on_log,
            message_handler=told.on_message,
            log_level="info",
        )
        with anyio.fail_after(4 * DEADLINE_S):
            async with client:
                assert client.protocol_version == version
                yield Peer(client, told)
