"""What processes moved in the units that they have left: those bytes stay with those units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pbmond.fields import COUNTERS
from pbmond.store.process_counters import reordered
from pbmond.store.process_texts import Place
from pbmond.store.retired import OTHER

#: A process can move back and forth forever: beyond this, the places it left first are merged.
MAX_PLACES = 16

Sums = NDArray[np.uint64]  # (len(COUNTERS),)


class ProcessPlaces:
    """Sums by slot and place, of the slots whose process has moved at least once."""

    def __init__(self) -> None:
        self._left: dict[int, dict[Place, Sums]] = {}
        self._until: dict[int, Sums] = {}  # the counters when the process moved last

    def leave(self, slot: int, place: Place, counters: Sums) -> None:
        """Give ``place`` what the process moved there, now that it has left it."""
        left = self._left.setdefault(slot, {})
        here = counters - self._until.get(slot, np.uint64(0))
        before = left.pop(place, None)
        left[place] = here if before is None else before + here
        self._until[slot] = counters.copy()
        if len(left) > MAX_PLACES:
            oldest = next(each for each in left if each != (OTHER, None))
            left[OTHER, None] = left.get((OTHER, None), np.uint64(0)) + left.pop(oldest)

    def reorder(self, order: list[int]) -> None:
        """Keep the slots ``order`` only, in that order."""
        self._left, self._until = reordered(self._left, order), reordered(self._until, order)

    def divide(self, slot: int, place: Place, counters: Sums) -> list[tuple[Place, Sums]]:
        """Forget a slot; return its final ``counters`` by place, with the last ``place`` first."""
        left = self._left.pop(slot, {})
        here = counters - self._until.pop(slot, np.zeros(len(COUNTERS), np.uint64))
        if place in left:
            here = here + left.pop(place)
        return [(place, here), *left.items()]
