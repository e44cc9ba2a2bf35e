"""Chooses the files whose names are compared in a tick: those that moved last, and the others in turn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pbmond.store.rows import NO_SLOT, RowState


class Naming:
    """What a rename changes is the name of a file that anybody may have open, or had open before.

    Most files are renamed soon after they were written, so half of a budget that does not suffice
    for all of them goes to those that moved last. The other half goes around.
    """

    def __init__(self) -> None:
        self._last = 0  # the id at which the last round stopped

    def due(self, state: RowState, budget: int) -> NDArray[np.uint64]:
        """Return the ids of at most ``budget`` rows, each once."""
        index = np.flatnonzero(state.slots != NO_SLOT)
        ids = state.counters["id"][index]
        if len(ids) <= budget:
            return np.asarray(ids)
        recent = np.argpartition(state.last_ns[index], -(budget // 2))[-(budget // 2) :]
        others = np.sort(np.delete(ids, recent))
        start = int(np.searchsorted(others, self._last, side="right"))
        turn = np.roll(others, -start)[: budget - len(recent)]
        self._last = int(turn[-1])
        return np.concatenate((ids[recent], turn))
