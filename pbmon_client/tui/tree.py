"""Processes as a tree: parents before their children, the busiest branch first; pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pbmon_client.model import Rows


@dataclass(frozen=True, slots=True)
class Branch:
    """One process in the tree; ``lead`` is drawn before its name.

    ``wanted`` tells that it was asked for, and is not only there as the parent of one that was.
    """

    row: int
    lead: str
    wanted: bool


def grow(
    rows: Rows, wanted: Collection[int], weights: Sequence[Any], *, reverse: bool
) -> list[Branch]:
    """Return the wanted processes and their ancestors, each under its parent.

    Siblings are in the order of what their whole branches weigh if weights are numbers, the
    heaviest first, else in the order of their own texts.
    """
    parents = _parents(rows)
    kept = set(wanted)
    for row in wanted:
        parent = parents[row]
        while parent is not None and parent not in kept:
            kept.add(parent)
            parent = parents[parent]
    children: dict[int | None, list[int]] = {}
    for row in sorted(kept):
        children.setdefault(parents[row], []).append(row)
    numeric = not any(isinstance(value, (str, bytes)) for value in weights)
    if numeric:
        weights = _branch_weights(weights, parents, kept)
    for siblings in children.values():
        _sort(siblings, weights, descending=numeric != reverse)
    return _flatten(children, wanted)


def _parents(rows: Rows) -> list[int | None]:
    """Return the row of each process's parent: the newest process with that pid, if any."""
    pids = rows.table.columns["pid"]
    starts = rows.table.columns["start_ns"]
    newest: dict[int, int] = {}
    for row, pid in enumerate(pids):
        if pid not in newest or starts[row] > starts[newest[pid]]:
            newest[pid] = row
    parents = []
    for row, ppid in enumerate(rows.table.columns["ppid"]):
        parent = newest.get(ppid) if ppid else None
        # A parent is older than its child; another process with its pid is not the parent.
        younger = parent is not None and starts[parent] > starts[row]
        parents.append(None if parent == row or younger else parent)
    return _without_circles(parents, starts)


def _without_circles(parents: list[int | None], starts: Sequence[int]) -> list[int | None]:
    # Equal start times could make two processes each other's parents.
    return [
        None if parent is not None and starts[parent] == starts[row] and parent > row else parent
        for row, parent in enumerate(parents)
    ]


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


def _flatten(children: dict[int | None, list[int]], wanted: Collection[int]) -> list[Branch]:
    branches: list[Branch] = []
    # Each entry: the row, what is drawn before its name, and before its children's.
    stack = [(row, "", "") for row in reversed(children.get(None, []))]
    while stack:
        row, lead, below = stack.pop()
        branches.append(Branch(row, lead, row in wanted))
        mine = children.get(row, [])
        for at, child in reversed(list(enumerate(mine))):
            last = at == len(mine) - 1
            stack.append(
                (child, below + ("└ " if last else "├ "), below + ("  " if last else "│ "))
            )
    return branches
