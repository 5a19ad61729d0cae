"""One request of ours to somebody else's server: bounded in time and in size, and never carried to another host."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx

from mcp_edge.errors import UpstreamError
from mcp_edge.outbound import answer_body

_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
"""A name or an address, as `urlsplit` gives it."""


async def exchange(
    client: httpx.AsyncClient,
    request: httpx.Request,
    *,
    timeout_s: float,
    max_bytes: int,
    whose: str = "The upstream API",
    codings: Collection[str] = (),
) -> httpx.Response:
    """The whole answer to `request`, whatever its status, with its body decoded and in memory.

    Redirects are not followed, so that a credential reaches no other host. The answer is asked for as it is; one that
    is compressed all the same is taken only in one of `codings`.

    Raises:
        UpstreamError: no answer of at most `max_bytes` bytes, once decoded, came within `timeout_s` seconds. `whose`
            begins the sentence.
    """
    answer_body.wanted(request, max_bytes=max_bytes, codings=codings)
    try:
        # httpx's own timeout starts anew with every read; an answer that trickles in needs this one.
        with anyio.fail_after(timeout_s):
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                await answer_body.bound(response)  # again, if the client has done it: it need not be one of ours
                return await _read(response)
            finally:
                await response.aclose()
    except answer_body.AnswerTooLarge as e:
        raise UpstreamError(f"{whose}'s answer is larger than {max_bytes} bytes.") from e
    except httpx.DecodingError as e:
        raise UpstreamError(f"{whose}'s answer is compressed in a way that is not taken, or broken.") from e
    except (TimeoutError, httpx.TimeoutException) as e:
        raise UpstreamError(f"{whose} did not answer within {timeout_s:g} seconds.") from e
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as e:  # the last: a name that no resolver takes
        raise UpstreamError(f"{whose} could not be reached, or broke off its answer.") from e


async def _read(response: httpx.Response) -> httpx.Response:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
    # The length is that of the encoded body, which is gone.
    headers = [(k, v) for k, v in response.headers.multi_items() if k != "content-length"]
    return httpx.Response(response.status_code, headers=headers, content=bytes(body), request=response.request)


def json_object(response: httpx.Response, whose: str) -> dict[str, Any]:
    """The JSON object in the body.

    Raises:
        UpstreamError: there is none.
    """
    return _json(response, dict, whose)


def json_list(response: httpx.Response, whose: str) -> list[Any]:
    """The JSON list in the body.

    Raises:
        UpstreamError: there is none.
    """
    return _json(response, list, whose)


def _json(response: httpx.Response, kind: type[Any], whose: str) -> Any:
    try:
        document = json.loads(response.content)
    except (ValueError, RecursionError) as e:
        raise UpstreamError(f"{whose}'s answer is not JSON.") from e
    if not isinstance(document, kind):
        raise UpstreamError(f"{whose}'s answer does not have the expected form.")
    return document


def is_protected(url: str) -> bool:
    """Whether what is sent to `url` cannot be read or altered on its way: https, or http on loopback."""
    if not (url.isascii() and url.isprintable()) or " " in url:
        return False
    try:
        parts = urlsplit(url)
        host, usable = parts.hostname or "", parts.port != 0
    except ValueError:
        return False
    if not _HOST.fullmatch(host) or not usable or "@" in parts.netloc or parts.fragment:
        return False
    if parts.scheme == "https":
        return True
    try:
        return parts.scheme == "http" and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return parts.scheme == "http" and host == "localhost"
