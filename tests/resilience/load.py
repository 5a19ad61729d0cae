"""A bounded load: clients of two users that do, side by side, everything a client can be in the middle of."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path

from mcp_edge.storage.sqlite import open_sqlite
from tests.resilience.client import VERSION, Client
from tests.resilience.modern import ModernClient
from tests.resilience.server import EFFECT
from tests.resilience.tally import Tally

MOST_WAIT_S = 10.0
USERS = ("ann", "bob")
VERSIONS = (VERSION, "2025-06-18")
"""With an event id before the first message, and without."""
IDLE = 15
"""Sessions of each user that are opened first and used again at the end only."""


class Load:
    """Clients at `port` until `stop` is set."""

    def __init__(self, port: int, keys: dict[str, str], *, may_be_cut: bool) -> None:
        self.tally = Tally()
        self.stop = asyncio.Event()
        self._port = port
        self._keys = keys
        self._may_be_cut = may_be_cut
        self._lasting: list[Client] = []

    async def run(self, disturb: Callable[[], Awaitable[None]]) -> None:
        """Open the lasting sessions, run everything until `disturb` returns, and use each lasting session once more."""
        for user in USERS:
            for _ in range(IDLE):
                await self._client(user)
        listening: list[asyncio.Task[None]] = []
        async with asyncio.TaskGroup() as group:
            for user in USERS:
                for loop in (self._echo, self._echo, self._open_and_close, self._leave_and_resume, self._modern):
                    group.create_task(loop(user))
                for tool in ("idempotent_steps", "plain_steps", "ask_first"):
                    for version in VERSIONS:
                        group.create_task(self._call(user, tool, version))
                if self._may_be_cut:  # where nothing may fail, a held question may: its process must end some day
                    group.create_task(self._call(user, "ask_held"))
                group.create_task(self._listen(user))
                listening.append(group.create_task(self._modern_client(user).listen()))
            await disturb()
            self.stop.set()
            for task in listening:
                task.cancel()
        for client in self._lasting:
            await client.call("echo")

    async def _client(self, user: str, *, lasting: bool = True, version: str = VERSION) -> Client:
        client = Client(self.tally, self._port, self._keys[user], may_be_cut=self._may_be_cut, version=version)
        await client.open()
        if lasting:
            self._lasting.append(client)
        return client

    async def _echo(self, user: str) -> None:
        client = await self._client(user)
        while not self.stop.is_set():
            await client.call("echo")
            await asyncio.sleep(random.uniform(0.02, 0.1))

    async def _call(self, user: str, tool: str, version: str = VERSION) -> None:
        client = await self._client(user, version=version)
        while not self.stop.is_set():
            await client.call(tool, again=tool == "idempotent_steps")

    async def _leave_and_resume(self, user: str) -> None:
        client = await self._client(user)
        while not self.stop.is_set():
            await client.call("idempotent_steps", again=True, leave_after=random.randint(1, 4))

    async def _open_and_close(self, user: str) -> None:
        while not self.stop.is_set():
            client = await self._client(user, lasting=False)
            await client.call("echo")
            if (status := await client.close()) not in ((204, 404) if self._may_be_cut else (204,)):
                self.tally.problems.append(f"DELETE got {status}")
            await asyncio.sleep(random.uniform(0.2, 0.6))

    async def _modern(self, user: str) -> None:
        client = self._modern_client(user)
        while not self.stop.is_set():
            for tool in ("echo", "idempotent_steps", "echo", "ask_first"):
                await client.call(tool)

    def _modern_client(self, user: str) -> ModernClient:
        return ModernClient(self.tally, self._port, self._keys[user], may_be_cut=self._may_be_cut)

    async def _listen(self, user: str) -> None:
        """A listener, and a toucher whose every change it must hear soon."""
        listener, toucher = await self._client(user), await self._client(user)
        heard: list[str] = []
        changed = asyncio.Condition()
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(listener.listen(heard, changed))
            touches = 0
            await asyncio.sleep(1)  # the first GET: what was published before it is not its business
            while not self.stop.is_set():
                await toucher.call("touch")
                touches += 1
                since = time.monotonic()
                async with changed:
                    try:
                        async with asyncio.timeout(MOST_WAIT_S):
                            while len(heard) < touches:
                                await changed.wait()
                    except TimeoutError:
                        self.tally.problems.append(f"a change was not heard: {len(heard)} of {touches}")
                self.tally.waited(since, "a change")
                self.tally.counts["changes heard"] += 1
                await asyncio.sleep(random.uniform(0.2, 1.0))
            listening.cancel()


def new_keys() -> tuple[dict[str, str], dict[str, str]]:
    """A bearer key for each user, and the environment of a server that knows them."""
    keys = {user: secrets.token_hex(32) for user in USERS}
    known = ",".join(f"{user}:{sha256(key.encode()).hexdigest()}" for user, key in keys.items())
    return keys, {"MCP_KEYS": known}


async def effects(path: Path) -> Counter[str]:
    """How often each attempt took effect, by its token, as the store of the server remembers."""
    records, atomics = open_sqlite(path)
    found: Counter[str] = Counter()
    after = ""
    while keys := await records.list("user/", after=after, limit=1000):
        after = keys[-1]
        found.update(key.split("/")[3] for key in keys if key.split("/", 2)[2].startswith(EFFECT))
    await records.aclose()
    await atomics.aclose()
    return found


def verdict(tally: Tally, marks: Counter[str]) -> str:
    """Everything that was not as it must be, one line each; empty when all was well."""
    wrong = list(tally.problems)
    wrong += [f"{token} got {count} final responses" for token, count in tally.finals.items() if count != 1]
    wrong += [f"{token} was answered and left no mark" for token in tally.answered if not marks[token]]
    wrong += [f"{t} took effect {n} times" for t, n in marks.items() if n > 1 and t not in tally.repeatable]
    if tally.longest_wait_s > MOST_WAIT_S:
        wrong.append(f"{tally.longest_of} waited {tally.longest_wait_s:.2f} s")
    return "\n".join(wrong)
