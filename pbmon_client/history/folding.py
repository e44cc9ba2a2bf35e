"""Folding: a bucket with too many rows keeps the busiest, and sums the others to fewer rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from pbmon_client.history.buckets import COUNTER_BITS, Bucket, Cells, Handles, HandlesByTable
from pbmon_client.history.layout import (
    FLOWS,
    LAYOUTS,
    LEVELS,
    OWNER,
    PROCESSES,
    KeptRow,
    left_of,
    whose,
)
from pbmon_client.history.packing import Ints, starts, summed

_TRAFFIC: Final = {table: np.array(layout.traffic) for table, layout in LAYOUTS.items()}


def folded(bucket: Bucket, handles: HandlesByTable, processes: int, flows: int) -> Bucket:
    """Return the bucket with few rows. No counter is lost: what has no row is in a folded one.

    About ``processes`` rows of processes stay, and ``flows`` of connections and of files each. A
    process folds to its user, unit and name; if those are too many, to user and unit, and to its
    user. A connection or file folds to its process.
    """
    cells, owners = _fewer_processes(bucket.tables[PROCESSES], handles[PROCESSES], processes)
    tables = {PROCESSES: cells}
    for table in FLOWS:
        followed = _follow(bucket.tables[table], handles[table], owners)
        rest = _quiet(followed, table, flows)  # none is of a folded process any more
        tables[table] = _moved(followed, rest, handles[table].folded(rest))
    return replace(bucket, tables=tables)


def _quiet(cells: Cells, table: str, most: int) -> list[int]:
    """Return the rows beyond the ``most`` busiest, in their order."""
    if len(cells.keys) <= most:
        return []  # a row has a cell at least
    handles = cells.handles
    first = starts(handles)
    if len(first) <= most:
        return []
    traffic = np.where(_TRAFFIC[table][cells.counters], cells.values, 0)
    busiest = np.argsort(-np.add.reduceat(traffic, first), kind="stable")
    quiet: list[int] = handles[first[np.sort(busiest[most:])]].tolist()
    return quiet


def _fewer_processes(
    cells: Cells, handles: Handles, most: int
) -> tuple[Cells, Mapping[KeptRow, KeptRow]]:
    """Return the processes that stay, and for each of the others to which it went."""
    rest = _quiet(cells, PROCESSES, most)
    if not rest:
        return cells, {}
    went: dict[int, int] = {}
    busy = {*cells.rows.tolist()}.difference(rest)
    for level in range(LEVELS[PROCESSES]):
        targets = handles.folded(rest, level)
        cells = _moved(cells, rest, targets)
        to = dict(zip(rest, targets, strict=True))
        went = {row: to.get(target, target) for row, target in {**to, **went}.items()}
        # The busiest folded rows stay as they are too.
        others = {*targets} - busy
        if len(others) <= most:
            break
        is_other = np.isin(cells.handles, [*others])
        rest = _quiet(Cells(cells.keys[is_other], cells.values[is_other]), PROCESSES, most)
        busy |= others.difference(rest)
    pairs = zip(handles.keys(went), handles.keys(went.values()), strict=True)
    owners = {whose(key, PROCESSES): whose(target, PROCESSES) for key, target in pairs}
    return cells, {owner: target for owner, target in owners.items() if owner != target}


def _follow(cells: Cells, handles: Handles, owners: Mapping[KeptRow, KeptRow]) -> Cells:
    """Fold the flows of processes that were folded; ``owners`` says where those went."""
    if not owners or not len(cells.keys):
        return cells
    rows = cells.rows
    # Flows of one process and class have one folded row, which says whose they are.
    own, place = np.unique(handles.folded(rows.tolist()), return_inverse=True)
    left = left_of(handles.keys(own.tolist()), handles.layout.table, 0)
    went = [owners.get(each[: len(OWNER)]) for each in left]
    goes = np.array([owner is not None for owner in went])
    own[goes] = handles.with_left(
        [
            (*owner, *each[len(OWNER) :])
            for owner, each in zip(went, left, strict=True)
            if owner is not None
        ]
    )
    chosen = goes[place]
    return _moved(cells, rows[chosen], own[place[chosen]])


def _moved(cells: Cells, rows: Sequence[int] | Ints, targets: Sequence[int] | Ints) -> Cells:
    """Add rows, which are in order, to other ones."""
    if not len(rows):
        return cells
    old, new = np.asarray(rows, np.int64), np.asarray(targets, np.int64)
    handles: Ints = cells.handles
    place = np.minimum(np.searchsorted(old, handles), len(old) - 1)
    handles = np.where(old[place] == handles, new[place], handles)
    return Cells(*summed(handles << COUNTER_BITS | cells.counters, cells.values))
