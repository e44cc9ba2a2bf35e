"""Spans of time: what was recorded, and the gaps between."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

#: Ticks follow each other; less than this is no gap but the clock being slewed.
_TOLERANCE_NS: Final = 500_000_000
_SECOND: Final = 1_000_000_000


class TimeSpan(NamedTuple):
    """A span of CLOCK_REALTIME in ns, without its end."""

    since_ns: int
    until_ns: int

    def silent(self, begins: Sequence[int], step: int) -> slice:
        """Return which steps have no second outside this gap; ``begins``, in order, are seconds.

        A tick counts in the second in which it ends, even where it ends with that second's
        beginning: then the second in which a gap begins is not silent.
        """
        first = bisect_right(begins, self.since_ns // _SECOND)
        return slice(first, bisect_right(begins, self.until_ns // _SECOND - step, first))


def gaps_between(recorded: Iterable[TimeSpan]) -> list[TimeSpan]:
    """Return the gaps between spans, which may overlap: the clock may have been set."""
    gaps = []
    end = None
    for since_ns, until_ns in sorted(recorded):
        if end is not None and since_ns > end + _TOLERANCE_NS:
            gaps.append(TimeSpan(end, since_ns))
        end = until_ns if end is None else max(end, until_ns)
    return gaps


def has_gap(since_ns: int, time_ns: int, covered_ns: int) -> bool:
    """Whether a block or bucket covers less than the time that it spans."""
    return covered_ns + _TOLERANCE_NS < time_ns - since_ns
