"""What worker/entry.py does beside serving the core: starting without randomness, refusing what is not configured,
sweeping, and logging at the right level."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.cloudflare.isolates import Isolates
from tests.support.http_host import HttpHost
from tests.support.root import ROOT

KEY = "key-of-ada"
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
FIELDS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def isolates() -> Iterator[Isolates]:
    """One isolate, reached through the route that Cloudflare says: no public URL is set."""
    keys = f"ada:{sha256(KEY.encode()).hexdigest()}"
    env = {"MCP_AUTH": "keys", "MCP_KEYS": keys, "MCP_PUBLIC_URL": "", "MCP_LEASE_S": 20}
    with Isolates(count=1, env=env) as running:
        yield running


def ask(url: str, body: bytes = PING, **headers: str) -> tuple[int, Any]:
    reply = HttpHost(url, streaming=True).send("POST", "/mcp", {**FIELDS, **headers}, body)
    return reply.status, json.loads(reply.whole())


def test_a_worker_that_draws_randomness_while_it_is_imported_does_not_start() -> None:
    with (
        pytest.raises(AssertionError, match="Randomness is not allowed while a Worker is starting"),
        Isolates(app="tests.hosts.cloudflare.hasty:create_server", count=1),
    ):
        pass


def test_a_worker_without_its_secret_says_so_in_its_log_alone() -> None:
    with Isolates(count=1, env={"MCP_SECRET_KEYS": ""}) as unconfigured:
        status, body = ask(unconfigured.url)
        assert (status, body) == (500, {"error": "The server failed; its log says why."})
        assert "Outside loopback MCP_SECRET_KEYS is required" in unconfigured.errors(0)


def test_a_worker_that_nobody_may_call_says_so_in_its_log_alone() -> None:
    with Isolates(count=1, env={"MCP_AUTH": "keys", "MCP_KEYS": ""}) as unconfigured:
        assert ask(unconfigured.url)[0] == 500
        assert "at least one key in MCP_KEYS" in unconfigured.errors(0)


def test_a_key_is_asked_for_and_the_name_of_the_route_is_served(isolates: Isolates) -> None:
    message = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
    assert ask(isolates.url, message)[0] == 401
    bearer = {"authorization": f"Bearer {KEY}"}
    assert ask(isolates.url, message, host="mcp.example.com", **bearer)[0] == 400  # it has come as far as the session


def test_the_url_that_the_route_says_is_https_except_on_loopback(isolates: Isolates) -> None:
    """Cloudflare serves plain HTTP too, and nobody may be led there."""
    message, bearer = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}', {"authorization": f"Bearer {KEY}"}

    def admitted(host: str, origin: str) -> bool:
        return ask(isolates.url, message, host=host, origin=origin, **bearer)[0] != 403

    assert admitted("mcp.example.com", "https://mcp.example.com")
    assert not admitted("mcp.example.com", "http://mcp.example.com")
    assert admitted("127.0.0.1:8787", "http://127.0.0.1:8787")


def test_calls_are_logged_as_information_and_warnings_as_such(isolates: Isolates) -> None:
    bearer = {"authorization": f"Bearer {KEY}"}
    client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "levels", "version": "1"}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client}).encode()
    assert ask(isolates.url, body, **bearer)[0] == 200
    lines = [json.loads(line) for line in isolates.logs(0).splitlines() if '"client":"levels/1"' in line]
    assert [(line["level"], line["method"]) for line in lines] == [("info", "initialize")]
    assert '"level":"info"' not in isolates.errors(0)


def d1(isolates: Isolates, statement: str) -> Any:
    """What D1 answers."""
    asked = json.dumps({"binding": "DB", "method": "raw", "args": [{"sql": statement, "params": []}]}).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{isolates.relay}", data=asked, timeout=30) as answer:
        return json.load(answer)["value"]


def test_the_cron_trigger_removes_all_that_has_expired_and_nothing_else(isolates: Isolates) -> None:
    isolates.control(0, "scheduled")  # there are tables now, and nothing expired in them
    kept = d1(isolates, "SELECT key FROM records UNION ALL SELECT key FROM atomics")
    numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)"
    d1(isolates, f"{numbers} INSERT INTO records (key, expires_at, value) SELECT 'old/' || i, 1, '' FROM n")
    d1(isolates, f"{numbers} INSERT INTO atomics SELECT 'old/' || i, 1, 1, 'n', '' FROM n")
    isolates.control(0, "scheduled")
    assert d1(isolates, "SELECT key FROM records UNION ALL SELECT key FROM atomics") == kept
    assert isolates.control(0, "operations")["most"] <= 50


def test_the_entry_is_short_and_reads_nothing_from_the_process() -> None:
    source = (ROOT / "worker" / "entry.py").read_text()
    assert len(source.splitlines()) <= 40
    assert "os.environ" not in source
    assert sorted(file.name for file in Path(ROOT / "worker").glob("*.py")) == ["entry.py"]
