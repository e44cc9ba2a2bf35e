"""Chooses the files whose names are compared in a tick: the last to move, and others in turn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pbmond.store.rows import NO_SLOT, RowState


class Naming:
    """Takes turns among the rows.

    A rename changes the names of files that anybody may have open, or had open before. Most files
    are renamed soon after they were written, so half of a budget that does not suffice for all of
    them goes to those that moved last. The other half goes around.
    """

    def __init__(self) -> None:
        self._turn = 0  # the index at which the last turn ended

    def due(self, state: RowState, budget: int) -> NDArray[np.uint64]:
        """Return the ids of at most ``budget`` rows; some may be there twice."""
        index = np.flatnonzero(state.slots != NO_SLOT)
        if len(index) > budget:
            half = budget // 2
            recent = np.argpartition(state.last_ns[index], -half)[-half:]
            turn = (self._turn + np.arange(budget - half)) % len(index)
            self._turn = int(turn[-1]) + 1
            index = index[np.concatenate((recent, turn))]
        return np.asarray(state.counters["id"][index])
