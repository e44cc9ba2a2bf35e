"""Folding: a bucket with too many rows keeps the busiest, and sums the others to fewer rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from pbmon_client.history.buckets import COUNTER_BITS, Bucket, Cells, Handles, HandlesByTable
from pbmon_client.history.layout import (
    FLOWS,
    LAYOUTS,
    LEVELS,
    PROCESSES,
    KeptRow,
    folded_flow,
    folded_process,
    kept_of_folded,
    owner_of,
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
    cells, went = _fewer_processes(bucket.tables[PROCESSES], handles[PROCESSES], processes)
    row_of = handles[PROCESSES].row
    owners = {
        whose(row_of(row), PROCESSES): whose(row_of(target), PROCESSES)
        for row, target in went.items()
    }
    tables = {PROCESSES: cells}
    for table in FLOWS:
        followed = _follow(bucket.tables[table], handles[table], table, owners)
        rest = _quiet(followed, table, flows)  # none is of a folded process any more
        tables[table] = _moved(followed, _flow_targets(rest, handles[table], table, {}))
    return replace(bucket, tables=tables)


def _quiet(cells: Cells, table: str, most: int) -> list[int]:
    """Return the rows beyond the ``most`` busiest."""
    if len(cells.keys) <= most:
        return []  # a row has a cell at least
    handles = cells.handles
    first = starts(handles)
    if len(first) <= most:
        return []
    traffic = np.where(_TRAFFIC[table][cells.counters], cells.values, 0)
    busiest = np.argsort(-np.add.reduceat(traffic, first), kind="stable")
    quiet: list[int] = handles[first[busiest[most:]]].tolist()
    return quiet


def _targets(rows: list[int], handles: Handles, level: int) -> dict[int, int]:
    made: dict[Any, int] = {}  # many have the same
    to: dict[int, int] = {}
    for handle, row in zip(rows, handles.rows(rows), strict=True):
        kept = kept_of_folded(row, level)
        target = made.get(kept)
        if target is None:
            target = made[kept] = handles.of(folded_process(row, level))
        to[handle] = target
    return to


def _flow_targets(
    rows: list[int], handles: Handles, table: str, owners: Mapping[KeptRow, KeptRow]
) -> dict[int, int]:
    """Return the folded row of each flow; ``owners`` says where folded processes went."""
    made: dict[KeptRow, int] = {}  # many have the same
    to: dict[int, int] = {}
    for handle, row in zip(rows, handles.rows(rows), strict=True):
        owner = owner_of(row, table)
        target = made.get(owner)
        if target is None:
            process = owner[:-1]
            folded_to = (*owners.get(process, process), owner[-1])
            target = handles.folded.get(folded_to)
            if target is None:
                target = handles.folded[folded_to] = handles.of(folded_flow(folded_to, table))
            made[owner] = target
        to[handle] = target
    return to


def _fewer_processes(cells: Cells, handles: Handles, most: int) -> tuple[Cells, dict[int, int]]:
    """Return the processes that stay, and where each of the others went."""
    went: dict[int, int] = {}
    busy = {*cells.handles.tolist()}
    rest = _quiet(cells, PROCESSES, most)
    busy.difference_update(rest)
    for level in range(LEVELS):
        if not rest:
            break
        to = _targets(rest, handles, level)
        cells = _moved(cells, to)
        went = {row: to.get(target, target) for row, target in {**to, **went}.items()}
        # The busiest folded rows stay as they are too.
        is_other = ~np.isin(cells.handles, [*busy])
        other = Cells(cells.keys[is_other], cells.values[is_other])
        rest = _quiet(other, PROCESSES, most)
        busy.update({*other.handles.tolist()}.difference(rest))
    return cells, {row: target for row, target in went.items() if row != target}


def _moved(cells: Cells, to: Mapping[int, int]) -> Cells:
    """Add rows to other ones."""
    if not to:
        return cells
    old = np.array([*to], np.int64)
    new = np.array([*to.values()], np.int64)
    order = np.argsort(old)
    old, new = old[order], new[order]
    handles: Ints = cells.handles
    place = np.minimum(np.searchsorted(old, handles), len(old) - 1)
    handles = np.where(old[place] == handles, new[place], handles)
    return Cells(*summed(handles << COUNTER_BITS | cells.counters, cells.values))


def _follow(cells: Cells, handles: Handles, table: str, owners: Mapping[KeptRow, KeptRow]) -> Cells:
    """Fold the flows of processes that were folded."""
    if not owners:
        return cells
    moved = cells.rows
    rows = zip(moved, handles.rows(moved), strict=True)
    folded_ = [handle for handle, row in rows if whose(row, table) in owners]
    return _moved(cells, _flow_targets(folded_, handles, table, owners))
