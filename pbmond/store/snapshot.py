"""One tick, frozen: all that the messages about it are made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbmond.fields import BYTE_COUNTERS, COUNTERS
from pbmond.store.before import Before
from pbmond.store.coverage import CoverageRows
from pbmond.store.movement import Movement
from pbmond.store.process_counters import DISK
from pbmond.store.processes import ProcessRows
from pbmond.store.recent_rates import Plane
from pbmond.store.retired import RetiredRows
from pbmond.store.rows import RowView

_BYTE_ROWS = np.array([COUNTERS.index(name) for name in BYTE_COUNTERS])
_DISK_RATES = np.isin(_BYTE_ROWS, np.arange(DISK.start, DISK.stop))


def process_rates(rows: ProcessRows, interval_ns: int) -> NDArray[np.float64]:
    """Return bytes/s by (len(RATES), slots); NaN is not known."""
    if not interval_ns:
        return np.full((len(_BYTE_ROWS), len(rows.info)), np.nan)
    rates: NDArray[np.float64] = rows.deltas[_BYTE_ROWS] / (interval_ns / 1e9)
    rates[_DISK_RATES] = rows.deltas[_BYTE_ROWS[_DISK_RATES]] / rows.disk_elapsed_s
    return rates


def sum_rates(rates: NDArray[np.float64], interval_ns: int) -> NDArray[np.float64]:
    """Return the sum of what is known of each rate; NaN in an epoch's first snapshot only."""
    return np.nansum(rates, axis=1) if interval_ns else np.full(len(rates), np.nan)


@dataclass(frozen=True, slots=True)
class StoreSnapshot:
    """The state of the store after one tick; ``rates`` is by (len(RATES), slots).

    ``own_retired``, by viewer, is what users saw of processes that they see no longer. ``unread``
    is what rows moved in this tick that came and left without being read, by COUNTERS.
    """

    time_ns: int
    wall_ns: int
    interval_ns: int
    processes: ProcessRows
    rates: NDArray[np.float64]
    retired: RetiredRows
    own_retired: RetiredRows
    flows: RowView
    before: Before
    files: RowView
    flows_moved: Movement
    files_moved: Movement
    unread: NDArray[np.uint64]
    planes: tuple[Plane, ...]
    listening: frozenset[tuple[int, int]]
    coverage: CoverageRows
