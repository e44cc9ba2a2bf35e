"""What the host's own counters moved, and how much of it is processes' payload; pure.

Payload is told apart by the local address of its connection: an address of one interface makes it
that interface's, and what belongs to none, for whatever reason, is ``elsewhere``. So interfaces and
elsewhere together are always what the processes' net and loopback counters hold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pbmond import wire
from pbmond.fields import CODES
from pbmond.kernel.records import HostReading

#: Interfaces and disks that are gone stay for so many others to go; containers come and go.
MAX_GONE: Final = 64

_AF_INET: Final = 2
_NET, _LOOPBACK = CODES["net"], CODES["loopback"]
_MAPPED: Final = np.uint64(0xFFFF0000)  # the last word of an IPv4 address in IPv6, without it
_LOW_HALF: Final = np.uint64(0xFFFFFFFF)
_HALF: Final = np.uint64(32)
_FIRST_BYTE: Final = np.uint64(0xFF << 32)
_127: Final = np.uint64(127 << 32)
#: 127.0.0.1 as the second of the two little-endian words of an address; the first is 0.
_LOCALHOST: Final = np.uint64(1 << 56 | 127 << 32 | 0xFFFF0000)
_LOCALHOSTS: Final = (bytes(10) + b"\xff\xff\x7f\0\0\1", bytes(15) + b"\1")
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
_NOWHERE: Final = 0

Moved = tuple[int, ...]
Owner = tuple[int, bytes | None]  # uid, and interface or None: elsewhere


@dataclass(frozen=True, slots=True)
class Growth:
    """Counters since the first reading: ``interval`` is None unless both its ends were read."""

    last: Moved
    total: Moved
    interval: Moved | None
    present: bool


class Growing:
    """Counters by name, whose owners come and go; totals never fall."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Growth] = {}
        self._missed = False

    def take(self, reading: Mapping[bytes, Moved] | None) -> None:
        """Take a reading; None was not possible. A name that comes later starts with it."""
        if reading is None:
            self._missed = True
            self.rows = {
                name: Growth(row.last, row.total, None, row.present)
                for name, row in self.rows.items()
            }
            return
        gone = {
            name: Growth(row.last, row.total, None, present=False)
            for name, row in self.rows.items()
            if name not in reading
        }
        now = {name: self._grown(self.rows.get(name), last) for name, last in reading.items()}
        # Those that have gone longest always come first.
        self.rows = {**dict(list(gone.items())[-MAX_GONE:]), **now}
        self._missed = False

    def _grown(self, row: Growth | None, last: Moved) -> Growth:
        if row is None:
            return Growth(last, (0,) * len(last), None, present=True)
        if not row.present:
            return Growth(last, row.total, None, present=True)
        moved = tuple(new - old for new, old in zip(last, row.last, strict=True))
        if min(moved) < 0:  # made anew under the same name: it has counted from zero
            moved = last
        total = tuple(map(sum, zip(row.total, moved, strict=True)))
        return Growth(last, total, None if self._missed else moved, present=True)


