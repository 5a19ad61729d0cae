"""A `tests.support.host.Host` over HTTP: each request on a connection of its own, its answer read line by line."""

from __future__ import annotations

import http.client
from collections.abc import Generator, Mapping
from urllib.parse import urlsplit

from tests.support.host import Reply

DEADLINE_S = 20
REMAPPED = "x-amzn-remapped-"


class HttpHost:
    """The server at `url`. Headers that a Function URL renamed come back under their own names.

    `fill` is what the host sends where a body would be empty; it is taken for that, on 202 alone.
    """

    def __init__(self, url: str, *, streaming: bool, fill: bytes = b"") -> None:
        self._netloc = urlsplit(url).netloc
        self.streaming = streaming
        self._fill = fill

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send one request; its connection closes when the answer has been read."""
        connection = http.client.HTTPConnection(self._netloc, timeout=DEADLINE_S)
        connection.request(method, path, body=body or None, headers=dict(headers))
        response = connection.getresponse()
        found = {name.lower().removeprefix(REMAPPED): value for name, value in response.getheaders()}
        lines = _lines(connection, response)
        if response.status == http.client.ACCEPTED and self._fill:
            lines = (line for line in lines if line != self._fill)
        return Reply(response.status, found, lines)


def _lines(connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> Generator[bytes]:
    try:
        while line := response.readline():
            yield line
    finally:
        response.close()
        connection.close()
