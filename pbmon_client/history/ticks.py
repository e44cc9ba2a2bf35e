"""Ticks become buckets: rows get handles, and those beyond the budget of a tick are folded first.

Several ticks are made buckets at once, because that takes little longer than one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from pbmon_client.history.buckets import COUNTER_BITS, NO_CELLS, Bucket, Cells, Tick
from pbmon_client.history.folding import Went
from pbmon_client.history.handles import Handles, HandlesByTable, RowValues
from pbmon_client.history.layout import FLOWS, LEVELS, OWNER, PROCESSES
from pbmon_client.history.packing import Chosen, Ints, Unsigned, once, starts, summed
from pbmon_client.history.tiers import TICK_FLOWS, TICK_PROCESSES

_SECOND: Final = 1_000_000_000
#: A cell's key has the number of its tick from this bit on; no handle is so large.
_TICK_BIT: Final = 56
#: Ticks that are made buckets at once.
MOST_TICKS: Final = 100


class _RowsOfTicks(NamedTuple):
    """The rows of a table that moved in some ticks, and the tick of each row, in order."""

    rows: RowValues
    deltas: Ints
    tick: Ints

    def most(self) -> int:
        """Return how many rows moved in the tick with the most."""
        return int(np.bincount(self.tick).max(initial=0))


def buckets_of_ticks(ticks: Sequence[Tick], number: int, handles: HandlesByTable) -> list[Bucket]:
    """Make the buckets of at most ``MOST_TICKS`` ticks; the first tick has that number.

    ``TICK_PROCESSES`` processes stay of each, and ``TICK_FLOWS`` connections and files each: the
    busiest. What the others moved is their folded rows'.
    """
    tables: dict[str, list[Cells]] = {}
    went = None
    for table in (PROCESSES, *FLOWS):
        moved = _together(ticks, table)
        if moved is None:
            tables[table] = [NO_CELLS] * len(ticks)
            continue
        if table == PROCESSES:
            rows, went = _processes(moved, handles[table])
        else:
            rows = _flows(moved, handles[table], went)
        tables[table] = [*_cells(rows, moved, len(ticks))]
    return [
        _bucket(tick, number + at, {table: cells[at] for table, cells in tables.items()})
        for at, tick in enumerate(ticks)
    ]


def _together(ticks: Sequence[Tick], table: str) -> _RowsOfTicks | None:
    """Return the rows of a table of all ticks, None if it has none."""
    moved = [(at, tick.tables[table]) for at, tick in enumerate(ticks) if table in tick.tables]
    if not moved:
        return None
    tick = np.repeat([at for at, _ in moved], [len(each.rows) for _, each in moved])
    return _RowsOfTicks(
        RowValues.joined([each.rows for _, each in moved]),
        np.concatenate([each.deltas for _, each in moved]),
        tick,
    )


def _bucket(tick: Tick, number: int, tables: dict[str, Cells]) -> Bucket:
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
        tables=tables,
        cumulative=tick.cumulative,
    )


def _processes(moved: _RowsOfTicks, handles: Handles) -> tuple[Ints, Went | None]:
    """Return the handle of each process, and where those went that are folded, by tick."""
    if moved.most() <= TICK_PROCESSES:
        return handles.of(moved.rows), None
    kept = _busiest(moved, np.arange(len(moved.rows)), handles, TICK_PROCESSES)
    rest = np.ones(len(moved.rows), np.bool_)
    rest[kept] = False
    numbers = np.empty(len(rest), np.int64)
    numbers[kept] = handles.of(moved.rows.take(kept))
    others, tick = moved.rows.take(np.flatnonzero(rest)), moved.tick[rest]
    for level in range(LEVELS[PROCESSES]):
        targets = handles.with_left(handles.left_of_new(others, level), level)
        distinct = once(tick << _TICK_BIT | targets) >> _TICK_BIT
        if np.bincount(distinct).max(initial=0) <= TICK_PROCESSES:
            break
    numbers[rest] = targets
    owner = OWNER[PROCESSES]
    from_to = others.numbers[:, owner], handles.rows(targets)[:, owner]
    return numbers, Went(*(_in_tick(tick, owners) for owners in from_to))


def _flows(moved: _RowsOfTicks, handles: Handles, went: Went | None) -> Ints:
    """Return the handle of each connection or file."""
    if went is None and moved.most() <= TICK_FLOWS:
        return handles.of(moved.rows)
    left = _in_tick(moved.tick, handles.left_of_new(moved.rows))
    stays: Chosen = np.ones(len(left), np.bool_) if went is None else ~went.follow(left)
    kept = _busiest(moved, np.flatnonzero(stays), handles, TICK_FLOWS)
    numbers = handles.with_left(left[:, 1:])
    own = handles.of(moved.rows.take(kept))
    handles.remember_folded(own, numbers[kept])
    numbers[kept] = own
    return numbers


def _in_tick(tick: Ints, rows: Unsigned) -> Unsigned:
    """Put the tick before the columns of each row."""
    return np.column_stack((tick.astype(np.uint64), rows))


def _busiest(moved: _RowsOfTicks, among: Ints, handles: Handles, most: int) -> Ints:
    """Return which of some rows are the ``most`` busiest of their tick, the busiest first."""
    tick = moved.tick[among]
    order = np.lexsort((-(moved.deltas[among] @ handles.layout.traffic), tick))
    first = starts(tick)  # it is in order, before and after
    rank = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
    return among[order[rank < most]]


def _cells(handles: Ints, moved: _RowsOfTicks, ticks: int) -> Iterator[Cells]:
    """Yield the cells of each tick."""
    rows, counters = np.nonzero(moved.deltas)
    keys = handles[rows] << COUNTER_BITS | counters
    keys, values = summed(moved.tick[rows] << _TICK_BIT | keys, moved.deltas[rows, counters])
    ends = np.searchsorted(keys, np.arange(ticks + 1) << _TICK_BIT).tolist()
    keys &= (1 << _TICK_BIT) - 1
    for begin, end in pairwise(ends):
        yield Cells(keys[begin:end], values[begin:end])
