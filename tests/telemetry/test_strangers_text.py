"""What strangers wrote stays in its place in the log: no further field, no further line, no more than its bound."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import shlex
import subprocess
import sys
import traceback
from typing import Any

import pytest

from mcp_edge.audit import decided
from mcp_edge.platform import CallEvent
from mcp_edge.telemetry.call_lines import Format, LineFormatter, LineSink
from mcp_edge.text.log_text import quoted
from tests.telemetry.test_lines import FIELDS

FAKE = "2026-07-28T12:00:00.250Z info    mcp_edge.audit: what=token outcome=allowed user=000000000000"
HOSTILE = [
    "x/1 session=deadbeef request=1 user=admin",
    "x session=deadbeef",
    "session=deadbeef",
    "=",
    "a=b",
    "'",
    '"',
    "'\"",
    "' session=deadbeef '",
    '" session=deadbeef "',
    "'\" session=deadbeef \"'",
    "\\' session=deadbeef '\\\"",
    "x\\",
    "x\\' \"",
    "x\\\\' \\\" y",
    f"x\n{FAKE}",
    f"x\r\n{FAKE}",
    f"x\r{FAKE}",
    f"x\x85{FAKE}",
    f"x\u2028{FAKE}",
    f"x\u2029{FAKE}",
    f"x\x0b{FAKE}",
    f"x\x0c{FAKE}",
    f"x\x1c{FAKE}",
    "x\tsession=deadbeef",
    "x\xa0session=deadbeef",
    "x\u3000session=deadbeef",
    "\x1b[2J\x1b[1A",
    "\x9b2J",
    "\u202euser=admin\u2066",
    "\u200b\ufeff",
    "\ud800",
    "\x00",
    "é",
]
WORD = re.compile(r"""(\w+)=('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\S*)""")


def _call(**changes: Any) -> CallEvent:
    return CallEvent(**{**FIELDS, **changes})


def _lines(form: Format, event: CallEvent) -> list[str]:
    out = io.BytesIO()
    LineSink(out, form).call(event)
    return out.getvalue().decode().splitlines()


def words(line: str) -> dict[str, str]:
    """The named fields of a line of text, read as Python writes them."""
    found: dict[str, str] = {}
    rest = line[line.index("user=") :] + " "
    while rest:
        word = WORD.match(rest)
        assert word is not None, rest
        assert rest[word.end()] == " "
        name, value = word.groups()
        assert name not in found
        found[name] = ast.literal_eval(value) if value[:1] in ("'", '"') else value
        rest = rest[word.end() + 1 :]
    return found


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("field", ["user", "client", "request_id", "session"])
def test_a_named_field_of_a_call_writes_no_other(field: str, text: str) -> None:
    (line,) = _lines("text", _call(**{field: text}))
    assert line.isprintable()
    expected = {"user": "alice", "client": "inspector/2.12.0", "session": "0123456789ab", "request": "7"}
    assert words(line) == {**expected, field.removesuffix("_id"): text}
    # A shell's reader finds the same words, though it knows no \x1b or \u2028.
    names = [word.partition("=")[0] for word in shlex.split(line[line.index("user=") :])]
    assert names == ["user", "client", "session", "request"]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("field", ["method", "name", "wire", "status"])
def test_an_unnamed_field_of_a_call_looks_like_no_named_one(field: str, text: str) -> None:
    (line,) = _lines("text", _call(**{field: text}))
    assert line.isprintable()
    assert len(shlex.split(line)) == len(shlex.split(_lines("text", _call())[0]))
    named = [word for word in shlex.split(line) if re.match(r"(user|client|session|request)=", word)]
    if not re.match(r"(user|client|session|request)=", text):
        assert [word.partition("=")[0] for word in named] == ["user", "client", "session", "request"]
    else:
        assert f"'{text}'" in line


@pytest.mark.parametrize("text", HOSTILE)
def test_the_json_of_a_call_is_one_line_of_ascii(text: str) -> None:
    fields = {name: text if isinstance(value, str) else value for name, value in FIELDS.items()}
    (line,) = _lines("json", _call(**fields))
    assert line.isascii()
    assert json.loads(line)["client"] == text


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_field_of_a_call_is_longer_than_its_bound(form: Any) -> None:
    fields = {name: "é" * 60_000 if isinstance(value, str) else value for name, value in FIELDS.items()}
    (line,) = _lines(form, _call(**fields, app="x" * 60_000))
    assert len(line) < 15_000
    assert ("\\u2026" if form == "json" else "…") in line


@pytest.mark.parametrize("text", HOSTILE)
def test_a_decision_is_one_line_of_its_own_members(text: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mcp_edge.audit"):
        decided(text, "refused", client=text, address=text, reason=text)
    (record,) = caplog.records
    said = LineFormatter("text").format(record)
    assert said.isprintable()
    assert [w.partition("=")[0] for w in shlex.split(said)[3:]] == ["what", "outcome", "client", "address", "reason"]
    body = json.loads(LineFormatter("json").format(record))
    assert (body["event"], body["what"], body["client"], body["reason"]) == ("decision", text, text, text)


@pytest.mark.parametrize("text", ["alice", "https://app.test/a-b?c=d", "inspector/2.12.0", "äöü"])
def test_what_needs_no_quotes_has_none(text: str) -> None:
    assert quoted(text) == text


def record(message: str, error: BaseException | None = None, name: str = "my_server", **more: Any) -> logging.LogRecord:
    info = None
    if error is not None:
        try:
            raise error
        except BaseException:  # noqa: BLE001
            info = sys.exc_info()
    made = logging.LogRecord(name, logging.ERROR, __file__, 1, "%s", (message,), info)
    made.__dict__.update(more)
    return made


def _noted() -> ValueError:
    error = ValueError("why")
    error.add_note(f"note\n{FAKE}")
    return error


ERRORS = [ValueError(text) for text in HOSTILE] + [
    _noted(),
    ExceptionGroup(f"g\n{FAKE}", [ValueError(f"x\n{FAKE}")]),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, FAKE),
    KeyError(f"x\n{FAKE}"),
]


@pytest.mark.parametrize("error", ERRORS, ids=range(len(ERRORS)))
def test_no_line_of_a_traceback_passes_for_a_line_of_the_log(error: Exception) -> None:
    first, *rest = LineFormatter("text").format(record("failed", error)).splitlines()
    assert first.endswith("error   my_server: failed")
    assert rest[0].endswith("Traceback (most recent call last):")
    assert all(line.startswith("  | ") and line.isprintable() for line in rest)
    assert any(type(error).__name__ in line for line in rest)
    line = LineFormatter("json").format(record("failed", error))
    assert len(line.splitlines()) == 1
    assert "Traceback (most recent call last):" in json.loads(line)["traceback"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_message_and_the_name_of_its_logger_are_one_line(text: str) -> None:
    said = LineFormatter("text").format(record(text, name=f"my_server.{text}"))
    assert said.isprintable()
    name = re.match(r"""\S+ error   ('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^ '"\\]+): """, said)
    assert name is not None
    assert (ast.literal_eval(name[1]) if name[1][0] in "'\"" else name[1]) == f"my_server.{text}"
    body = json.loads(LineFormatter("json").format(record(text, name=f"my_server.{text}")))
    assert (body["event"], body["message"]) == ("log", text.strip())


def test_a_record_of_a_tools_own_makes_no_decision_and_no_other_members() -> None:
    forged = {"event": "decision", "what": "token", "outcome": "allowed", "time": "never"}
    for fields in (forged, "text", 5, [object()]):
        body = json.loads(LineFormatter("json").format(record("said", fields=fields, user="admin")))
        assert body.keys() == {"time", "level", "event", "logger", "message"}
        assert body["event"] == "log"


def test_long_messages_and_tracebacks_are_cut_and_keep_their_ends() -> None:
    error = ValueError("begin " + "x" * 4_000_000 + " end")
    for form in ("text", "json"):
        said = LineFormatter(form).format(record("m" * 4_000_000, error))  # type: ignore[arg-type]
        assert len(said) < 40_000
        assert "test_strangers_text.py" in said
        assert " end" in said
    short = record("failed", ValueError("why"))
    assert json.loads(LineFormatter("json").format(short))["traceback"] == "".join(
        traceback.format_exception(short.exc_info[1])  # type: ignore[index]
    ).rstrip("\n")


POWERTOOLS = """
import json, logging, sys
from mcp_edge.platform import CallEvent
from mcp_edge.telemetry.powertools import PowertoolsSink
from mcp_edge.audit import decided

sink = PowertoolsSink({})
for text in json.loads(sys.stdin.read()):
    sink.call(CallEvent("2025-11-25", text, text, "ok", 1.0, text, text, text, text, text))
    decided(text, "refused", client=text, address=text, reason=text)
    logging.getLogger("my_server").warning("%s", text)
    logging.getLogger("my_server").warning(text)
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("my_server").exception("failed", extra={"own": [text], "other": object()})
"""


def test_powertools_writes_one_bounded_line_of_ascii_for_each() -> None:
    texts = [*HOSTILE, "x" * 4_000_000, '{"level": "INFO", "call": {"user": "admin"}}', "[" * 10_000]
    done = subprocess.run(
        [sys.executable, "-c", POWERTOOLS], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    lines = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert done.stdout.isascii()
    assert len(lines) == 6 * len(texts)
    assert max(map(len, done.stdout.split("\n"))) < 60_000
    calls = [line["call"] for line in lines if "call" in line]
    assert [call["client"] for call in calls] == [t if len(t) <= 200 else t[:199] + "…" for t in texts]
    assert all("level" in line for line in lines if "_aws" not in line)
