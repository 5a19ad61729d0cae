"""The worst that one client can do with many bytes, connections or requests, as `worst_calls` has it for one call."""

from __future__ import annotations

import http.client
import json
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from benchmarks.wire import CLIENT, MODERN

ADDRESS = "x-client-address"
HOLD_S = 3.0
"""How long an attack that only holds what it has goes on."""
_OPEN: Mapping[str, str] = MappingProxyType({"MCP_AUTH": "none"})
_OAUTH: Mapping[str, str] = MappingProxyType(
    {"MCP_AUTH": "oauth", "MCP_CLIENT_ADDRESS_HEADER": ADDRESS, "MCP_SCOPES": ""}
)


@dataclass(frozen=True, slots=True)
class Attack:
    """What one client does to the server at a port; it returns what became of that, such as `400, 92 B`."""

    run: Callable[[int], str]
    env: Mapping[str, str] = field(default_factory=lambda: _OPEN)


def _exchanged(port: int, sent: Iterable[bytes]) -> int:
    """The status of the answer to raw bytes; 0 when there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        with suppress(OSError):  # it was answered early
            for piece in sent:
                client.sendall(piece)
        with suppress(OSError):
            said = client.recv(64)
            return int(said.split(b" ", 2)[1]) if said else 0
    return 0


def _told(statuses: Iterable[int]) -> str:
    return ", ".join(f"{count:,} x {status or 'cut off'}" for status, count in sorted(Counter(statuses).items()))


def _together(count: int, attack: Callable[[int], int]) -> str:
    """What became of `attack`, run so many times side by side; it gets its number."""
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda n=n: statuses.append(attack(n))) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _told(statuses)


def _chunked(path: str, chunk: bytes, size: int, count: int) -> Attack:
    """`count` bodies of `size` bytes, all in chunks like `chunk`."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n".encode()
    head += b"Accept: application/json, text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = chunk * (64 * 1024 // len(chunk))

    def run(port: int) -> str:
        body = [piece] * (size // len(piece))
        return _together(count, lambda _: _exchanged(port, [head, *body, b"0\r\n\r\n"]))

    return Attack(run)


def _heads(count: int, fields: int) -> Attack:
    """`count` heads of so many empty fields."""
    head = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"a:\r\n" * fields + b"\r\n"
    return Attack(lambda port: _told(_exchanged(port, [head]) for _ in range(count)))


def _call(tool: str, arguments: dict[str, Any], note: str = "") -> bytes:
    """A whole request that calls a tool of `worst_server`, with a note in its `_meta`."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": CLIENT,
        "io.modelcontextprotocol/clientCapabilities": {},
        "note": note,
    }
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nMCP-Protocol-Version: {MODERN}"
    head += f"\r\nMCP-Method: tools/call\r\nMCP-Name: {tool}\r\nAccept: application/json, text/event-stream"
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _long(count: int, seconds: float) -> Attack:
    """`count` calls with 3.9 MB each that take so many seconds: what a heartbeat writes anew counts each time."""
    request = _call("slowly", {"seconds": seconds}, "x" * 3_900_000)
    return Attack(lambda port: _together(count, lambda _: _exchanged(port, [request])))


def _unread(count: int, mib: int) -> Attack:
    """`count` clients that ask for so many answers of 1 MiB in a row, and do not read."""
    request = _call("much", {"mib": 1})

    def run(port: int) -> str:
        with ExitStack() as stack:
            for _ in range(count):
                client = stack.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", port))
                client.setblocking(False)
                with suppress(BlockingIOError):
                    client.sendall(request * mib)
            time.sleep(HOLD_S)
        return f"held for {HOLD_S:g} s"

    return Attack(run)


def _idle(count: int) -> Attack:
    """`count` connections that send nothing."""

    def run(port: int) -> str:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < count + 100:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 100), hard))
        refused = 0
        with ExitStack() as stack:
            for _ in range(count):
                try:
                    stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
                except OSError:
                    refused += 1
                time.sleep(0.001)
            time.sleep(HOLD_S)
        return f"held for {HOLD_S:g} s, {refused} refused"

    return Attack(run)


def _asked(port: int, method: str, path: str, address: str, body: bytes | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"content-type": "application/json", ADDRESS: address})
        response = connection.getresponse()
        response.read()
        return response.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def _registered(port: int, count: int) -> str:
    """So many registrations of 8 KB, each from a network of its own."""
    names = {"client_name": "x" * 200, "software_version": "x" * 7000}
    body = json.dumps({"redirect_uris": ["http://127.0.0.1/callback"], **names}).encode()
    return _told(_asked(port, "POST", "/register", f"{n % 200 + 11}.{n // 200}.0.1", body) for n in range(count))


def _looked_up(port: int, count: int) -> str:
    """So many clients whose documents are at names that no server answers for, each from a network of its own."""
    query = "response_type=code&redirect_uri=http://127.0.0.1/callback&code_challenge_method=S256&code_challenge="
    query += "x" * 43

    def ask(n: int) -> int:
        path = f"/authorize?{query}&client_id=https://name{n}.example/client.json"
        return _asked(port, "GET", path, f"{n + 11}.0.0.1")

    return _together(count, ask)


CLIENTS: Mapping[str, Attack] = MappingProxyType(
    {
        "10 bodies of 1.2 MB in chunks of 1 byte": _chunked("/nothing", b"1\r\na\r\n", 1_200_000, 10),
        "a body of 4 MB in chunks of 5 bytes": _chunked("/mcp", b"5\r\naaaaa\r\n", 4_000_000, 1),
        "200 heads of 15,000 fields": _heads(200, 15_000),
        "12 clients that ask for 20 MiB each and do not read": _unread(12, 20),
        "8 calls of 3.9 MB that take 10 s": _long(8, 10),
        "3,000 connections that send nothing": _idle(3000),
        "1,000 registrations from 1,000 networks": Attack(partial(_registered, count=1000), _OAUTH),
        "64 client documents that nobody serves": Attack(partial(_looked_up, count=64), _OAUTH),
    }
)
"""What the client does -> how it is done."""
