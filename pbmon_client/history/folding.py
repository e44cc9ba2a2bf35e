"""Folding: a bucket with too many rows keeps the busiest, and sums the others to fewer rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from pbmon_client.history.buckets import COUNTER_BITS, Bucket, Cells
from pbmon_client.history.handles import Handles, HandlesByTable
from pbmon_client.history.layout import FLOWS, LAYOUTS, LEVELS, OWNER, PROCESSES
from pbmon_client.history.packing import (
    Chosen,
    Ints,
    Unsigned,
    are_in,
    once,
    places_of,
    starts,
    summed,
)

_NONE: Final = np.zeros(0, np.int64)
_TRAFFIC: Final = {table: np.array(layout.traffic) for table, layout in LAYOUTS.items()}


@dataclass(frozen=True, slots=True)
class Went:
    """Processes that were folded, and to which each: ``OWNER`` of rows, the same of both."""

    owners: Unsigned
    targets: Unsigned

    def follow(self, left: Unsigned) -> Chosen:
        """Let flows follow their processes: change what is left of those that do.

        ``left`` is what is left of all flows. Return which do.
        """
        width = self.owners.shape[1]  # it begins with the owner
        place = places_of(left[:, :width], self.owners)
        goes: Chosen = place >= 0
        left[goes, :width] = self.targets[place[goes]]
        return goes


def folded(bucket: Bucket, handles: HandlesByTable, processes: int, flows: int) -> Bucket:
    """Return the bucket with few rows. No counter is lost: what has no row is in a folded one.

    About ``processes`` rows of processes stay, and ``flows`` of connections and of files each. A
    process folds to its user, unit and name; if those are too many, to user and unit, and to its
    user. A connection or file folds to its process.
    """
    cells, went = _fewer_processes(bucket.tables[PROCESSES], handles[PROCESSES], processes)
    tables = {PROCESSES: cells}
    for table in FLOWS:
        followed = _follow(bucket.tables[table], handles[table], went)
        rest = _quiet(followed, table, flows)  # none is of a folded process any more
        tables[table] = _moved(followed, rest, handles[table].folded(rest))
    return replace(bucket, tables=tables)


def _quiet(cells: Cells, table: str, most: int) -> Ints:
    """Return the rows beyond the ``most`` busiest, in their order."""
    if len(cells.keys) <= most:
        return _NONE  # a row has a cell at least
    handles = cells.handles
    first = starts(handles)
    if len(first) <= most:
        return _NONE
    traffic = np.where(_TRAFFIC[table][cells.counters], cells.values, 0)
    busiest = np.argsort(-np.add.reduceat(traffic, first), kind="stable")
    quiet: Ints = handles[first[np.sort(busiest[most:])]]
    return quiet


def _fewer_processes(cells: Cells, handles: Handles, most: int) -> tuple[Cells, Went | None]:
    """Return the processes that stay, and where the others went."""
    rest = _quiet(cells, PROCESSES, most)
    if not len(rest):
        return cells, None
    rows = went = _NONE
    busy = cells.rows[~are_in(cells.rows, rest)]
    for level in range(LEVELS[PROCESSES]):
        targets = handles.folded(rest, level)
        cells = _moved(cells, rest, targets)
        rows, went = np.append(rows, rest), np.append(_moved_rows(went, rest, targets), targets)
        # The busiest folded rows stay as they are too.
        others = once(targets)
        if len(others) <= most:
            break
        others = others[~are_in(others, busy)]
        if len(others) <= most:
            break
        is_other = are_in(cells.handles, others)
        rest = _quiet(Cells(cells.keys[is_other], cells.values[is_other]), PROCESSES, most)
        busy = np.sort(np.append(busy, others[~are_in(others, rest)]))
    gone = rows != went
    owner = OWNER[PROCESSES]
    return cells, Went(handles.rows(rows[gone])[:, owner], handles.rows(went[gone])[:, owner])


def _follow(cells: Cells, handles: Handles, went: Went | None) -> Cells:
    """Fold the flows of processes that were folded."""
    if went is None or not len(cells.keys):
        return cells
    rows = cells.rows
    left = handles.left_of(handles.rows(rows))
    goes = went.follow(left)
    return _moved(cells, rows[goes], handles.with_left(left[goes]))


def _moved(cells: Cells, rows: Ints, targets: Ints) -> Cells:
    """Add rows, which are in order, to other ones."""
    if not len(rows):
        return cells
    handles = _moved_rows(cells.handles, rows, targets)
    return Cells(*summed(handles << COUNTER_BITS | cells.counters, cells.values))


def _moved_rows(handles: Ints, rows: Ints, targets: Ints) -> Ints:
    """Return the handles, but instead of ``rows``, which are in order, their targets."""
    place = np.minimum(np.searchsorted(rows, handles), len(rows) - 1)
    return np.where(rows[place] == handles, targets[place], handles)
