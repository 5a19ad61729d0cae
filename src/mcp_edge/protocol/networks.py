"""The networks around an address, each of which one stranger may have as a whole. Pure: it counts nothing.

In IPv6 an access customer has a /64 or a /56, a site a /48 (RFC 6177, RIPE-690): more addresses are not more people.
In IPv4 a /24 is the smallest network that is routed by itself, and many customers may share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

_AROUND = {4: ((32, 1), (24, 16)), 6: ((64, 1), (56, 2), (48, 4))}
"""IP version -> (prefix length, how many times the narrowest network's share), from the narrowest to the widest."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network around an address."""

    name: str
    """An address for a single one, else the prefix, such as `2001:db8::/48`."""
    share: int
    """How many times as much as the narrowest network this one may have."""
    part: str
    """The network's number within the widest network, in hex digits."""


def around(address: str) -> tuple[Network, ...]:
    """The networks around `address`, from the narrowest to the widest; none where `address` is empty.

    Raises:
        ValueError: `address` is neither empty nor an address.
    """
    if not address:
        return ()
    ip = ip_address(address)
    widest = _AROUND[ip.version][-1][0]
    return tuple(_network(ip, bits, share, widest) for bits, share in _AROUND[ip.version])


def of_one(address: str) -> tuple[Network, ...]:
    """The networks around `address` that one stranger may have as a whole: in IPv4 the address, in IPv6 every one."""
    found = around(address)
    return found[:1] if len(found) == len(_AROUND[4]) else found


def whose(address: str) -> str:
    """The widest network that one stranger may have: in IPv4 the address, in IPv6 the /48. Empty for no address."""
    found = of_one(address)
    return found[-1].name if found else ""


def _network(ip: IPv4Address | IPv6Address, bits: int, share: int, widest: int) -> Network:
    host_bits = ip.max_prefixlen - bits
    first = type(ip)(int(ip) >> host_bits << host_bits)
    part = int(ip) >> host_bits & (1 << (bits - widest)) - 1
    name = f"{first}/{bits}" if host_bits else str(first)
    return Network(name, share, f"{part:0{(bits - widest + 3) // 4}x}")
