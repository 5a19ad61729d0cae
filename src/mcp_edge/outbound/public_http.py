"""An HTTP client for URLs that strangers name: it reaches the public internet over https and nothing else.

A name is resolved once; if any of its addresses is not public, it is refused, and otherwise the connection goes to the
very address that was checked, so a name server that changes its mind between the two gains nothing (server-side request
forgery, "DNS rebinding"). It knows no store and nothing of OAuth.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx

from mcp_edge.outbound import answer_body
from mcp_edge.outbound.lookups import MOST_LOOKUPS, Busy, resolve
from mcp_edge.text.ascii import lowered

__all__ = ["MOST_LOOKUPS", "Busy", "NotPublic", "PublicTransport", "check", "client", "is_public", "resolve"]

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""From a host name to its addresses as text; raises OSError when it has none."""

_MOST_TRIED = 3
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])")
"""A name with a dot, whose last label begins with a letter: in every spelling of an address that is a digit."""

# The IANA special-purpose registries (RFC 6890), written out: what `ipaddress` calls global differs between releases.
_SPECIAL_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's own services inside a virtual machine's network
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_UNICAST_V6 = IPv6Network("2000::/3")
"""All of IPv6 that is routed globally. IPv4 inside IPv6 (mapped, NAT64, local) is outside of it, or below."""
_SPECIAL_V6 = tuple(
    IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)  # protocol assignments with Teredo, documentation, 6to4, documentation


class NotPublic(httpx.RequestError):
    """The URL leads elsewhere than to the public internet. Nothing was sent."""


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, and to it alone."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _SPECIAL_V4)
    return _is_public_v6(ip)


def _is_public_v6(ip: IPv6Address) -> bool:
    return ip.scope_id is None and ip in _UNICAST_V6 and not any(ip in network for network in _SPECIAL_V6)


def check(url: httpx.URL) -> None:
    """Refuse a URL that names no public https server, by its text alone.

    Raises:
        NotPublic
    """
    if url.scheme != "https":
        raise NotPublic("only https is fetched")
    if url.userinfo:
        raise NotPublic("a URL with user information is not fetched")
    if url.port not in (None, 443):
        raise NotPublic("only port 443 is fetched")
    if not _NAME.fullmatch(url.raw_host.decode("ascii")):
        raise NotPublic("the host is not a domain name")


class PublicTransport(httpx.AsyncBaseTransport):
    """The transport that reaches the public internet alone.

    It asks for bodies as they are and takes no compressed one, which could grow without bound.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, resolve: Resolve | None = resolve) -> None:
        """`inner` sends; without `resolve`, the host's own network cannot reach anything that is not public."""
        self._inner = inner
        self._resolve = resolve

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request.

        Raises:
            NotPublic: it would go elsewhere than to the public internet.
            Busy: too many names are being looked up.
            httpx.ConnectError: the name has no address, or none of them answers.
            httpx.DecodingError: the answer is compressed.
        """
        check(request.url)
        request.headers["accept-encoding"] = "identity"
        if self._resolve is None:
            response = await self._inner.handle_async_request(request)
        else:
            response = await self._send(request, await self._addresses(request.url.raw_host.decode("ascii")))
        if lowered(response.headers.get("content-encoding", "identity")) != "identity":
            await response.aclose()
            raise httpx.DecodingError("the answer is compressed", request=request)
        response.headers.pop("set-cookie", None)  # the client would keep it
        return response

    async def _addresses(self, host: str) -> list[str]:
        assert self._resolve is not None
        try:
            addresses = await self._resolve(host)
        except (OSError, UnicodeError) as e:
            raise httpx.ConnectError("the name has no address") from e
        if not addresses or not all(is_public(address) for address in addresses):
            raise NotPublic("the name has an address that is not public")
        return sorted(addresses, key=lambda address: ":" in address)  # not every host has a way out over IPv6

    async def _send(self, request: httpx.Request, addresses: Sequence[str]) -> httpx.Response:
        """Send to the first address that takes the connection. The name stays what TLS verifies and `Host` says."""
        failure: httpx.HTTPError | None = None
        for address in addresses[:_MOST_TRIED]:
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": request.url.raw_host.decode("ascii")},
            )
            try:
                return await self._inner.handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as e:
                failure = e
        assert failure is not None
        raise failure

    async def aclose(self) -> None:
        """Close what sends."""
        await self._inner.aclose()


def client(inner: httpx.AsyncBaseTransport | None = None, resolve: Resolve | None = resolve) -> httpx.AsyncClient:
    """A client without redirects, cookies, or proxies from the environment; whoever asks for it closes it.

    It takes of an answer what `answer_body` allows. No connection is kept: the next name at the same address must not
    be answered over this one's.
    """
    if inner is None:
        inner = httpx.AsyncHTTPTransport(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
    return httpx.AsyncClient(
        transport=PublicTransport(inner, resolve),
        trust_env=False,
        follow_redirects=False,
        event_hooks={"response": [answer_body.bound]},
    )