class _Places:
    """Which interface an address belongs to."""

    def __init__(self, reading: HostReading) -> None:
        self.addresses = reading.addresses
        owners: dict[bytes, list[bytes]] = defaultdict(list)
        for name, addresses in (reading.addresses or {}).items():
            for address in addresses:
                owners[address].append(name)
        # An address of two interfaces (link-local ones, say) does not tell which.
        own = {address: names[0] for address, names in owners.items() if len(names) == 1}
        loopback = next((own[each] for each in _LOCALHOSTS if each in own), None)
        if loopback is not None:
            own[_LOCALHOSTS[0]] = loopback  # where the kernel routes all of 127.0.0.0/8
        self.names: list[bytes | None] = [None, *dict.fromkeys(own.values())]
        words = np.frombuffer(b"".join(own), "<u8").reshape(-1, 2)
        order = np.argsort(_mixed(words))
        self._words = words[order]
        self._mixed = _mixed(self._words)
        codes = [self.names.index(name) for name in own.values()]
        self._codes = np.array(codes, np.intp)[order]

    def find(self, words: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return for each address, as two words, the index of its interface in ``names``."""
        if not len(self._codes):
            return np.full(len(words), _NOWHERE, np.intp)
        at = np.searchsorted(self._mixed, _mixed(words))
        at[at == len(self._mixed)] = 0
        found = self._words[at]
        same = (found[:, 0] == words[:, 0]) & (found[:, 1] == words[:, 1])
        return np.where(same, self._codes[at], _NOWHERE)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return words[:, 0] * _ODD ^ words[:, 1]


def local_words(
    keys: NDArray[np.void], classes: NDArray[np.uint8], index: NDArray[np.intp]
) -> NDArray[np.uint64]:
    """Return the local addresses of some flow keys as two words each, IPv4 mapped into IPv6.

    Everything of 127.0.0.0/8 is 127.0.0.1, and so is every end of a connection within the host:
    its bytes pass the loopback interface whatever its addresses are.
    """
    words = keys["local"][index].view("<u8").reshape(-1, 2)
    first, second = words[:, 0], words[:, 1]
    inet = keys["family"][index] == _AF_INET
    second = np.where(inet, (first & _LOW_HALF) << _HALF | _MAPPED, second)
    first = np.where(inet, np.uint64(0), first)
    mapped = (first == 0) & (second & _LOW_HALF == _MAPPED)
    looped = (mapped & (second & _FIRST_BYTE == _127)) | (classes == _LOOPBACK)
    second = np.where(looped, _LOCALHOST, second)
    return np.column_stack((np.where(looped, np.uint64(0), first), second))


class Coverage:
    """For each tick: ``begin``, ``add`` what rows moved, ``freeze``."""

    def __init__(self) -> None:
        self._interfaces = Growing()
        self._disks = Growing()
        self._host = Growing()
        self._stacked: frozenset[bytes] = frozenset()
        self._netns = -1
        self._places = _Places(HostReading(None, None, None, None, frozenset(), None, None))
        self._readable = (False, False)
        self._payload: dict[Owner, Moved] = {}
        self._interval: dict[Owner, Moved] = {}

    def begin(self, reading: HostReading) -> None:
        """Start a tick with what the host counted; the first time it is what growth begins at."""
        self._interval = {}
        self._readable = (reading.interfaces is not None, reading.disks is not None)
        self._interfaces.take(reading.interfaces)
        self._disks.take(reading.disks)
        counts = (reading.retransmitted_segments, reading.forwarded_packets)
        self._host.take(
            {
                name.encode(): (count,)
                for name, count in zip(wire.HOST_COUNTERS, counts, strict=True)
                if count is not None
            }
        )
        self._stacked = reading.stacked
        self._netns = -1 if reading.netns is None else reading.netns
        if reading.addresses is not self._places.addresses:
            self._places = _Places(reading)
        self._move_forgotten()

    def _move_forgotten(self) -> None:
        """Count the payload of interfaces that nobody remembers as elsewhere."""
        forgotten = [
            owner
            for owner in self._payload
            if owner[1] is not None and owner[1] not in self._interfaces.rows
        ]
        for uid, name in forgotten:
            _increase(self._payload, (uid, None), self._payload.pop((uid, name)))

    def add(
        self,
        keys: NDArray[np.void],
        counters: NDArray[np.void],
        index: NDArray[np.intp],
        uids: NDArray[np.uint32],
        deltas: NDArray[np.uint64],
    ) -> None:
        """Add what the rows ``index`` of connections moved.

        ``uids`` and ``deltas`` (bytes in and out first) are parallel to ``index``.
        """
        classes = counters["class"][index]
        inet = classes <= _LOOPBACK
        if not inet.all():
            index, uids, deltas, classes = index[inet], uids[inet], deltas[inet], classes[inet]
        if len(index):
            places = self._places.find(local_words(keys, classes, index))
            places[counters["netns"][index] != self._netns] = _NOWHERE
            self._sum(uids, places, deltas)

    def add_elsewhere(
        self, uids: NDArray[np.uint32], classes: NDArray[Any], deltas: NDArray[np.uint64]
    ) -> None:
        """Add bytes whose connection is not known."""
        inet = classes <= _LOOPBACK
        self._sum(uids[inet], np.full(np.count_nonzero(inet), _NOWHERE), deltas[inet])

    def _sum(
        self, uids: NDArray[np.uint32], places: NDArray[np.intp], deltas: NDArray[np.uint64]
    ) -> None:
        owners = np.unique(uids)
        width = len(self._places.names)
        cells = np.searchsorted(owners, uids) * width + places
        into, out = (np.zeros(len(owners) * width, np.uint64) for _ in range(2))
        np.add.at(into, cells, deltas[:, 0])
        np.add.at(out, cells, deltas[:, 1])
        for cell in np.flatnonzero(into | out).tolist():
            owner = int(owners[cell // width]), self._places.names[cell % width]
            moved = int(into[cell]), int(out[cell])
            _increase(self._payload, owner, moved)
            _increase(self._interval, owner, moved)

    def freeze(self, *, first: bool) -> CoverageRows:
        """Copy everything that a snapshot needs; ``first`` snapshots have no interval."""
        return CoverageRows(
            interfaces=self._interfaces.rows if self._readable[0] else None,
            disks=self._disks.rows if self._readable[1] else None,
            host=self._host.rows,
            stacked=self._stacked,
            addresses=self._places.addresses,
            payload=dict(self._payload),
            interval=None if first else dict(self._interval),
        )


def _increase(sums: dict[Owner, Moved], owner: Owner, moved: Moved) -> None:
    old = sums.get(owner)
    sums[owner] = moved if old is None else (old[0] + moved[0], old[1] + moved[1])


@dataclass(frozen=True, slots=True)
class CoverageRows:
    """Coverage at one moment; payload is (bytes in, bytes out) by user and interface."""

    interfaces: Mapping[bytes, Growth] | None
    disks: Mapping[bytes, Growth] | None
    host: Mapping[bytes, Growth]
    stacked: frozenset[bytes]
    addresses: Mapping[bytes, frozenset[bytes]] | None
    payload: Mapping[Owner, Moved]
    interval: Mapping[Owner, Moved] | None

    def message(self, uid: int | None, attributed: Moved, now: Moved) -> dict[str, Any]:
        """Return the contract's object in the scope of ``uid`` (None: everybody).

        ``attributed`` are the scope's bytes read from and written to disks, ``now`` those of this
        interval.
        """
        payload = _by_place(self.payload, uid)
        interval = None if self.interval is None else _by_place(self.interval, uid)
        found: dict[str, Any] = {
            "interfaces": _listed(
                self.interfaces, lambda name, row: self._interface(name, row, payload, interval)
            ),
            "elsewhere": _named(
                wire.PAYLOAD_COUNTERS, self._outside(payload), self._outside(interval)
            ),
            "disks": _listed(self.disks, self._disk),
            "attributed": _named(
                wire.ATTRIBUTED_COUNTERS, attributed, None if self.interval is None else now
            ),
        }
        for name in wire.HOST_COUNTERS:
            row = self.host.get(name.encode())
            found |= _named((name,), None if row is None else row.total, self._interval_of(row))
        return found

    def _outside(self, payload: Mapping[bytes | None, Moved] | None) -> Moved | None:
        """Sum the payload that belongs to no interface of the list; None if there is no list."""
        listed = self.interfaces
        if listed is None or payload is None:
            return None
        outside = [moved for name, moved in payload.items() if name is None or name not in listed]
        return tuple(map(sum, zip((0, 0), *outside, strict=True)))

    def _interval_of(self, row: Growth | None) -> Moved | None:
        return None if row is None or self.interval is None else row.interval

    def _interface(
        self,
        name: bytes,
        row: Growth,
        payload: Mapping[bytes | None, Moved],
        interval: Mapping[bytes | None, Moved] | None,
    ) -> dict[str, Any]:
        known = self.addresses is not None
        moved = None if interval is None or not known else interval.get(name, (0, 0))
        return {
            "name": name,
            "present": row.present,
            "addresses": None if self.addresses is None else len(self.addresses.get(name, ())),
            **_named(wire.INTERFACE_COUNTERS, row.total, self._interval_of(row)),
            **_named(wire.PAYLOAD_COUNTERS, payload.get(name, (0, 0)) if known else None, moved),
        }

    def _disk(self, name: bytes, row: Growth) -> dict[str, Any]:
        return {
            "name": name,
            "present": row.present,
            "stacked": name in self.stacked,
            **_named(wire.DISK_COUNTERS, row.total, self._interval_of(row)),
        }


def _by_place(sums: Mapping[Owner, Moved], uid: int | None) -> dict[bytes | None, Moved]:
    found: dict[bytes | None, Moved] = {}
    for (owner, name), moved in sums.items():
        if uid is None or owner == uid:
            old = found.get(name, (0, 0))
            found[name] = (old[0] + moved[0], old[1] + moved[1])
    return found


def _listed(
    rows: Mapping[bytes, Growth] | None, make: Callable[[bytes, Growth], dict[str, Any]]
) -> list[dict[str, Any]] | None:
    """Make the list of rows, those that are there first."""
    if rows is None:
        return None
    return [make(*row) for row in sorted(rows.items(), key=lambda row: not row[1].present)]


def _named(names: Sequence[str], total: Moved | None, interval: Moved | None) -> dict[str, Any]:
    nothing = (None,) * len(names)
    return {
        **dict(zip(names, total or nothing, strict=True)),
        **dict(zip(map(wire.interval_name, names), interval or nothing, strict=True)),
    }
