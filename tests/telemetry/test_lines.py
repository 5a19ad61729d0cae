"""One whole line per call and per record, whatever a client put into it."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mcp_edge.audit import decided
from mcp_edge.platform import CallEvent
from mcp_edge.telemetry.call_lines import Format, LineFormatter, LineSink

FIELDS: dict[str, Any] = {
    "wire": "2025-11-25",
    "method": "tools/call",
    "name": "add_note",
    "status": "ok",
    "duration_ms": 1.23456,
    "request_id": "7",
    "session": "0123456789ab",
    "user": "alice",
    "client": "inspector/2.12.0",
}
NOON = 1785240000.25


def _call(**changes: Any) -> CallEvent:
    return CallEvent(**{**FIELDS, **changes})


CALL = _call()


def _lines(form: Format, *events: CallEvent, level: str = "info") -> list[str]:
    out = io.BytesIO()
    sink = LineSink(out, form, level=level, now=lambda: NOON)
    for event in events:
        sink.call(event)
    return out.getvalue().decode().splitlines()


def test_a_call_is_one_json_object_with_all_its_fields() -> None:
    (line,) = _lines("json", CALL)
    assert json.loads(line) == {
        "time": "2026-07-28T12:00:00.250Z",
        "level": "info",
        "event": "call",
        **FIELDS,
        "duration_ms": 1.235,
    }


def test_a_call_is_one_aligned_line_of_text() -> None:
    other = _call(wire="2026-07-28", method="ping", name="", status="cancelled")
    first, second = _lines("text", CALL, other)
    assert first == (
        "2026-07-28T12:00:00.250Z info    2025-11-25 tools/call add_note          ok         1.2 ms "
        "user=alice client=inspector/2.12.0 session=0123456789ab request=7"
    )
    assert first.index(" ms user=") == second.index(" ms user=")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_client_cannot_forge_a_line(form: Format) -> None:
    forged = _call(client="x\n2026 error \x1b[2J", name="a\r\nb", request_id="\u2028", user="\x85")
    (line,) = _lines(form, forged)
    assert line.isprintable()


@pytest.mark.parametrize(
    ("status", "level"),
    [
        ("ok", "info"),
        ("tool_error", "info"),
        ("cancelled", "info"),
        ("-32602", "info"),
        ("interrupted", "warning"),
        ("-32603", "error"),
    ],
)
def test_the_level_tells_whether_the_server_is_at_fault(status: str, level: str) -> None:
    (line,) = _lines("json", _call(status=status))
    assert json.loads(line)["level"] == level


def test_calls_below_the_configured_level_are_not_written() -> None:
    lines = _lines("json", CALL, _call(status="-32603"), level="warning")
    assert [json.loads(line)["status"] for line in lines] == ["-32603"]


def test_each_line_is_one_write() -> None:
    writes: list[bytes] = []

    class Pipe:
        def write(self, data: bytes) -> None:
            writes.append(data)

    for form in ("text", "json"):
        LineSink(Pipe(), form).call(CALL)
    assert [w.count(b"\n") for w in writes] == [1, 1]
    assert all(w.endswith(b"\n") for w in writes)


def test_a_log_that_cannot_be_written_does_not_fail_the_call() -> None:
    class Broken:
        def write(self, data: bytes) -> None:
            raise BrokenPipeError

    LineSink(Broken(), "json").call(CALL)


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_lone_surrogate_does_not_lose_the_line(form: Format) -> None:
    (line,) = _lines(form, _call(name="\ud800"))
    assert "tools/call" in line


def _record(message: str, *args: object, failed: bool = False) -> logging.LogRecord:
    try:
        raise ValueError("why")
    except ValueError:
        info = sys.exc_info() if failed else None
    return logging.LogRecord("uvicorn.error", logging.WARNING, __file__, 1, message, args, info)


def test_a_log_record_becomes_a_line_of_the_same_form() -> None:
    body = json.loads(LineFormatter("json").format(_record("it took %d s\n", 5)))
    assert body.pop("time").endswith("Z")
    assert body == {"level": "warning", "event": "log", "logger": "uvicorn.error", "message": "it took 5 s"}
    text = LineFormatter("text").format(_record("it took %d s\n", 5))
    assert text.split(" ", 1)[1] == "warning uvicorn.error: it took 5 s"


DECISION = {
    "what": "tools/call delete_note",
    "outcome": "refused",
    "user": "2bd806c97f0e",
    "client": "https://app.test/client.json",
    "reason": "needs notes:write, has notes:read",
}


def test_a_decision_is_a_line_of_its_own_whose_members_can_be_searched(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mcp_edge.audit"):
        decided(
            "tools/call delete_note",
            "refused",
            principal="alice",
            client="https://app.test/client.json",
            reason="needs notes:write, has notes:read",
        )
    [record] = caplog.records
    body = json.loads(LineFormatter("json").format(record))
    assert body.pop("time").endswith("Z")
    assert body == {"level": "warning", "event": "decision", **DECISION}
    assert LineFormatter("text").format(record).split(" ", 1)[1] == (
        "warning mcp_edge.audit: what='tools/call delete_note' outcome=refused user=2bd806c97f0e"
        " client=https://app.test/client.json reason='needs notes:write, has notes:read'"
    )


@pytest.mark.parametrize(
    "said", ["x\nwhat=consent", "x\r\nwhat=consent", "x\u2028what=consent", "x what=consent", "'", "\u202ex"]
)
def test_what_a_stranger_calls_himself_stays_one_word_of_one_line(said: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mcp_edge.audit"):
        decided("authorize", "refused", client=said, reason="unknown")
        decided("authorize", "refused", client="https://app.test/a-b?c=d", reason="unknown")
    assert [record.getMessage() for record in caplog.records] == [
        f"what=authorize outcome=refused client={said!r} reason=unknown",
        "what=authorize outcome=refused client=https://app.test/a-b?c=d reason=unknown",
    ]


def test_powertools_keeps_the_members_of_a_decision(tmp_path: Path) -> None:
    code = """
from mcp_edge.telemetry.powertools import PowertoolsSink
from mcp_edge.audit import decided
PowertoolsSink({})
decided("token", "refused", principal="alice", client="c", reason="r")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    fields = {"what": "token", "outcome": "refused", "user": "2bd806c97f0e", "client": "c", "reason": "r"}
    assert json.loads(done.stdout)["fields"] == fields


def test_the_line_of_a_call_names_the_oauth_client_where_there_is_one() -> None:
    (line,) = _lines("json", _call(app="https://app.test/client.json"))
    assert json.loads(line)["app"] == "https://app.test/client.json"
    (line,) = _lines("json", _call())
    assert "app" not in json.loads(line)


def test_a_traceback_stays_inside_its_json_line() -> None:
    line = LineFormatter("json").format(_record("failed", failed=True))
    assert "\n" not in line
    assert json.loads(line)["traceback"].endswith("ValueError: why")


def test_the_sdk_and_uvicorn_log_in_our_form_and_not_per_request(tmp_path: Path) -> None:
    code = """
import logging, sys
from mcp_edge.telemetry.root_logger import configure, standard_error
configure(standard_error(), "json", "info")
from mcp.server.mcpserver import MCPServer
MCPServer("any")
logging.getLogger("mcp.server.lowlevel.server").info("processing a request")
logging.getLogger("mcp.server.lowlevel.server").error("a fault")
logging.getLogger("uvicorn.error").info("started")
print([type(h).__name__ for h in logging.getLogger().handlers])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['StreamHandler']"
    assert [json.loads(line)["message"] for line in done.stderr.splitlines()] == ["a fault", "started"]
