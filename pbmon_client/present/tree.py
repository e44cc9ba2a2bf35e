"""Processes as a tree: parents before their children, the busiest branch first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pbmon_client.data.model import Rows


@dataclass(frozen=True, slots=True)
class Tree:
    """Rows of processes in the order of the tree.

    ``wanted`` are the matching rows; the others are their ancestors.
    """

    order: list[int]
    wanted: Collection[int]
    parents: Sequence[int | None]
    last: Collection[int]  # the last ones among their siblings

    def lead(self, row: int) -> str:
        """Return what is drawn before a process's name."""
        parts: list[str] = []
        at = row
        while (parent := self.parents[at]) is not None:
            is_last = at in self.last
            if at == row:
                parts.append("└ " if is_last else "├ ")
            else:
                parts.append("  " if is_last else "│ ")
            at = parent
        return "".join(reversed(parts))


def grow(rows: Rows, wanted: Collection[int], weights: Sequence[Any], *, reverse: bool) -> Tree:
    """Arrange the wanted processes and their ancestors, each under its parent.

    If weights are numbers, siblings are ordered by the sums of their whole branches, the largest
    first; texts order them by themselves.
    """
    parents = rows.derived("parents", lambda: _parents(rows))
    chosen = set(wanted)
    kept = _with_ancestors(chosen, parents)
    children: dict[int | None, list[int]] = {}
    for row in sorted(kept):
        children.setdefault(parents[row], []).append(row)
    numeric = not any(isinstance(value, (str, bytes)) for value in weights)
    if numeric:
        weights = _branch_weights(weights, parents, kept)
    for siblings in children.values():
        if len(siblings) > 1:
            _sort(siblings, weights, descending=numeric != reverse)
    last = {siblings[-1] for siblings in children.values()}
    return Tree(_flatten(children), chosen, parents, last)


def _parents(rows: Rows) -> list[int | None]:
    """Return the row of each process's parent: the newest process with that pid, if any."""
    pids = rows.table.columns["pid"]
    starts = rows.table.columns["start_ns"]
    newest = dict(zip(pids, range(len(rows)), strict=True))
    if len(newest) < len(rows):  # some pids were used twice
        for row, pid in enumerate(pids):
            if starts[row] > starts[newest[pid]]:
                newest[pid] = row
    parents: list[int | None] = []
    for row, ppid in enumerate(rows.table.columns["ppid"]):
        parent = newest.get(ppid) if ppid else None
        # A parent is older than its child; otherwise it has only reused the parent's pid. The row
        # breaks ties, so that no two processes can be each other's parents.
        if parent is not None and (starts[parent], parent) >= (starts[row], row):
            parent = None
        parents.append(parent)
    return parents


def _with_ancestors(wanted: Collection[int], parents: Sequence[int | None]) -> set[int]:
    kept = set(wanted)
    for row in wanted:
        parent = parents[row]
        while parent is not None and parent not in kept:
            kept.add(parent)
            parent = parents[parent]
    return kept


def _branch_weights(
    weights: Sequence[Any], parents: Sequence[int | None], kept: Collection[int]
) -> list[float]:
    sums = [0.0] * len(parents)
    for row in kept:
        weight = weights[row]
        if not weight or weight != weight:  # noqa: PLR0124 - NaN is not known
            continue
        at: int | None = row
        while at is not None:
            sums[at] += weight
            at = parents[at]
    return sums


def _sort(siblings: list[int], weights: Sequence[Any], *, descending: bool) -> None:
    known = [row for row in siblings if weights[row] is not None]
    known.sort(key=weights.__getitem__, reverse=descending)
    siblings[:] = known + [row for row in siblings if weights[row] is None]


def _flatten(children: dict[int | None, list[int]]) -> list[int]:
    order: list[int] = []
    stack = children.get(None, [])[::-1]
    while stack:
        row = stack.pop()
        order.append(row)
        mine = children.get(row)
        if mine:
            stack.extend(reversed(mine))
    return order
