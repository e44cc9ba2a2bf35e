"""The addresses of interfaces, and their changes, as rtnetlink tells them."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from pbmond.host.netlink import (
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    TIMEOUT_S,
    attributes,
    dump_request,
    messages,
)

# linux/rtnetlink.h, linux/if_addr.h
_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_GROUPS: Final = 1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_ADDRESS: Final = struct.Struct("=BBBBI")  # family, prefix, flags, scope, interface
_MAPPED: Final = bytes(10) + b"\xff\xff"
_CHUNK: Final = 1 << 16


class AddressChanges:
    """Tells whether an interface or address was added, removed or changed since the last call."""

    def __init__(self) -> None:
        """Ask to be notified; where that is refused, ``any`` always returns True."""
        self._socket: socket.socket | None = None
        with suppress(OSError):
            self._socket = _listener()

    def any(self) -> bool:
        """Return whether there was a change, or may have been."""
        if self._socket is None:
            return True  # we are not notified: better to ask too often
        changed = False
        try:
            while self._socket.recv(_CHUNK):
                changed = True
        except BlockingIOError:
            return changed
        except OSError as error:
            return error.errno == errno.ENOBUFS or changed  # too many changes for the queue
        return changed

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()


def _listener() -> socket.socket:
    listener = _netlink()
    try:
        listener.bind((0, _GROUPS))
    except OSError:
        listener.close()
        raise
    listener.settimeout(0)
    return listener


def _netlink() -> socket.socket:
    return socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    )


def interface_numbers() -> dict[bytes, int]:
    """Return the number of each interface; raises OSError."""
    return {os.fsencode(name): number for number, name in socket.if_nameindex()}


def addresses_of(numbers: Mapping[bytes, int]) -> dict[bytes, frozenset[bytes]]:
    """Return the addresses of each interface that has any; raises OSError or ValueError."""
    request = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    dump = b""
    with _netlink() as asking:
        asking.settimeout(TIMEOUT_S)
        asking.sendto(dump_request(_RTM_GETADDR, request), (0, 0))
        while not any(kind in (NLMSG_DONE, NLMSG_ERROR) for kind, _, _ in messages(dump)):
            dump += asking.recv(_CHUNK)
    names = {number: name for name, number in numbers.items()}
    found: dict[bytes, set[bytes]] = {}
    for number, address in parse_addresses(dump):
        if number in names:
            found.setdefault(names[number], set()).add(address)
    return {name: frozenset(each) for name, each in found.items()}


def parse_addresses(dump: bytes) -> list[tuple[int, bytes]]:
    """Parse RTM_NEWADDR messages to (interface number, address), IPv4 mapped into IPv6.

    ValueError if the dump is cut off, or the kernel refused or was interrupted: ask again.
    """
    found = []
    for kind, flags, body in messages(dump):
        if kind == NLMSG_ERROR or flags & NLM_F_DUMP_INTR:
            raise ValueError("no whole list of addresses")
        if kind == _RTM_NEWADDR and len(body) >= _ADDRESS.size:
            family, _, _, _, interface = _ADDRESS.unpack_from(body)
            told = dict(attributes(body[_ADDRESS.size :]))
            # On a point-to-point link IFA_LOCAL is ours, and IFA_ADDRESS the other end's.
            own = told.get(_IFA_LOCAL, told.get(_IFA_ADDRESS, b""))
            if (family, len(own)) == (socket.AF_INET, 4):
                found.append((interface, _MAPPED + own))
            elif (family, len(own)) == (socket.AF_INET6, 16):
                found.append((interface, own))
    return found
