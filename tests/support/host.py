"""A deployed server as a client reaches it, whatever serves it: requests in, answers read line by line."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

BOTH = "application/json, text/event-stream"
"""What a client accepts."""


@dataclass
class Reply:
    """An answer under way: its lines are read as they come."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    lines: Generator[bytes]

    def whole(self) -> bytes:
        """What is left of the body."""
        return b"".join(self.lines)

    def event(self) -> dict[str, Any] | None:
        """The next event's fields, its data as JSON; None at the end. Comments and what holds no data are skipped."""
        fields: dict[str, Any] = {}
        for raw in self.lines:
            line = raw.decode().rstrip("\r\n")
            if line.startswith(":"):
                continue
            if line:
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
            elif "data" in fields:
                fields["data"] = json.loads(fields["data"]) if fields["data"] else ""
                return fields
        return None

    def events(self) -> list[dict[str, Any]]:
        """All that follow."""
        return list(iter(self.event, None))


class Host(Protocol):
    """A deployed server, as a client reaches it."""

    streaming: bool
    """Whether events arrive while a call runs."""

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send one request, on a connection of its own."""
        ...
