"""What the rows of the kernel's tables moved in one tick, the last bytes of those that left too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbmond.store.rows import Moved, RowState, RowTable
from pbmond.store.values import VALUES


@dataclass(frozen=True, slots=True)
class Movement:
    """One table's tick in parts: what its reading showed, and what rows that left moved after it.

    A part is the table's state, the slot of each row that moved, and what it moved.
    """

    parts: tuple[tuple[RowState, NDArray[np.int32], Moved], ...]

    def rows(self) -> tuple[RowState, NDArray[np.uint64]]:
        """Return the rows that moved, each once, and their (rows, len(VALUES)) increases.

        A row that left has the slot of its process, and counters as they were read.
        """
        state = self.parts[0][0]  # the others have the same rows
        index = np.concatenate([moved.index for _, _, moved in self.parts])
        slots = np.concatenate([slots for _, slots, _ in self.parts])
        increases = np.concatenate([moved.deltas for _, _, moved in self.parts])
        grown = increases.any(axis=1)
        index, first, row = np.unique(index[grown], return_index=True, return_inverse=True)
        sums = np.zeros((len(index), len(VALUES)), np.uint64)
        np.add.at(sums, row, increases[grown])
        rows = RowState(
            state.keys[index],
            state.counters[index],
            slots[grown][first],
            state.deltas[:, index],
            state.last_ns[index],
            state.open[index],
            len(index),
        )
        return rows, sums


class Movements:
    """Collects the parts of one tick."""

    def __init__(self) -> None:
        self._parts: list[tuple[RowTable, RowState, NDArray[np.int32], Moved]] = []

    def add(self, table: RowTable, slots: NDArray[np.int32], moved: Moved) -> None:
        """Take what rows of a table moved, and the slot of each."""
        self._parts.append((table, table.state, slots, moved))

    def of(self, table: RowTable) -> Movement:
        """Return the movement of one table."""
        return Movement(
            tuple((state, slots, moved) for of, state, slots, moved in self._parts if of is table)
        )
