"""Makes `records_v1.json`: what a store holds in the middle of everything, as this release writes it.

`python -m tests.resilience.golden` writes the file of the current format. A file once committed stays as it is: later
releases have to read it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from mcp_edge.storage.sqlite import open_sqlite
from tests.resilience.client import VERSION, Attempt, Client
from tests.resilience.server import THING
from tests.resilience.tally import Tally
from tests.support.fleet import Fleet

APP = "tests.resilience.server:create_server"
SECRET = "the-records-of-the-tests-are-signed-with-this"
CENTURY_S = "3153600000"
ENV = {"MCP_SECRET_KEYS": SECRET, "MCP_SESSION_TTL_S": CENTURY_S, "MCP_QUESTION_TTL_S": CENTURY_S, "MCP_LEASE_S": "2"}
"""What is stored must not expire before this project does."""
FILE = Path(__file__).parent / "records_v1.json"

CALLS = ("idempotent_steps", "plain_steps", "ask_first", "ask_first")
"""Those of one session that were under way when their process was killed; the last one's question was answered."""


async def begin(client: Client, number: int) -> tuple[str, str]:
    """Call a tool and read until its first message: the event id before it, and the question's id if it asks."""
    tool = CALLS[number]
    message = Attempt(client, tool, number, f"{number}.0").message
    last = ""
    async with client.post(message) as response:
        async for event in response.events():
            if event.data.strip():
                return last, json.loads(event.data).get("id", "")
            last = event.id
    raise AssertionError(f"{tool} said nothing")


async def make(fleet: Fleet, store: Path) -> dict[str, Any]:
    """Leave a session with a call of each kind under way, and look into the store."""
    doomed, other = (Client(Tally(), port, "none", may_be_cut=False) for port in fleet.ports)
    await doomed.open()
    session_id = doomed.session_id
    other.rejoin(session_id)
    async with other.request("GET") as listener:
        async for event in listener.events():
            cursor = event.id
            break
        else:
            raise AssertionError("the listener was not primed")
    for method, params in (("logging/setLevel", {"level": "error"}), ("resources/subscribe", {"uri": THING})):
        async with other.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}) as response:
            assert response.status == 200
    await other.call("touch")
    streams: list[dict[str, Any]] = []
    question = ""
    for number, tool in enumerate(CALLS):
        last, question = await begin(doomed, number)
        streams.append({"n": number, "tool": tool, "last_event_id": last})
    await asyncio.to_thread(fleet.kill, 0)
    await other.answer(question, {"word": f"word {len(CALLS) - 1}"})
    records, atomics = open_sqlite(store)
    kept = [key for key in await records.list("", limit=1000) if not key.startswith("user/")]
    written = {
        "session_id": session_id,
        "version": VERSION,
        "cursor": cursor,
        "streams": streams,
        "records": {key: (await records.get(key) or b"").decode() for key in kept},
        "atomics": {entry.key: entry.value.decode() for entry in await atomics.read("", limit=1000)},
    }
    await records.aclose()
    await atomics.aclose()
    return written


def main(file: Path = FILE) -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "mcp.db"
        with Fleet(app=APP, count=2, store=f"sqlite:{store}", env=ENV, proxy=False) as fleet:
            written = asyncio.run(make(fleet, store))
    file.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
