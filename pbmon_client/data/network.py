"""Words for the numbers of a connection: addresses and protocols."""

from __future__ import annotations

import socket
from typing import Final

from pbmon_client.data.text import safe

_V4_MAPPED: Final = b"\0" * 10 + b"\xff\xff"
_NOTHING: Final = b"\0" * 16
_INET: Final = int(socket.AF_INET)
_INET6: Final = int(socket.AF_INET6)
_UNIX: Final = int(socket.AF_UNIX)

_INET_PROTOCOLS: Final = {
    1: "icmp",
    2: "igmp",
    6: "tcp",
    17: "udp",
    33: "dccp",
    47: "gre",
    58: "icmpv6",
    89: "ospf",
    112: "vrrp",
    132: "sctp",
    136: "udplite",
    255: "raw",
    262: "mptcp",
}
_UNIX_TYPES: Final = {1: "stream", 2: "dgram", 5: "seqpacket"}
_FAMILIES: Final = {
    3: "ax25",
    15: "key",
    16: "netlink",
    17: "packet",
    21: "rds",
    24: "pppox",
    29: "can",
    30: "tipc",
    31: "bluetooth",
    38: "alg",
    40: "vsock",
    42: "qipcrtr",
    43: "smc",
    44: "xdp",
    45: "mctp",
}


def inet_address(family: int, raw: bytes) -> str | None:
    """Write a 16-byte address field as text; None for families without internet addresses.

    An IPv4 address mapped into IPv6 is written as the IPv4 address that it is.
    """
    if family == _INET:
        return socket.inet_ntop(socket.AF_INET, raw[:4])
    if family != _INET6:
        return None
    if raw.startswith(_V4_MAPPED):
        return socket.inet_ntop(socket.AF_INET, raw[12:])
    return socket.inet_ntop(socket.AF_INET6, raw)


def _name(raw: bytes | None) -> str | None:
    if not raw:
        return None
    return "@" + safe(raw[1:]) if raw[0] == 0 else safe(raw)


def local_address(family: int, raw: bytes, name: bytes | None) -> str | None:
    """Write the local end: an address, a unix socket's path or ``@abstract`` name, or None."""
    return _name(name) if family == _UNIX else inet_address(family, raw)


def remote_address(family: int, raw: bytes, name: bytes | None) -> str | None:
    """Write the remote end as ``local_address`` does; all zeros mean that it is not known."""
    if family == _UNIX:
        return _name(name)
    return None if raw == _NOTHING else inet_address(family, raw)


def protocol(family: int, kind: int, number: int) -> str:
    """Name the protocol: of IP for inet, the type of a unix socket, else the address family."""
    if family in (_INET, _INET6):
        return _INET_PROTOCOLS.get(number) or f"ip-{number}"
    if family == _UNIX:
        return _UNIX_TYPES.get(kind) or f"type-{kind}"
    return _FAMILIES.get(family) or f"family-{family}"


_INET_NUMBERS: Final = {name: number for number, name in _INET_PROTOCOLS.items()}
_UNIX_NUMBERS: Final = {name: number for number, name in _UNIX_TYPES.items()}
_FAMILY_NUMBERS: Final = {name: number for number, name in _FAMILIES.items()}


def _number_of(name: str, numbers: dict[str, int], prefix: str) -> int | None:
    if name in numbers:
        return numbers[name]
    rest = name.removeprefix(prefix)
    return int(rest) if rest != name and rest.isascii() and rest.isdigit() else None


def inet_protocol_number(name: str) -> int | None:
    """Return the number of an IP protocol by the name that ``protocol`` writes."""
    return _number_of(name, _INET_NUMBERS, "ip-")


def unix_type_number(name: str) -> int | None:
    """Return the type of a unix socket by the name that ``protocol`` writes."""
    return _number_of(name, _UNIX_NUMBERS, "type-")


def family_number(name: str) -> int | None:
    """Return an address family by the name that ``protocol`` writes for those without IP."""
    return _number_of(name, _FAMILY_NUMBERS, "family-")
