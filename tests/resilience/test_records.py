"""Two releases on one store: records of format 1 stay readable, and what another release wrote into them is kept.

`records_v1.json` is what a store held when a process was killed (`golden.py` made it). A failure after an upgrade of
the SDK alone means that calls which wait for an answer do not survive that upgrade.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcp_edge.storage.sqlite import open_sqlite
from tests.resilience.client import Attempt, Client, Refused
from tests.resilience.golden import APP, CENTURY_S, ENV, FILE
from tests.resilience.tally import Tally
from tests.support.fleet import Fleet

Written = dict[str, Any]


ADDED = {"added": {"by": "a newer release"}}
OPTIONAL = {"v", "again", "owner", "until", "asked", "requests", "state", "suspended", "deadline", "digest"}
"""What a record may lack."""


def is_record(value: str) -> bool:
    """Whether the value is a JSON object, not an entry of a stream or a plain text."""
    return value.startswith("{")


def as_written(key: str, record: dict[str, Any]) -> dict[str, Any]:
    """Leave the record alone."""
    del key
    return record


def as_a_newer_release_writes(key: str, record: dict[str, Any]) -> dict[str, Any]:
    """Add a field to the record, and one to each part that may grow."""
    if key.startswith("changes/"):
        events = [[*event, ADDED] for event in record["e"]]
        return {**record, **ADDED, "v": 2, "e": [[events[0][0], "weather", "sunny", ADDED], *events]}
    if key.startswith("session/"):
        # More than half of its life is gone, so this release writes it again.
        return {**record, **ADDED, "v": 2, "expires": time.time() + int(CENTURY_S) / 3}
    return {**record, **ADDED, "v": 2}


def as_an_older_release_writes(key: str, record: dict[str, Any]) -> dict[str, Any]:
    """Leave out what need not be there; a call that waits for an answer needs what was asked."""
    if record.get("suspended") or key.startswith("session/"):
        return {name: value for name, value in record.items() if name != "v"}
    kept = OPTIONAL - {"again"}
    return {name: value for name, value in record.items() if name not in kept}


async def load(store: Path, change: Callable[[str, dict[str, Any]], dict[str, Any]]) -> Written:
    """Fill a store with the golden records as `change` makes them; the golden file's content."""
    written: Written = json.loads(FILE.read_text())
    records, atomics = open_sqlite(store)
    for kind in ("records", "atomics"):
        for key, value in written[kind].items():
            text = json.dumps(change(key, json.loads(value))) if is_record(value) else value
            if kind == "records":
                await records.put(key, text.encode())
            else:
                assert await atomics.create(key, text.encode(), nonce=key)
    if change is as_a_newer_release_writes:
        for stream in written["streams"]:
            name = f"stream/{stream['last_event_id'].partition('.')[0]}/00000002"
            assert await atomics.create(name, b'w{"what only":"a newer release knows"}', nonce=name)
    await records.aclose()
    await atomics.aclose()
    return written


async def stored(store: Path) -> dict[str, dict[str, Any]]:
    """Every record that is a JSON object."""
    records, atomics = open_sqlite(store)
    found = {key: await records.get(key) or b"" for key in await records.list("", limit=1000)}
    found |= {entry.key: entry.value for entry in await atomics.read("", limit=1000)}
    await records.aclose()
    await atomics.aclose()
    return {key: json.loads(value) for key, value in found.items() if value.startswith(b"{")}


async def continue_everything(port: int, written: Written) -> dict[str, Any]:
    """Do on the loaded store what the client would do next; what it gets, by the call's number."""
    client = Client(Tally(), port, "none", may_be_cut=False)
    client.rejoin(written["session_id"])
    await client.call("echo")
    results: dict[str, Any] = {"changes": await missed_changes(client, written["cursor"])}

    async def go_on(stream: dict[str, Any]) -> None:
        number = stream["n"]
        attempt = Attempt(client, stream["tool"], number, f"{number}.0")
        try:
            results[number] = await attempt.go_on(stream["last_event_id"])
        except Refused as e:
            results[number] = e.data

    async with asyncio.TaskGroup() as group:
        for stream in written["streams"]:
            group.create_task(go_on(stream))
    await client.call("touch")
    assert client.tally.problems == []
    return results


async def missed_changes(client: Client, cursor: str) -> list[str]:
    """The methods of the notifications that follow `cursor`, up to the first that this release publishes anew."""
    methods: list[str] = []
    async with asyncio.timeout(10), client.request("GET", last_event_id=cursor) as response:
        async for event in response.events():
            if event.data.strip():
                methods.append(json.loads(event.data)["method"])
            if len(methods) == 2:
                break
    return methods


@pytest.mark.parametrize("change", [as_written, as_a_newer_release_writes, as_an_older_release_writes])
def test_a_session_its_streams_and_its_questions_go_on_from_records_of_format_1(
    tmp_path: Path, change: Callable[[str, dict[str, Any]], dict[str, Any]]
) -> None:
    store = tmp_path / "mcp.db"
    written = asyncio.run(load(store, change))
    with Fleet(app=APP, count=2, store=f"sqlite:{store}", env=ENV) as fleet:
        assert fleet.proxy is not None
        results = asyncio.run(continue_everything(fleet.proxy.port, written))
    assert results == {
        "changes": ["notifications/tools/list_changed", "notifications/resources/updated"],
        0: {"n": 0, "token": "0.0", "word": ""},
        1: {"interrupted": True, "method": "tools/call"},
        2: {"n": 2, "token": "2.0", "word": "word 2"},
        3: {"n": 3, "token": "3.0", "word": "word 3"},
    }


def test_what_a_newer_release_added_to_a_record_is_still_there_when_this_one_has_written_it(tmp_path: Path) -> None:
    store = tmp_path / "mcp.db"
    written = asyncio.run(load(store, as_a_newer_release_writes))
    before = asyncio.run(stored(store))
    with Fleet(app=APP, count=1, store=f"sqlite:{store}", env=ENV, proxy=True) as fleet:
        assert fleet.proxy is not None
        asyncio.run(continue_everything(fleet.proxy.port, written))
    after = asyncio.run(stored(store))
    rewritten = {key for key in before if after.get(key) != before[key]}
    assert {key.partition("/")[0] for key in rewritten} == {"changes", "session", "stream"}
    for key in rewritten:
        assert after[key]["added"] == ADDED["added"], key
        assert after[key]["v"] == 2, key
