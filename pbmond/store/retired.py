"""Counters of processes that are no longer rows, by unit and user; bounded, and nothing is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pbmond.fields import COUNTERS


class Group(NamedTuple):
    """Whose bytes they were; None: not known, or of no unit, or of no container."""

    unit: bytes | None
    container: bytes | None
    uid: int


#: Units come and go (each container is one), so those that have been quiet longest share a row.
OTHER = b"(other)"
MAX_GROUPS = 1000


@dataclass(frozen=True, slots=True)
class RetiredRows:
    """``groups`` and ``processes`` are parallel; ``counters`` is (len(COUNTERS), rows)."""

    groups: tuple[Group, ...]
    processes: NDArray[np.uint64]
    counters: NDArray[np.uint64]


class Retired:
    """Sums by group; ``rows()`` is rebuilt only after a change."""

    def __init__(self, max_groups: int = MAX_GROUPS) -> None:
        self._max_groups = max_groups
        self._sums: dict[Group, NDArray[np.uint64]] = {}  # the last element counts processes
        self._rows: RetiredRows | None = None

    def add(self, group: Group, processes: int, counters: NDArray[np.uint64]) -> None:
        """Add one process's final ``counters`` (len(COUNTERS),) to ``group``."""
        self._rows = None
        self._merge(group, np.append(counters, np.uint64(processes)))
        if len(self._sums) > self._max_groups:
            oldest = next((each for each in self._sums if each.unit != OTHER), None)
            if oldest is not None:
                self._merge(Group(OTHER, None, oldest.uid), self._sums.pop(oldest))

    def _merge(self, group: Group, sums: NDArray[np.uint64]) -> None:
        before = self._sums.pop(group, None)  # re-inserted at the end: the newest
        self._sums[group] = sums if before is None else before + sums

    def rows(self) -> RetiredRows:
        """Return all groups; the arrays never change."""
        if self._rows is None:
            sums = np.array(list(self._sums.values()), np.uint64)
            sums = np.ascontiguousarray(sums.reshape(-1, len(COUNTERS) + 1).T)
            self._rows = RetiredRows(tuple(self._sums), sums[-1], sums[:-1])
        return self._rows
