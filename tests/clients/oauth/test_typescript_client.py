"""The official TypeScript SDKs, versions 1 and 2, authorized by a person in a real browser, on each of their wires.

Their scripts in `ts/` print one JSON object per step.
"""

from __future__ import annotations

import json
import subprocess
from collections import deque
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.text import TextReceiveStream

from tests.clients.oauth.person import Person
from tests.support.fleet import Fleet
from tests.support.node import node_command, node_env

pytestmark = pytest.mark.anyio

SCRIPTS = Path(__file__).with_name("ts")
DEADLINE_S = 60
Step = dict[str, Any]


async def run_script(fleet: Fleet, person: Person, script: str, wire: str, *more: str) -> list[Step]:
    """The steps that the script printed, while the person does what they ask for."""
    steps: list[Step] = []
    other: deque[str] = deque(maxlen=50)
    command = [*node_command(), str(SCRIPTS / script), fleet.url, wire, *more]
    with anyio.fail_after(DEADLINE_S):
        async with await anyio.open_process(command, env=node_env(), stderr=subprocess.STDOUT) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            rest = ""
            async for chunk in TextReceiveStream(process.stdout):
                *lines, rest = (rest + chunk).split("\n")
                for line in lines:
                    if not line.startswith('{"step":'):
                        other.append(line)
                        continue
                    step = json.loads(line)
                    steps.append(step)
                    if step["step"] == "authorize":
                        await person.allow(step.pop("url"))
                    elif step["step"] == "person":
                        await person.revoke("Scribe")
                        await process.stdin.send(b"\n")
    assert process.returncode == 0, f"after {steps[-1:]}: " + "\n".join(other)
    return steps


@pytest.mark.parametrize(
    ("script", "wire"),
    [("v1.mjs", "http"), ("v2.mjs", "http"), ("v2.mjs", "modern"), ("v1.mjs", "sse"), ("v2.mjs", "sse")],
)
async def test_it_is_authorized_and_refreshed_and_asks_for_more_and_once_more_after_its_user_took_it_back(
    fleet: Fleet, person: Person, script: str, wire: str
) -> None:
    resource = fleet.url + ("/sse" if wire == "sse" else "/mcp")
    baseline, everything = "page:read page:write", "page:erase page:read page:write"
    asked = {"step": "authorize", "scope": baseline, "resource": resource}
    more: list[Step] = [
        {"step": "authorize", "scope": everything, "resource": resource},
        {"step": "stepped", "answer": "erased", "scope": everything},
    ]
    assert await run_script(fleet, person, script, wire) == [
        asked,
        {"step": "called", "answer": person.name, "scope": baseline},
        {"step": "refreshed", "answer": "blank", "renewed": True},
        *([] if wire == "sse" else more),
        {"step": "person", "does": "revoke"},
        asked,
        {"step": "again", "answer": person.name},
    ]


@pytest.mark.parametrize(("script", "wire"), [("v1.mjs", "http"), ("v2.mjs", "modern")])
async def test_with_a_document_of_its_own_it_registers_nowhere(
    fleet: Fleet, person: Person, script: str, wire: str, document: str
) -> None:
    assert fleet.proxy is not None
    since = len(fleet.proxy.exchanges)
    steps = await run_script(fleet, person, script, wire, document)
    assert steps[-1] == {"step": "again", "answer": person.name}
    assert "/register" not in [seen.path for seen in fleet.proxy.exchanges[since:]]
