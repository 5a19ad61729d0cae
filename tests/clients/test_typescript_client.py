"""The official TypeScript SDKs, version 1 and version 2, on each of their wires, before two processes.

Their scripts in `ts/` print one JSON object per step; `cut` asks for a connection to be lost.
"""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.clients.server import GREETING
from tests.support.fleet import Fleet
from tests.support.node import node_command, node_env

SCRIPTS = Path(__file__).with_name("ts")
DEADLINE_S = 60
TOOLS = [
    *("echo", "pid", "ask", "confirm", "sample", "roots", "count", "slow", "fate", "wait", "release"),
    *("drop_stream", "change", "touch"),
]
Step = dict[str, Any]


def run_script(fleet: Fleet, script: str, era: str) -> list[Step]:
    """The steps that the script printed; connections are cut when it says so."""
    assert fleet.proxy is not None
    steps: list[Step] = []
    process = subprocess.Popen(
        [*node_command(), str(SCRIPTS / script), fleet.url, era],
        env=node_env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    alarm = threading.Timer(DEADLINE_S, process.kill)
    alarm.start()
    other: list[str] = []
    with process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if not line.startswith('{"step":'):
                    other.append(line)
                    continue
                steps.append(json.loads(line))
                if steps[-1]["step"] == "cut":
                    steps[-1]["connections"] = fleet.proxy.cut(steps[-1]["method"])
        finally:
            alarm.cancel()
            process.kill()
    assert process.returncode == 0, f"after {steps[-1:]}: {''.join(other)}"
    return steps


def found() -> list[Step]:
    """The steps that no wire changes."""
    return [
        {"step": "connect", "server": "clients"},
        {
            "step": "list",
            "tools": TOOLS,
            "resources": [GREETING],
            "templates": ["clients://notes/{number}"],
            "prompts": ["greet"],
        },
        {"step": "read", "resource": "hello", "template": "note 7", "prompt": "Say hello to Ada."},
        {"step": "call", "answer": "hi"},
    ]


COUNTED: Step = {
    "step": "count",
    "answer": "3",
    "progress": [[1, "at 1"], [2, "at 2"], [3, "at 3"]],
    "logs": ["counted 1", "counted 2", "counted 3"],
}
ANSWERED: list[Step] = [
    {"step": "confirm", "answer": "delete: True"},
    {"step": "sample", "answer": "rain: a line"},
    {"step": "roots", "answer": "file:///srv"},
]
CANCELLED: Step = {"step": "cancel", "outcome": "rejected"}


@pytest.mark.parametrize("script", ["v1.mjs", "v2.mjs"])
def test_on_streamable_http_it_does_everything_and_resumes_what_it_lost(fleet: Fleet, script: str) -> None:
    assert run_script(fleet, script, "http") == [
        *found(),
        {"step": "processes", "turns": True},
        COUNTED,
        {"step": "ask", "answer": "accept Oslo"},
        *ANSWERED,
        {"step": "asked", "asked": ["Which city?", "Really delete?", "sampling", "roots"]},
        CANCELLED,
        {"step": "dropped", "answer": "resumed", "resumed": 1},
        {"step": "cut", "method": "POST", "connections": 1},
        {"step": "resumed", "pids": True, "resumed": 1},
        {"step": "changes", "processes": 2},
        {"step": "close", "standalone": [200], "ended": [204]},
    ]


def test_on_the_modern_wire_it_does_everything(fleet: Fleet) -> None:
    assert run_script(fleet, "v2.mjs", "modern") == [
        *found(),
        {"step": "processes", "turns": True},
        COUNTED,
        *ANSWERED,
        {"step": "asked", "asked": ["Really delete?", "sampling", "roots"]},
        CANCELLED,
        {"step": "changes", "processes": 2},
        {"step": "close"},
    ]


@pytest.mark.parametrize("script", ["v1.mjs", "v2.mjs"])
def test_on_http_sse_it_does_everything_and_comes_back_when_its_stream_is_lost(fleet: Fleet, script: str) -> None:
    assert run_script(fleet, script, "sse") == [
        *found(),
        COUNTED,
        {"step": "ask", "answer": "accept Oslo"},
        *ANSWERED,
        {"step": "asked", "asked": ["Which city?", "Really delete?", "sampling", "roots"]},
        CANCELLED,
        {"step": "cut", "method": "GET", "connections": 1},
        {"step": "back", "outcome": "rejected"},
        {"step": "changes", "processes": 2},
        {"step": "close"},
    ]
