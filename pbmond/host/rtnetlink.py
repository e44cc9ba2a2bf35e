"""Interfaces, their addresses, and changes of both, as rtnetlink tells them."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
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

# linux/rtnetlink.h, linux/if_addr.h, linux/if_link.h
_RTM_NEWLINK, _RTM_GETLINK, _RTM_NEWADDR, _RTM_GETADDR = 16, 18, 20, 22
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFLA_IFNAME, _IFLA_EXT_MASK, _SKIP_STATS = 3, 29, 8
_GROUPS: Final = 1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_ADDRESS: Final = struct.Struct("=BBBBI")  # family, prefix, flags, scope, interface
_LINK: Final = struct.Struct("=BxHiII")  # family, type, interface, flags, changed
_WITHOUT_STATS: Final = struct.pack("=HHI", 8, _IFLA_EXT_MASK, _SKIP_STATS)
_MAPPED: Final = bytes(10) + b"\xff\xff"
_CHUNK: Final = 1 << 16


class Interfaces:
    """Two sockets of a network namespace: one is told of changes, the other asks for lists.

    They are opened once: afterwards a process may do without the right to make any.
    """

    def __init__(self, given: Sequence[socket.socket] = ()) -> None:
        """Take those of ``given`` that are such sockets, or else open them in our own namespace.

        Where that is refused, nothing is known of interfaces.
        """
        self._told = next((sock for sock in given if _is_told(sock)), None)
        self._asking = next((sock for sock in given if sock is not self._told), None)
        if not given:
            with suppress(OSError):
                self._told = _told()
            with suppress(OSError):
                self._asking = _netlink()
        if self._told is not None:
            self._told.settimeout(0)

    def changed(self) -> bool:
        """Return whether there was a change since the last call, or may have been."""
        if self._told is None:
            return True  # we are not notified: better to ask too often
        changed = False
        try:
            while self._told.recv(_CHUNK):
                changed = True
        except BlockingIOError:
            return changed
        except OSError as error:
            return error.errno == errno.ENOBUFS or changed  # too many changes for the queue
        return changed

    def numbers(self) -> dict[bytes, int]:
        """Return the number of each interface; raises OSError or ValueError."""
        request = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _WITHOUT_STATS
        return parse_names(self._list(_RTM_GETLINK, request))

    def addresses(self, numbers: Mapping[bytes, int]) -> dict[bytes, frozenset[bytes]]:
        """Return the addresses of each interface that has any; raises OSError or ValueError."""
        names = {number: name for name, number in numbers.items()}
        found: dict[bytes, set[bytes]] = {}
        dump = self._list(_RTM_GETADDR, _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
        for number, address in parse_addresses(dump):
            if number in names:
                found.setdefault(names[number], set()).add(address)
        return {name: frozenset(each) for name, each in found.items()}

    def close(self) -> None:
        """Close the sockets."""
        for sock in (self._told, self._asking):
            if sock is not None:
                sock.close()

    def _list(self, kind: int, request: bytes) -> bytes:
        if self._asking is None:
            raise PermissionError(errno.EPERM, "netlink is refused")
        _empty(self._asking)
        self._asking.settimeout(TIMEOUT_S)
        self._asking.sendto(dump_request(kind, request), (0, 0))
        dump = chunk = b""
        while not any(each in (NLMSG_DONE, NLMSG_ERROR) for each, _, _ in messages(chunk)):
            chunk = self._asking.recv(_CHUNK)  # whole messages
            dump += chunk
        return dump


def _empty(sock: socket.socket) -> None:
    """Read what is left of an earlier list: the kernel makes none while another is not read.

    Whoever began it may have ended, if the socket was given to us.
    """
    sock.settimeout(0)
    with suppress(BlockingIOError):
        while sock.recv(_CHUNK):
            pass


def _is_told(sock: socket.socket) -> bool:
    _, groups = sock.getsockname()
    return bool(groups)


def _told() -> socket.socket:
    told = _netlink()
    try:
        told.bind((0, _GROUPS))
    except OSError:
        told.close()
        raise
    return told


def _netlink() -> socket.socket:
    return socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    )


def parse_names(dump: bytes) -> dict[bytes, int]:
    """Parse RTM_NEWLINK messages to the numbers of interfaces by name; raises as ``_listed``."""
    found = {}
    for body in _listed(dump, _RTM_NEWLINK, _LINK.size):
        _, _, number, _, _ = _LINK.unpack_from(body)
        told = attributes(body[_LINK.size :])
        name = next((value for each, value in told if each == _IFLA_IFNAME), b"")
        if name:
            found[name.partition(b"\0")[0]] = number
    return found


def parse_addresses(dump: bytes) -> list[tuple[int, bytes]]:
    """Parse RTM_NEWADDR messages to (interface number, address), IPv4 mapped into IPv6.

    Raises as ``_listed``.
    """
    found = []
    for body in _listed(dump, _RTM_NEWADDR, _ADDRESS.size):
        family, _, _, _, interface = _ADDRESS.unpack_from(body)
        told = dict(attributes(body[_ADDRESS.size :]))
        # On a point-to-point link IFA_LOCAL is ours, and IFA_ADDRESS the other end's.
        own = told.get(_IFA_LOCAL, told.get(_IFA_ADDRESS, b""))
        if (family, len(own)) == (socket.AF_INET, 4):
            found.append((interface, _MAPPED + own))
        elif (family, len(own)) == (socket.AF_INET6, 16):
            found.append((interface, own))
    return found


def _listed(dump: bytes, wanted: int, least: int) -> Iterator[bytes]:
    """Yield the bodies of a kind of message that have at least so many bytes.

    ValueError if the dump is cut off, or the kernel refused or was interrupted: ask again.
    """
    for kind, flags, body in messages(dump):
        if kind == NLMSG_ERROR or flags & NLM_F_DUMP_INTR:
            raise ValueError("no whole list")
        if kind == wanted and len(body) >= least:
            yield body
