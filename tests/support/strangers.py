"""Servers of strangers, for what fetches the URLs that they name: no name is resolved, and no socket is opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from mcp_edge.outbound import public_http
from mcp_edge.protocol.request import Request

PUBLIC = "93.184.215.14"

INSIDE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:93.184.215.14",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::5db8:d70e",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::1",
    "2001:0:5db8:d70e::1",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:5db8:d70e::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%eth0",
    "fec0::1",
    "ff02::1",
    "",
    "localhost",
    "127.1",
    "0x7f000001",
    "2130706433",
    "0177.0.0.1",
]
"""What is no address of the public internet."""


class Names:
    """A resolver: one answer for each question, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        answer = self._answers[0] if len(self._answers) == 1 else self._answers.pop(0)
        if not answer:
            raise OSError("no such name")
        return answer


@dataclass
class Wire:
    """What sends, without a network: it keeps what it was given."""

    answer: Callable[[httpx.Request], httpx.Response] = lambda _: httpx.Response(200, json={})
    down: frozenset[str] = frozenset()
    sent: list[httpx.Request] = field(default_factory=list[httpx.Request])

    def transport(self) -> httpx.MockTransport:
        def handle(request: httpx.Request) -> httpx.Response:
            self.sent.append(request)
            if request.url.host in self.down:
                raise httpx.ConnectError("refused", request=request)
            return self.answer(request)

        return httpx.MockTransport(handle)

    def client(self, names: Names | None) -> httpx.AsyncClient:
        return public_http.client(self.transport(), names)


def request_from(address: str = "198.51.100.7") -> Request:
    """A request of a stranger, of which only the address is looked at."""

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    async def send(message: Any) -> None:
        raise AssertionError(f"nothing is sent: {message}")

    scope: Any = {"type": "http", "method": "GET", "path": "/authorize", "headers": [], "client": (address, 50000)}
    return Request(scope, receive, send)
