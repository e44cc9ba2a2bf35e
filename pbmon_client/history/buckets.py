"""Buckets: what moved in one interval of a tier, as integers."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from pbmon_client.history.layout import (
    LAYOUTS,
    LEVELS,
    PROCESSES,
    TOTALS,
    KeptRow,
    Layout,
    folded_row,
    left_of,
)
from pbmon_client.history.packing import Ints, starts, summed
from pbmon_client.history.tiers import TICK_FLOWS

#: Counters of a table are numbered below this. A cell's key is its row's handle and that number.
COUNTER_BITS: Final = 6
COUNTER_MASK: Final = (1 << COUNTER_BITS) - 1
_SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RowsMoved:
    """Rows of a table that moved: values by ``Layout.columns``, and deltas (rows by counters)."""

    rows: Sequence[KeptRow]
    deltas: Ints


@dataclass(frozen=True, slots=True)
class Tick:
    """What moved in one interval of the daemon, which ended at ``time_ns`` (CLOCK_REALTIME).

    ``interval_ns`` is the interval's real length, ``now_ns`` its end by CLOCK_BOOTTIME. ``totals``
    are the host's, by ``TOTALS``. ``tables`` has ``RowsMoved`` by table; one may be missing.

    ``cumulative`` are the host's totals since the daemon's run began, ``running_ns`` before the
    end of the interval. They show what moved in ticks that never came; None: that is not known.
    """

    time_ns: int
    interval_ns: int
    now_ns: int
    host: str
    boot_id: str
    epoch: str
    totals: Ints
    tables: Mapping[str, RowsMoved]
    cumulative: Ints | None = None
    running_ns: int = 0


def check(tick: Tick) -> None:
    """Raise ValueError unless the tick has the layouts' columns and counts that only grow."""
    if tick.totals.shape != (len(TOTALS),) or tick.totals.min() < 0:
        raise ValueError("the host's totals are not its counters' increase")
    if min(tick.time_ns, tick.interval_ns, tick.now_ns) < 0:
        raise ValueError("a tick has no time")
    if tick.cumulative is not None and tick.cumulative.shape != tick.totals.shape:
        raise ValueError("the cumulative totals are not the host's counters")
    for table, moved in tick.tables.items():
        layout = LAYOUTS[table]
        if moved.deltas.shape != (len(moved.rows), len(layout.counters)):
            raise ValueError(f"{table}: the deltas are not rows by counters")
        if moved.deltas.dtype != np.int64 or moved.deltas.min(initial=0) < 0:
            raise ValueError(f"{table}: a delta is not a positive integer")
        if {*map(len, moved.rows)} - {len(layout.columns)}:
            raise ValueError(f"{table}: a row does not have the layout's columns")


class Handles:
    """Numbers for rows: rows with the same key have the same handle while it is in use."""

    def __init__(self, layout: Layout) -> None:
        self.layout: Final = layout
        self._next = 1
        self._handles: dict[KeptRow, int] = {}
        self._keys: dict[int, KeptRow] = {}
        self._latest: dict[int, KeptRow] = {}
        # By level: the folded row of a row, and of what is left of it.
        self._folded: list[dict[int, int]] = [{} for _ in range(LEVELS[layout.table])]
        self._left: list[dict[KeptRow, int]] = [{} for _ in self._folded]

    def __len__(self) -> int:
        return len(self._keys)

    def of(self, rows: Sequence[KeptRow]) -> list[int]:
        """Return the handles of rows, whose changing columns become the newest."""
        size = len(self.layout.key)
        known = self._handles
        handles = []
        for row in rows:
            key = row[:size]
            handle = known.get(key)
            if handle is None:
                handle = known[key] = self._next
                self._keys[handle] = key
                self._next += 1
            handles.append(handle)
        if self.layout.latest:
            self._latest.update(zip(handles, [row[size:] for row in rows], strict=True))
        return handles

    def keys(self, handles: Iterable[int]) -> list[KeptRow]:
        """Return the values of the key of rows, by their handles."""
        return [*map(self._keys.__getitem__, handles)]

    def latest(self, handles: Sequence[int]) -> list[KeptRow]:
        """Return the newest values of the columns that change."""
        if not self.layout.latest:
            return [()] * len(handles)
        return [*map(self._latest.__getitem__, handles)]

    def rows(self, handles: Sequence[int]) -> list[KeptRow]:
        """Return rows by their handles."""
        return [*map(operator.add, self.keys(handles), self.latest(handles))]

    def folded(self, handles: Sequence[int], level: int = 0) -> list[int]:
        """Return the handle of the row to which each row folds."""
        known = self._folded[level]
        new = [handle for handle in handles if known.get(handle) not in self._keys]
        left = left_of(self.keys(new), self.layout.table, level)
        known.update(zip(new, self.with_left(left, level), strict=True))
        return [*map(known.__getitem__, handles)]

    def with_left(self, left: Sequence[KeptRow], level: int = 0) -> list[int]:
        """Return the handles of the folded rows of which this is left."""
        known = self._left[level]
        new = [each for each in dict.fromkeys(left) if each not in known]
        handles = self.of([folded_row(each, self.layout.table, level) for each in new])
        known.update(zip(new, handles, strict=True))
        self._folded[level].update(zip(handles, handles, strict=True))
        return [*map(known.__getitem__, left)]

    def keep(self, used: set[int]) -> None:
        """Forget every other handle. Their numbers are not used again."""
        for handle in self._keys.keys() - used:
            key = self._keys.pop(handle)
            del self._handles[key]
            self._latest.pop(handle, None)
            for level, folded in enumerate(self._folded):
                if folded.pop(handle, None) == handle:
                    (left,) = left_of([key], self.layout.table, level)
                    del self._left[level][left]


