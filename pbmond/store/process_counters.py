"""The cumulative counters of processes, and what they were when the tick began."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from pbmond.fields import CLASSES, COUNTERS, counter_names
from pbmond.store.values import ROWS

#: The rows of COUNTERS that hold the bytes read from and written to disks.
DISK = slice(COUNTERS.index("disk_read_bytes"), COUNTERS.index("disk_write_bytes") + 1)

#: The rows that hold the bytes of calls, in and out.
_BY_CALLS = [[COUNTERS.index(counter_names(name)[way]) for name in CLASSES] for way in range(2)]


#: The slots that an array keeps, in their new order.
SlotOrder = NDArray[np.intp] | slice
IN_PLACE: Final = slice(None)

_T = TypeVar("_T")


def resized(array: NDArray[Any], capacity: int, order: SlotOrder = IN_PLACE) -> NDArray[Any]:
    """Copy the elements ``order`` of the last axis, filled up to ``capacity`` by zeros."""
    kept = array[..., order]
    made = np.zeros((*array.shape[:-1], capacity), array.dtype)
    made[..., : kept.shape[-1]] = kept
    return made


def reordered(values: dict[int, _T], order: list[int]) -> dict[int, _T]:
    """Return the values of the slots ``order``, by their places in it."""
    return {place: values[slot] for place, slot in enumerate(order) if slot in values}


class ProcessCounters:
    """Arrays of (len(COUNTERS), slots)."""

    def __init__(self, capacity: int) -> None:
        self._now = np.zeros((len(COUNTERS), capacity), np.uint64)
        self._before = np.zeros_like(self._now)
        #: By slot: something but disk bytes moved in this tick.
        self.active = np.zeros(capacity, np.bool_)

    def resize(self, capacity: int, order: SlotOrder = IN_PLACE) -> None:
        """Make room for ``capacity`` slots: those of ``order``, and free ones."""
        self._now = resized(self._now, capacity, order)
        self._before = resized(self._before, capacity, order)
        self.active = resized(self.active, capacity, order)

    def begin(self, high: int) -> None:
        """Start a tick; no slot from ``high`` on is in use."""
        self._before[:, :high] = self._now[:, :high]
        self.active[:] = False

    def add(
        self, slots: NDArray[np.int32], classes: NDArray[np.uint8], deltas: NDArray[np.uint64]
    ) -> None:
        """Add ``deltas`` (rows, len(VALUES)) to the counters of each row's slot and class."""
        capacity = self._now.shape[1]
        flat = ROWS[classes] * capacity + slots[:, np.newaxis]
        np.add.at(self._now.reshape(-1), flat.reshape(-1), deltas.reshape(-1))
        self.active[slots] = True

    def set_disk(self, slot: int, values: Sequence[int]) -> None:
        """Set the bytes read from and written to disks."""
        self._now[DISK, slot] = values

    def moved(self, slots: NDArray[np.intp]) -> NDArray[np.uint64]:
        """Return how much each of ``slots`` moved in this tick: bytes and calls of all classes."""
        moved = np.zeros(len(slots), np.uint64)
        active = np.flatnonzero(self.active[slots])
        some = slots[active]
        moved[active] = (self._now[:, some] - self._before[:, some]).sum(axis=0)
        return moved

    def moved_nothing(self, slot: int) -> bool:
        """Return whether all counters of a slot are zero."""
        return not self._now[:, slot].any()

    def calls_moved(self, slot: int) -> tuple[int, int]:
        """Return the bytes of all classes that calls of a slot have moved, in and out."""
        into, out = (int(self._now[rows, slot].sum()) for rows in _BY_CALLS)
        return into, out

    def now(self, slot: int) -> NDArray[np.uint64]:
        """Return a copy of the counters of a slot."""
        return self._now[:, slot].copy()

    def before(self, slot: int) -> NDArray[np.uint64]:
        """Return the counters of a slot as they were when the tick began."""
        return self._before[:, slot]

    def clear(self, slot: int) -> NDArray[np.uint64]:
        """Set a slot to zero and return its final counters."""
        final: NDArray[np.uint64] = self._now[:, slot].copy()
        self._now[:, slot] = self._before[:, slot] = 0
        return final

    def freeze(self, high: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Copy the counters of the first ``high`` slots, and what moved in this tick."""
        counters = self._now[:, :high].copy()
        return counters, counters - self._before[:, :high]
