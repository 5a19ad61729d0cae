"""The networks around an address: what one stranger may have as a whole. Pure: it counts nothing.

Of IPv6 an access customer has a /64 or a /56, a site a /48 (RFC 6177, RIPE-690): more addresses are not more people.
Of IPv4 a /24 is the least that is routed by itself; there may be many customers in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

_AROUND = {4: ((32, 1), (24, 16)), 6: ((64, 1), (56, 2), (48, 4))}
"""IP version -> prefix lengths, and how many times as much as the narrowest each may have."""


@dataclass(frozen=True, slots=True)
class Network:
    """One of them."""

    name: str
    share: int
    part: str
    """Its name within the widest one."""


def around(address: str) -> tuple[Network, ...]:
    """From the narrowest to the widest; none of what is no address."""
    if not address:
        return ()
    ip = ip_address(address)
    widest = _AROUND[ip.version][-1][0]
    return tuple(_network(ip, bits, share, widest) for bits, share in _AROUND[ip.version])


def of_one(address: str) -> tuple[Network, ...]:
    """Those that one stranger may have as a whole: the address of IPv4, and all of IPv6."""
    found = around(address)
    return found[:1] if len(found) == len(_AROUND[4]) else found


def whose(address: str) -> str:
    """What one stranger may have of it: the address of IPv4, and the widest network of IPv6. Empty for what is none."""
    found = of_one(address)
    return found[-1].name if found else ""


def _network(ip: IPv4Address | IPv6Address, bits: int, share: int, widest: int) -> Network:
    host_bits = ip.max_prefixlen - bits
    first = type(ip)(int(ip) >> host_bits << host_bits)
    part = int(ip) >> host_bits & (1 << (bits - widest)) - 1
    name = f"{first}/{bits}" if host_bits else str(first)
    return Network(name, share, f"{part:0{(bits - widest + 3) // 4}x}")
