"""A tick becomes a bucket: its rows get handles, and those beyond its budget are folded first."""

from __future__ import annotations

from typing import Final

import numpy as np

from pbmon_client.history.buckets import COUNTER_BITS, NO_CELLS, Bucket, Cells, RowsMoved, Tick
from pbmon_client.history.folding import Went
from pbmon_client.history.handles import Handles, HandlesByTable
from pbmon_client.history.layout import FLOWS, LEVELS, OWNER, PROCESSES
from pbmon_client.history.packing import Ints, once, summed
from pbmon_client.history.tiers import TICK_FLOWS, TICK_PROCESSES

_SECOND: Final = 1_000_000_000


def bucket_of(tick: Tick, number: int, handles: HandlesByTable) -> Bucket:
    """Make the bucket of one tick with its number.

    ``TICK_PROCESSES`` processes stay, and ``TICK_FLOWS`` connections and files each: the busiest.
    What the others moved is their folded rows'.
    """
    tables = dict.fromkeys((PROCESSES, *FLOWS), NO_CELLS)
    went = None
    if PROCESSES in tick.tables:
        moved = tick.tables[PROCESSES]
        rows, went = _processes(moved, handles[PROCESSES])
        tables[PROCESSES] = _cells(rows, moved.deltas)
    for table in FLOWS:
        if table in tick.tables:
            moved = tick.tables[table]
            tables[table] = _cells(_flows(moved, handles[table], went), moved.deltas)
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


def _processes(moved: RowsMoved, handles: Handles) -> tuple[Ints, Went | None]:
    """Return the handle of each process, and where those went that are folded."""
    if len(moved.rows) <= TICK_PROCESSES:
        return handles.of(moved.rows), None
    order = _busiest(moved, handles)
    kept, rest = order[:TICK_PROCESSES], order[TICK_PROCESSES:]
    numbers = np.empty(len(order), np.int64)
    numbers[kept] = handles.of(moved.rows.take(kept))
    others = moved.rows.take(rest)
    for level in range(LEVELS[PROCESSES]):
        targets = handles.with_left(handles.left_of_new(others, level), level)
        if len(once(targets)) <= TICK_PROCESSES:
            break
    numbers[rest] = targets
    owner = OWNER[PROCESSES]
    return numbers, Went(others.numbers[:, owner], handles.rows(targets)[:, owner])


def _flows(moved: RowsMoved, handles: Handles, went: Went | None) -> Ints:
    """Return the handle of each connection or file."""
    if len(moved.rows) <= TICK_FLOWS and went is None:
        return handles.of(moved.rows)
    left = handles.left_of_new(moved.rows)
    order = _busiest(moved, handles)
    if went is not None:
        order = order[~went.follow(left)[order]]
    kept = order[:TICK_FLOWS]
    numbers = handles.with_left(left)
    own = handles.of(moved.rows.take(kept))
    handles.remember_folded(own, numbers[kept])
    numbers[kept] = own
    return numbers


def _busiest(moved: RowsMoved, handles: Handles) -> Ints:
    """Return the rows, the busiest first."""
    return np.argsort(-(moved.deltas @ handles.layout.traffic), kind="stable")


def _cells(handles: Ints, deltas: Ints) -> Cells:
    rows, counters = np.nonzero(deltas)
    return Cells(*summed(handles[rows] << COUNTER_BITS | counters, deltas[rows, counters]))
