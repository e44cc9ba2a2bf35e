"""The host's own counters: interfaces and their addresses, disks, TCP and IP.

They belong to the network namespace that the daemon runs in. What could not be read is None;
nothing here raises.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from pbmond.host.netlink import (
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    TIMEOUT_S,
    attributes,
    dump_request,
    messages,
)
from pbmond.kernel.records import HostReading

#: How often sysfs is asked which disks are built on others. New disks are looked up at once.
DISKS_NS: Final = 10_000_000_000

_SECTOR_BYTES: Final = 512  # whatever the disk has: Documentation/admin-guide/iostats.rst
_CHUNK: Final = 1 << 16
_COUNT_DIGITS: Final = 20  # of the largest number of 64 bits; int() itself refuses 4,301
# linux/rtnetlink.h, linux/if_addr.h
_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_GROUPS: Final = 1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_ADDRESS: Final = struct.Struct("=BBBBI")  # family, prefix, flags, scope, interface
_MAPPED: Final = bytes(10) + b"\xff\xff"

T = TypeVar("T")


class HostCounters:
    """Reads four files at each tick, which stay open, and the rest only after a change."""

    def __init__(self, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> None:
        self._block = sys / "block"
        self._files = {
            name: _KernelFile(proc / path)
            for name, path in (
                ("dev", "self/net/dev"),
                ("disks", "diskstats"),
                ("snmp", "self/net/snmp"),
                ("snmp6", "self/net/snmp6"),
            )
        }
        self._netns = _none_on_error(lambda: (proc / "self/ns/net").stat().st_ino)
        self._changes = _AddressChanges()
        self._addresses: Mapping[bytes, frozenset[bytes]] | None = None
        self._numbers: Mapping[bytes, int] | None = None
        self._stale = True  # both of them
        self._disk_names: frozenset[bytes] = frozenset()
        self._disks_ns = 0
        self._whole: frozenset[bytes] = frozenset()
        self._stacked: frozenset[bytes] = frozenset()

    def read(self, now_ns: int) -> HostReading:
        """Read everything; ``now_ns`` is CLOCK_MONOTONIC."""
        interfaces = self._read_interfaces()
        disks = _parsed(parse_disks, self._files["disks"].read())
        snmp, snmp6 = self._files["snmp"].read(), self._files["snmp6"].read()
        if disks is not None:
            self._update_disks(frozenset(disks), now_ns)
            disks = {name: moved for name, moved in disks.items() if name in self._whole}
        return HostReading(
            netns=self._netns,
            interfaces=interfaces,
            addresses=self._addresses,
            disks=disks,
            stacked=self._stacked,
            retransmitted_segments=None if snmp is None else parse_retransmitted(snmp),
            # Without IPv6 there is no second file, and nothing to count.
            forwarded_packets=None if snmp is None else parse_forwarded(snmp, snmp6 or b""),
            interface_numbers=self._numbers,
        )

    def _read_interfaces(self) -> dict[bytes, tuple[int, int, int, int]] | None:
        """Read the counters, and once more if what they are of has changed meanwhile."""
        self._stale |= self._changes.any()
        self._update_addresses()
        found = _parsed(parse_interfaces, self._files["dev"].read())
        if self._changes.any():
            self._stale = True
            self._update_addresses()
            found = _parsed(parse_interfaces, self._files["dev"].read())
        return found

    def _update_addresses(self) -> None:
        if not self._stale:
            return
        numbers = _none_on_error(_interface_numbers)
        found = None if numbers is None else _none_on_error(lambda: _addresses(numbers))
        if found is not None:
            self._numbers, self._addresses, self._stale = numbers, found, False

    def _update_disks(self, names: frozenset[bytes], now_ns: int) -> None:
        if names == self._disk_names and now_ns < self._disks_ns:
            return
        self._disk_names, self._disks_ns = names, now_ns + DISKS_NS
        paths = {name: self._block / os.fsdecode(name.replace(b"/", b"!")) for name in names}
        whole = {name: path for name, path in paths.items() if path.exists()}
        self._whole = frozenset(whole)
        self._stacked = frozenset(name for name, path in whole.items() if _is_stacked(path))

    def close(self) -> None:
        """Close what stays open."""
        for file in self._files.values():
            file.close()
        self._changes.close()


# --- formats ------------------------------------------------------------------------------------


def parse_interfaces(text: bytes) -> dict[bytes, tuple[int, int, int, int]]:
    """Parse /proc/net/dev: bytes in and out, packets in and out, by name; skip odd lines."""
    found = {}
    for line in text.split(b"\n"):
        # The kernel's own names hold no colon, and the numbers after it never do.
        name, colon, numbers = line.rpartition(b":")
        words = numbers.split()
        if colon and len(words) >= 10 and all(map(_is_count, words[:10])):
            rx_bytes, rx_packets, tx_bytes, tx_packets = (int(words[at]) for at in (0, 1, 8, 9))
            found[name.lstrip(b" ")] = rx_bytes, tx_bytes, rx_packets, tx_packets
    return found


def parse_disks(text: bytes) -> dict[bytes, tuple[int, int]]:
    """Parse /proc/diskstats: bytes read and written, by name; skip odd lines."""
    found = {}
    for line in text.split(b"\n"):
        words = line.split()
        if len(words) >= 10 and _is_count(words[5]) and _is_count(words[9]):
            found[words[2]] = int(words[5]) * _SECTOR_BYTES, int(words[9]) * _SECTOR_BYTES
    return found


def _is_count(word: bytes) -> bool:
    return word.isdigit() and len(word) <= _COUNT_DIGITS


def parse_retransmitted(snmp: bytes) -> int | None:
    """Return the retransmitted TCP segments from /proc/net/snmp."""
    return _snmp_value(snmp, b"Tcp:", b"RetransSegs")


def parse_forwarded(snmp: bytes, snmp6: bytes) -> int | None:
    """Return the forwarded packets from /proc/net/snmp and snmp6."""
    forwarded = _snmp_value(snmp, b"Ip:", b"ForwDatagrams")
    words = snmp6.split()
    if forwarded is None or b"Ip6OutForwDatagrams" not in words[:-1]:
        return forwarded
    number = words[words.index(b"Ip6OutForwDatagrams") + 1]
    return forwarded + int(number) if _is_count(number) else None


def _snmp_value(text: bytes, protocol: bytes, name: bytes) -> int | None:
    """Find a value below its name: each protocol has a line of names and a line of numbers."""
    lines = [words for line in text.split(b"\n") if (words := line.split())[:1] == [protocol]]
    if len(lines) != 2 or name not in lines[0]:
        return None
    at = lines[0].index(name)
    return int(lines[1][at]) if at < len(lines[1]) and _is_count(lines[1][at]) else None


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


# --- calls --------------------------------------------------------------------------------------


class _KernelFile:
    """A file of the kernel that stays open: opening it costs more than reading it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def read(self) -> bytes | None:
        """Return the whole text. The kernel returns at most a page of a list at a time."""
        try:
            if self._fd is None:
                self._fd = os.open(self._path, os.O_RDONLY)
            text = b""
            while chunk := os.pread(self._fd, _CHUNK, len(text)):
                text += chunk
        except OSError:
            self.close()
            return None
        return text

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class _AddressChanges:
    """Tells whether an interface or address was added, removed or changed since the last call."""

    def __init__(self) -> None:
        self._socket = _none_on_error(self._listen)

    @staticmethod
    def _listen() -> socket.socket:
        listener = _netlink()
        try:
            listener.bind((0, _GROUPS))
        except OSError:
            listener.close()
            raise
        listener.settimeout(0)
        return listener

    def any(self) -> bool:
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
        if self._socket is not None:
            self._socket.close()


def _netlink() -> socket.socket:
    return socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    )


def _interface_numbers() -> dict[bytes, int]:
    return {os.fsencode(name): number for number, name in socket.if_nameindex()}


def _addresses(numbers: Mapping[bytes, int]) -> dict[bytes, frozenset[bytes]]:
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


def _is_stacked(disk: Path) -> bool:
    """Return whether another disk moves the bytes of this one, too: loop, dm, md, multipath."""
    try:
        if disk.name.startswith("loop") or any((disk / "slaves").iterdir()):
            return True
        return (disk / "hidden").read_bytes().strip() == b"1"  # one path of a multipath NVMe disk
    except OSError:
        return False


def _parsed(parse: Callable[[bytes], T], text: bytes | None) -> T | None:
    return None if text is None else parse(text)


def _none_on_error(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except (OSError, ValueError):
        return None
