"""The last rates of every process and of the host: one immutable plane a tick."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pbmond.fields import HISTORY, RATES

#: Rows of a plane, as indexes of RATES.
RATE_INDEXES = tuple(RATES.index(name) for name in HISTORY)


@dataclass(frozen=True, slots=True)
class Plane:
    """One tick: ``host`` is (4,) bytes/s, ``processes`` (4, slots) bytes/s; NaN is not known."""

    tick: int
    host: NDArray[np.float32]
    processes: NDArray[np.float32]


class History:
    """Keeps the newest ``length`` planes; single precision, for curves and not for sums."""

    def __init__(self, length: int) -> None:
        self._planes: deque[Plane] = deque(maxlen=length)

    def record(self, plane: Plane) -> None:
        """Append ``plane``, or put it in place of the newest one of the same tick."""
        if self._planes and self._planes[-1].tick == plane.tick:
            self._planes.pop()
        self._planes.append(plane)

    def reorder(self, order: NDArray[np.intp]) -> None:
        """Keep the slots ``order`` only, in that order."""
        planes = [_reordered(plane, order) for plane in self._planes]
        self._planes = deque(planes, self._planes.maxlen)

    def planes(self) -> tuple[Plane, ...]:
        """Return the planes, oldest first; they never change."""
        return tuple(self._planes)


def _reordered(plane: Plane, order: NDArray[np.intp]) -> Plane:
    # Slots that came later are missing from it.
    inside = order < plane.processes.shape[1]
    processes = np.full((len(plane.processes), len(order)), np.nan, plane.processes.dtype)
    processes[:, inside] = plane.processes[:, order[inside]]
    return replace(plane, processes=processes)


def host_samples(planes: Sequence[Plane]) -> dict[str, list[float | None]]:
    """Return the host's samples by the names of HISTORY, oldest first."""
    return _named([plane.host for plane in planes])


def sum_samples(
    planes: Sequence[Plane], slots: NDArray[np.intp], born: NDArray[np.uint64]
) -> dict[str, list[float | None]]:
    """Return the sum over ``slots``; ``born`` is the tick in which each slot got its process.

    Planes from before the first of them was born are left out.
    """
    samples = []
    for plane in planes:
        mine = slots[born <= plane.tick]
        if len(mine):
            # In double precision, because thousands of rounding errors would add up.
            samples.append(plane.processes[:, mine].sum(axis=1, dtype=np.float64))
    return _named(samples)


def _named(samples: Sequence[NDArray[np.floating]]) -> dict[str, list[float | None]]:
    return {
        name: [None if np.isnan(sample[row]) else float(sample[row]) for sample in samples]
        for row, name in enumerate(HISTORY)
    }
