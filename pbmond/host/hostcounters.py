"""The host's own counters: interfaces and their addresses, disks, TCP and IP.

They belong to the network namespace that the daemon runs in or, where it was given sockets of
another, to that of process 1. What could not be read is None; nothing here raises.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from pbmond.host.counter_files import (
    KernelFile,
    parse_disks,
    parse_forwarded,
    parse_interfaces,
    parse_retransmitted,
)
from pbmond.host.rtnetlink import Interfaces
from pbmond.kernel.records import HostReading

#: How often sysfs is asked which disks are built on others. New disks are looked up at once.
DISKS_NS: Final = 10_000_000_000

T = TypeVar("T")


class HostCounters:
    """Reads four files at each tick, which stay open, and the rest only after a change."""

    def __init__(
        self,
        proc: Path = Path("/proc"),
        sys: Path = Path("/sys"),
        given: Sequence[socket.socket] = (),
    ) -> None:
        """``given``: what process 1 made to ask the kernel about its interfaces, if it did."""
        own = proc / ("1" if given else "self")
        self._block = sys / "block"
        self._files = {
            name: KernelFile(path)
            for name, path in (
                ("dev", own / "net/dev"),
                ("disks", proc / "diskstats"),
                ("snmp", own / "net/snmp"),
                ("snmp6", own / "net/snmp6"),
            )
        }
        self._netns = _none_on_error(lambda: (own / "ns/net").stat().st_ino)
        self._asked = Interfaces(given)
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
        self._stale |= self._asked.changed()
        self._update_addresses()
        found = _parsed(parse_interfaces, self._files["dev"].read())
        if self._asked.changed():
            self._stale = True
            self._update_addresses()
            found = _parsed(parse_interfaces, self._files["dev"].read())
        return found

    def _update_addresses(self) -> None:
        if not self._stale:
            return
        numbers = _none_on_error(self._asked.numbers)
        found = None if numbers is None else _none_on_error(lambda: self._asked.addresses(numbers))
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
        self._asked.close()


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
