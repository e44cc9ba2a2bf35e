"""Spans of time: what was recorded, and the gaps between."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

#: Ticks follow each other; less than this is no gap but the clock being slewed.
_TOLERANCE_NS: Final = 500_000_000
_SECOND: Final = 1_000_000_000


class TimeSpan(NamedTuple):
    """A span of CLOCK_REALTIME in ns, without its end."""

    since_ns: int
    until_ns: int

    def is_silent(self, begin: int, end: int) -> bool:
        """Whether a gap has all of the seconds from ``begin`` to ``end`` (exclusive).

        A tick counts in the second in which it ends, even where it ends with that second's
        beginning: then the second in which a gap begins is not silent.
        """
        return self.since_ns < begin * _SECOND and end * _SECOND <= self.until_ns


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
