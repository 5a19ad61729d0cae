"""The address of a request's client, as the platform states it: no header that a client can write decides it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address

from starlette.types import Scope

from mcp_edge.settings import Settings
from mcp_edge.text.ascii import lowered, stripped


def address_header(settings: Settings) -> bytes | None:
    """The name, in small letters, of the header in which a trusted proxy states the address; None without a proxy."""
    header = settings.client_address_header
    return lowered(header).encode() if header else None


def client_address(scope: Scope, headers: Iterable[tuple[bytes, bytes]], stated_in: bytes | None) -> str:
    """The client's address in its canonical spelling; empty where nobody knows it.

    `stated_in` names the header of a trusted proxy. The proxy's entry is the last one of the last field of that name;
    the client may have written the entries before.
    """
    stated = ""
    if stated_in is not None:
        fields = [value for name, value in headers if lowered(name) == stated_in]
        stated = fields[-1].decode("latin-1").rpartition(",")[2] if fields else ""
    return _read(stated) or _read((scope.get("client") or ("",))[0] or "")


def _read(text: str) -> str:
    """An address in its canonical spelling, without a port; empty where `text` is no address."""
    text = stripped(text)
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)
