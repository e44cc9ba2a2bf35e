"""Buckets: what moved in one interval of a tier, as integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from pbmon_client.history.handles import RowValues
from pbmon_client.history.layout import LAYOUTS, TOTALS
from pbmon_client.history.packing import Ints, starts, summed

#: Counters of a table are numbered below this. A cell's key is its row's handle and that number.
COUNTER_BITS: Final = 6
COUNTER_MASK: Final = (1 << COUNTER_BITS) - 1


@dataclass(frozen=True, slots=True)
class RowsMoved:
    """Rows of a table that moved, and their deltas (rows by counters)."""

    rows: RowValues
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
        texts, places = moved.rows.texts, moved.rows.places
        if texts.keys() != layout.texts:
            raise ValueError(f"{table}: the texts are not those of the layout")
        whole = moved.rows.numbers.shape[1:] == (len(layout.columns),)
        end = int(places.max(initial=-1)) + 1
        if not whole or len(places) != len(moved.rows) or min(map(len, texts.values())) < end:
            raise ValueError(f"{table}: a row does not have the layout's columns")


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


def missed(tick: Tick, last: Bucket | Tick | None) -> Tick | None:
    """Return what was moved between the newest recorded one and a tick, as a tick without rows.

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
