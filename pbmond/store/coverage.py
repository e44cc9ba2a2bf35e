"""How much of what the host's own counters show is payload of processes.

The local address of a connection says which interface its payload belongs to. What belongs to none,
for whatever reason, is ``elsewhere``. So the payload of all interfaces and elsewhere together is
always what the processes' net and loopback counters hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbmond import wire
from pbmond.fields import CODES
from pbmond.kernel.records import HostReading
from pbmond.store.addresses import NOWHERE, Addresses, local_words
from pbmond.store.growth import Counts, Growth, GrowthTable

_NET, _LOOPBACK = CODES["net"], CODES["loopback"]

PayloadKey = tuple[int, bytes | None]  # uid, interface (None: elsewhere)


class Coverage:
    """For each tick: ``begin``, ``add`` what rows moved, ``freeze``."""

    def __init__(self) -> None:
        self._interfaces = GrowthTable()
        self._disks = GrowthTable()
        self._host = GrowthTable()
        self._stacked: frozenset[bytes] = frozenset()
        self._netns = -1
        self._addresses = Addresses(HostReading(None, None, None, None, frozenset(), None, None))
        self._readable = (False, False)
        self._payload: dict[PayloadKey, Counts] = {}
        self._interval: dict[PayloadKey, Counts] = {}

    def begin(self, reading: HostReading) -> None:
        """Start a tick with a reading of the host; growth is counted from the first one."""
        self._interval = {}
        self._readable = (reading.interfaces is not None, reading.disks is not None)
        self._interfaces.take(reading.interfaces, reading.interface_numbers)
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
        if reading.addresses is not self._addresses.addresses:
            self._addresses = Addresses(reading)
        self._move_forgotten()

    def _move_forgotten(self) -> None:
        """Move the payload of interfaces that have been forgotten to elsewhere."""
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
            places = self._addresses.find(local_words(keys, classes, index))
            places[counters["netns"][index] != self._netns] = NOWHERE
            self._sum(uids, places, deltas)

    def add_elsewhere(
        self, uids: NDArray[np.uint32], classes: NDArray[Any], deltas: NDArray[np.uint64]
    ) -> None:
        """Add bytes whose connection is unknown."""
        inet = classes <= _LOOPBACK
        self._sum(uids[inet], np.full(np.count_nonzero(inet), NOWHERE), deltas[inet])

    def _sum(
        self, uids: NDArray[np.uint32], places: NDArray[np.intp], deltas: NDArray[np.uint64]
    ) -> None:
        owners = np.unique(uids)
        width = len(self._addresses.names)
        cells = np.searchsorted(owners, uids) * width + places
        into, out = (np.zeros(len(owners) * width, np.uint64) for _ in range(2))
        np.add.at(into, cells, deltas[:, 0])
        np.add.at(out, cells, deltas[:, 1])
        for cell in np.flatnonzero(into | out).tolist():
            owner = int(owners[cell // width]), self._addresses.names[cell % width]
            moved = int(into[cell]), int(out[cell])
            _increase(self._payload, owner, moved)
            _increase(self._interval, owner, moved)

    def freeze(self, *, first: bool) -> CoverageRows:
        """Copy everything that a snapshot needs; the ``first`` one has no interval."""
        return CoverageRows(
            interfaces=self._interfaces.rows if self._readable[0] else None,
            disks=self._disks.rows if self._readable[1] else None,
            host=self._host.rows,
            stacked=self._stacked,
            addresses=self._addresses.addresses,
            payload=dict(self._payload),
            interval=None if first else dict(self._interval),
        )


def _increase(sums: dict[PayloadKey, Counts], owner: PayloadKey, moved: Counts) -> None:
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
    payload: Mapping[PayloadKey, Counts]
    interval: Mapping[PayloadKey, Counts] | None

    def message(self, uid: int | None, attributed: Counts, now: Counts) -> dict[str, Any]:
        """Return the coverage object of the JSON contract, in the scope of ``uid`` (None: all).

        ``attributed`` is what the scope's processes read from and wrote to disks since the start,
        ``now`` in this interval.
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

    def _outside(self, payload: Mapping[bytes | None, Counts] | None) -> Counts | None:
        """Sum the payload that belongs to no listed interface; None if there is no list."""
        listed = self.interfaces
        if listed is None or payload is None:
            return None
        outside = [moved for name, moved in payload.items() if name is None or name not in listed]
        return tuple(map(sum, zip((0, 0), *outside, strict=True)))

    def _interval_of(self, row: Growth | None) -> Counts | None:
        return None if row is None or self.interval is None else row.interval

    def _interface(
        self,
        name: bytes,
        row: Growth,
        payload: Mapping[bytes | None, Counts],
        interval: Mapping[bytes | None, Counts] | None,
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


def _by_place(sums: Mapping[PayloadKey, Counts], uid: int | None) -> dict[bytes | None, Counts]:
    found: dict[bytes | None, Counts] = {}
    for (owner, name), moved in sums.items():
        if uid is None or owner == uid:
            old = found.get(name, (0, 0))
            found[name] = (old[0] + moved[0], old[1] + moved[1])
    return found


def _listed(
    rows: Mapping[bytes, Growth] | None, make: Callable[[bytes, Growth], dict[str, Any]]
) -> list[dict[str, Any]] | None:
    """Make the list of rows, those that are present first."""
    if rows is None:
        return None
    return [make(*row) for row in sorted(rows.items(), key=lambda row: not row[1].present)]


def _named(names: Sequence[str], total: Counts | None, interval: Counts | None) -> dict[str, Any]:
    nothing = (None,) * len(names)
    return {
        **dict(zip(names, total or nothing, strict=True)),
        **dict(zip(map(wire.interval_name, names), interval or nothing, strict=True)),
    }
