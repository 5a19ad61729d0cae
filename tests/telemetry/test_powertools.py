"""CloudWatch counts calls by their outcome; what a user is asked, and who left, is no error."""

from __future__ import annotations

import json
import subprocess
import sys

# In a process of its own: the sink takes over the root logger.
PROGRAM = """
import sys

from mcp_edge.platform import CallEvent
from mcp_edge.telemetry.powertools import PowertoolsSink

sink = PowertoolsSink({})
for status in sys.argv[1:]:
    sink.call(CallEvent("2025-11-25", "tools/call", "add_note", status, 1.0, "1", "", "alice", ""))
"""
OUTCOMES = {
    "ok": "ok",
    "tool_error": "tool_error",
    "cancelled": "cancelled",
    "gone": "cancelled",
    "ended": "cancelled",
    "lost": "cancelled",
    "suspended": "suspended",
    "interrupted": "interrupted",
    "-32602": "error",
    "-32603": "error",
}


def test_each_status_of_a_call_is_counted_as_its_outcome() -> None:
    said = subprocess.check_output([sys.executable, "-c", PROGRAM, *OUTCOMES], text=True)
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["outcome"] for line in lines if "_aws" in line] == list(OUTCOMES.values())
    assert [line["call"]["status"] for line in lines if line.get("message") == "call"] == list(OUTCOMES)
