"""mcp-remote: it opens the user's browser by itself, keeps what it got, and asks again when that is taken back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import anyio
import pytest
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.clients.oauth.person import Person
from tests.clients.python_client import DEADLINE_S, MODERN, Peer, launched
from tests.support.fleet import Fleet, free_port
from tests.support.node import bin_path, node_command, node_env

pytestmark = [
    pytest.mark.anyio,
    # What 2026-07-28 deprecates is what the older clients still use.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

HANDSHAKE = "2025-11-25"
PATHS = {"http-only": "/mcp", "sse-only": "/sse"}


@dataclass(slots=True)
class BridgeMachine:
    """The bridge's machine: its files, and a `BROWSER` that hands each link to a person."""

    folder: Path
    person: Person
    errors: TextIO
    port: int = field(default_factory=free_port)
    """Where the bridge waits for the browser."""
    links: list[str] = field(default_factory=list[str])

    async def follow(self) -> None:
        """Follow every link that the bridge opens, for ever."""
        opened = self.folder / "opened"
        opened.touch()
        command = self.folder / "browser"
        command.write_text(f'#!/bin/sh\necho "$1" >> {opened}\n')
        command.chmod(0o755)
        while True:
            for link in opened.read_text().splitlines()[len(self.links) :]:
                self.links.append(link)
                await self._waiting()  # it opens the browser before it listens, and no person is as fast
                await self.person.allow(link)
            await anyio.sleep(0.02)  # a poll: the bridge says only by the file that it opened a browser

    async def _waiting(self) -> None:
        """Return once the bridge waits for the browser."""
        with anyio.fail_after(DEADLINE_S):
            while True:
                try:
                    await (await anyio.connect_tcp("127.0.0.1", self.port)).aclose()
                except OSError:
                    await anyio.sleep(0.02)
                else:
                    return

    @asynccontextmanager
    async def bridged(self, url: str, transport: str, version: str, *more: str) -> AsyncGenerator[Peer]:
        """The official client on stdio, with the bridge as its server."""
        bridge = StdioServerParameters(
            command=node_command()[0],
            args=[bin_path("mcp-remote"), url, str(self.port), "--allow-http", "--transport", transport, *more],
            env={
                **node_env(),
                "HOME": str(self.folder),
                "MCP_REMOTE_CONFIG_DIR": str(self.folder / "config"),
                "BROWSER": str(self.folder / "browser"),
                # While it opens the browser nothing keeps it from ending by itself, and at times it does (0.15.1).
                "NODE_OPTIONS": "--import=data:text/javascript,setInterval(()=>{},1000)",
            },
        )
        async with launched(stdio_client(bridge, errlog=self.errors), version) as peer:
            yield peer


@pytest.fixture
def machine(tmp_path: Path, person: Person) -> Iterator[BridgeMachine]:
    with (tmp_path / "bridge.log").open("w") as log:
        yield BridgeMachine(tmp_path, person, log)


@pytest.mark.parametrize(
    ("transport", "version"), [("http-only", MODERN), ("http-only", HANDSHAKE), ("sse-only", HANDSHAKE)]
)
async def test_it_opens_the_browser_once_and_again_after_its_user_took_it_back(
    fleet: Fleet, machine: BridgeMachine, transport: str, version: str
) -> None:
    url = fleet.url + PATHS[transport]
    async with anyio.create_task_group() as browsing:
        browsing.start_soon(machine.follow)
        async with machine.bridged(url, transport, version) as peer:
            assert await peer.call("whoami") == machine.person.name
        async with machine.bridged(url, transport, version) as peer:
            assert await peer.call("read_page") == "blank"
            assert len(machine.links) == 1
        await machine.person.revoke("MCP CLI Proxy")
        async with machine.bridged(url, transport, version) as peer:
            assert await peer.call("whoami") == machine.person.name
            assert len(machine.links) == 2
        browsing.cancel_scope.cancel()


async def test_with_a_document_of_its_own_it_registers_nowhere(
    fleet: Fleet, machine: BridgeMachine, document: str
) -> None:
    assert fleet.proxy is not None
    since = len(fleet.proxy.exchanges)
    async with anyio.create_task_group() as browsing:
        browsing.start_soon(machine.follow)
        own = ("--client-metadata-url", document)
        async with machine.bridged(f"{fleet.url}/mcp", "http-only", HANDSHAKE, *own) as peer:
            assert await peer.call("whoami") == machine.person.name
        browsing.cancel_scope.cancel()
    assert "/register" not in [seen.path for seen in fleet.proxy.exchanges[since:]]