HandlesByTable = Mapping[str, Handles]


def new_handles() -> dict[str, Handles]:
    """Return empty handles for each table."""
    return {table: Handles(layout) for table, layout in LAYOUTS.items()}


@dataclass(frozen=True, slots=True)
class Cells:
    """The counters of a table that are not 0: keys (handle and counter) in order, and values."""

    keys: Ints
    values: Ints

    @property
    def handles(self) -> Ints:
        """The row of each cell."""
        return self.keys >> COUNTER_BITS

    @property
    def rows(self) -> Ints:
        """The handle of each row, once and in order."""
        handles = self.handles
        return handles[starts(handles)]

    @property
    def counters(self) -> Ints:
        """The number of each cell's counter."""
        return self.keys & COUNTER_MASK


NO_CELLS: Final = Cells(np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True)
class Bucket:
    """The sum of the ticks ``first`` to ``end`` (exclusive), whose times are in the same slot.

    ``slot`` is when the slot begins, in seconds. ``since_ns`` is when the first tick's interval
    began and ``time_ns`` when the last one ended; ``covered_ns`` is the sum of their lengths.
    ``cumulative`` is the last tick's.
    """

    slot: int
    first: int
    end: int
    since_ns: int
    time_ns: int
    now_ns: int
    covered_ns: int
    host: str
    boot_id: str
    epoch: str
    totals: Ints
    tables: Mapping[str, Cells]
    cumulative: Ints | None = None

    @property
    def cells(self) -> int:
        """How many numbers it has."""
        return sum(len(cells.keys) for cells in self.tables.values())


def missed(tick: Tick, last: Bucket | None) -> Tick | None:
    """Return what was moved between the newest recorded bucket and a tick, as a tick without rows.

    Of the same run of the daemon it is exact. Of a later run it is what that one counted before
    the tick; while no daemon ran is a gap. None if nothing was missed, or if it is not known.
    """
    if last is None or tick.cumulative is None:
        return None
    interval_ns = tick.running_ns - tick.interval_ns
    totals = tick.cumulative - tick.totals
    if tick.epoch == last.epoch:
        if last.cumulative is None:
            return None
        interval_ns = tick.now_ns - tick.interval_ns - last.now_ns
        totals = totals - last.cumulative
    if totals.min() < 0 or not totals.any():
        return None
    return replace(
        tick,
        time_ns=max(0, tick.time_ns - tick.interval_ns),
        now_ns=max(0, tick.now_ns - tick.interval_ns),
        interval_ns=max(0, interval_ns),
        totals=totals,
        tables={},
        cumulative=tick.cumulative - tick.totals,
    )


def bucket_of(tick: Tick, number: int, handles: HandlesByTable) -> Bucket:
    """Make the bucket of one tick with its number."""
    return Bucket(
        slot=tick.time_ns // _SECOND,
        first=number,
        end=number + 1,
        since_ns=max(0, tick.time_ns - tick.interval_ns),
        time_ns=tick.time_ns,
        now_ns=tick.now_ns,
        covered_ns=tick.interval_ns,
        host=tick.host,
        boot_id=tick.boot_id,
        epoch=tick.epoch,
        totals=tick.totals,
        tables={
            table: _cells(tick.tables[table], handles[table]) if table in tick.tables else NO_CELLS
            for table in LAYOUTS
        },
        cumulative=tick.cumulative,
    )


def _cells(moved: RowsMoved, handles: Handles) -> Cells:
    numbers = np.array(_handles_of(moved, handles), np.int64)
    order = np.argsort(numbers, kind="stable")
    numbers, deltas = numbers[order], moved.deltas[order]
    rows, counters = np.nonzero(deltas)
    return Cells(*summed(numbers[rows] << COUNTER_BITS | counters, deltas[rows, counters]))


def _handles_of(moved: RowsMoved, handles: Handles) -> list[int]:
    """Return the handle of each row; the quietest flows beyond ``TICK_FLOWS`` are folded."""
    layout = handles.layout
    if layout.table == PROCESSES or len(moved.rows) <= TICK_FLOWS:
        return handles.of(moved.rows)
    numbers = handles.with_left(left_of(moved.rows, layout.table, 0))
    busiest = np.argsort(-(moved.deltas @ layout.traffic), kind="stable")[:TICK_FLOWS].tolist()
    own = handles.of([moved.rows[place] for place in busiest])
    for place, number in zip(busiest, own, strict=True):
        numbers[place] = number
    return numbers


def joined(buckets: Sequence[Bucket], slot: int) -> Bucket:
    """Sum buckets, in their order. There is at least one."""
    first, last = buckets[0], buckets[-1]
    if len(buckets) == 1:
        return first if first.slot == slot else replace(first, slot=slot)
    return replace(
        last,
        slot=slot,
        first=first.first,
        since_ns=min(bucket.since_ns for bucket in buckets),
        covered_ns=sum(bucket.covered_ns for bucket in buckets),
        totals=np.sum([bucket.totals for bucket in buckets], axis=0, dtype=np.int64),
        tables={
            table: Cells(
                *summed(
                    np.concatenate([bucket.tables[table].keys for bucket in buckets]),
                    np.concatenate([bucket.tables[table].values for bucket in buckets]),
                )
            )
            for table in LAYOUTS
        },
    )
