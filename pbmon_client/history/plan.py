"""Which tier answers for which part of a range: the coarsest that fits, and no tick twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final, NamedTuple

from pbmon_client.history.tiers import TIERS

_ALWAYS: Final = -inf


@dataclass(frozen=True, slots=True)
class TierKept:
    """What a tier has: its oldest tick and second, and ``last``, the first tick that it has not.

    An empty tier has ``last`` 0. ``time_ns`` is the newest time.
    """

    oldest: int = 0
    since: int = 0
    last: int = 0
    time_ns: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """The buckets of ``tier`` in slots from ``begin`` to ``end``, of ticks from ``first`` on."""

    tier: int
    begin: int
    end: int
    first: int


def reach(kept: Sequence[TierKept]) -> list[float]:
    """Return the second from which each tier has everything that the store has.

    A tier that is as old as the store has everything: before it there was nothing.
    """
    store = min((each.oldest for each in kept if each.last), default=0)
    return [
        (_ALWAYS if each.oldest <= store else each.since) if each.last else inf for each in kept
    ]


def rounded(since: int, until: int, reaches: Sequence[float]) -> tuple[int, int]:
    """Round a range outward to the buckets that are kept of its ends."""
    first, last = (width_at(second, reaches) for second in (since, until - 1))
    return since // first * first, -(-until // last) * last


def width_at(second: int, reaches: Sequence[float]) -> int:
    """Return the width of the finest tier that goes back to a second, 1 if none does."""
    widths = (tier.width for tier, since in zip(TIERS, reaches, strict=True) if second >= since)
    return next(widths, TIERS[0].width)


def pieces(
    since: int, until: int, kept: Sequence[TierKept], *, within: int | None = None
) -> Iterator[Piece]:
    """Yield the pieces of a rounded range.

    A tick counts in the coarsest tier whose slot is inside the range and whose blocks have it.
    If ``within`` is given, no slot lies across a multiple of so many seconds after ``since``.
    """
    usable = [
        place
        for place, tier in enumerate(TIERS)
        if kept[place].last
        and (within is None or (within % tier.width == 0 and since % tier.width == 0))
    ]
    yield from _cut(_KeptTiers(kept, reach(kept)), usable, Piece(0, since, until, 0))


class _KeptTiers(NamedTuple):
    tiers: Sequence[TierKept]
    reaches: Sequence[float]


def _cut(kept: _KeptTiers, usable: Sequence[int], wanted: Piece) -> Iterator[Piece]:
    """Cut a piece, whose own tier says nothing, into pieces of the usable tiers."""
    if wanted.begin >= wanted.end or not usable:
        return
    *finer, place = usable
    width = TIERS[place].width
    goes_back = min(kept.reaches[place], wanted.end)
    start = int(max(wanted.begin, goes_back))
    start, stop = -(-start // width) * width, wanted.end // width * width
    if start >= stop:
        yield from _cut(kept, finer, wanted)
        return
    yield from _cut(kept, finer, replace(wanted, end=start))
    sealed = kept.tiers[place].last
    if wanted.first < sealed or not finer:  # of the finest tier, what is missing is told
        yield Piece(place, start, stop, wanted.first)
    # What is in no block of this tier yet.
    yield from _cut(kept, finer, Piece(place, start, stop, max(wanted.first, sealed)))
    yield from _cut(kept, finer, replace(wanted, begin=stop))
