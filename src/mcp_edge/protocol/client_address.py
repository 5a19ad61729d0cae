"""The address of a request's client, as the platform states it; never from a header that the client could write."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address

from starlette.types import Scope

from mcp_edge.settings import Settings
from mcp_edge.text.ascii import lowered, stripped


def address_header(settings: Settings) -> bytes | None:
    """The header in which a trusted proxy states the address, in small letters; None where there is no proxy."""
    header = settings.client_address_header
    return lowered(header).encode() if header else None


def client_address(scope: Scope, headers: Iterable[tuple[bytes, bytes]], stated_in: bytes | None) -> str:
    """The address in its one spelling; empty where nobody knows it.

    Where a trusted proxy states it in the header `stated_in`, the proxy's own entry is the last one of the last field;
    what comes before it, the client may have written.
    """
    stated = ""
    if stated_in is not None:
        fields = [value for name, value in headers if lowered(name) == stated_in]
        stated = fields[-1].decode("latin-1").rpartition(",")[2] if fields else ""
    return _read(stated) or _read((scope.get("client") or ("",))[0] or "")


def _read(text: str) -> str:
    """An address in its one spelling, without a port; empty when it is none."""
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
