"""What connections had moved before counting began, found for the rows of any reading."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pbmond.fields import NO_COUNT
from pbmond.kernel.records import BEFORE, FLAG_OPENED

_WAYS = ("rx_bytes", "tx_bytes")


class Before:
    """A baseline of connections, without what was counted while it was read; never changes."""

    def __init__(
        self,
        baseline: NDArray[np.void] | None = None,
        keys: NDArray[np.void] | None = None,
        counters: NDArray[np.void] | None = None,
    ) -> None:
        """``keys`` and ``counters`` are the rows of the first reading after ``baseline``."""
        found = np.zeros(0, BEFORE) if baseline is None else baseline
        self._known = found[np.argsort(found["inode"], kind="stable")]
        if keys is None or counters is None or not len(found):
            return
        places, same = self._find(keys, counters)
        for way in _WAYS:
            # Of a socket in several processes, all of their rows together.
            counted = np.zeros(len(self._known), np.uint64)
            np.add.at(counted, places[same], counters[way][same])
            self._known[way] -= np.minimum(counted, self._known[way])

    def of(self, keys: NDArray[np.void], counters: NDArray[np.void]) -> NDArray[np.uint64]:
        """Return (2, rows): bytes received and sent; NO_COUNT is not known.

        Every row of a connection has those of the whole connection.
        """
        moved = np.full((2, len(keys)), NO_COUNT, np.uint64)
        if len(self._known) and len(keys):
            places, same = self._find(keys, counters)
            for row, way in zip(moved, _WAYS, strict=True):
                row[same] = self._known[way][places[same]]
        return moved

    def _find(
        self, keys: NDArray[np.void], counters: NDArray[np.void]
    ) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return for each row a place in the baseline, and whether it is of the same connection."""
        known = self._known
        places = np.searchsorted(known["inode"], counters["detail"])
        places[places == len(known)] = 0
        theirs = known[places]
        # The number of a socket that connects again stays the same.
        same = (counters["detail"] == theirs["inode"]) & (counters["flags"] & FLAG_OPENED == 0)
        same &= counters["netns"] == theirs["netns"]
        for port in ("local_port", "remote_port"):
            same &= keys[port] == theirs[port]
        return places, np.asarray(same)
