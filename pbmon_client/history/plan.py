"""Which tier answers for which part of a range: the coarsest that fits, and no tick twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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


class Piece(NamedTuple):
    """The buckets of ``tier`` in slots from ``begin`` to ``end``, of ticks ``first`` to ``last``.

    Both ends are exclusive.
    """

    tier: int
    begin: int
    end: int
    first: int
    last: float = inf


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
        # What is missing of the finest tier is told even if nothing is left of it.
        if (kept[place].last or not place)
        and (within is None or (within % tier.width == 0 and since % tier.width == 0))
    ]
    yield from _cut(kept, usable, Piece(0, since, until, 0))


def _cut(kept: Sequence[TierKept], usable: Sequence[int], wanted: Piece) -> Iterator[Piece]:
    """Cut a piece, whose own tier says nothing, into pieces of the usable tiers.

    Which ticks a tier has is known by their numbers, not by their times: the clock may have been
    set back.
    """
    if wanted.begin >= wanted.end or wanted.first >= wanted.last or not usable:
        return
    *finer, place = usable
    width = TIERS[place].width
    start, stop = -(-wanted.begin // width) * width, wanted.end // width * width
    if start >= stop:
        yield from _cut(kept, finer, wanted)
        return
    inside = wanted._replace(tier=place, begin=start, end=stop)
    oldest, sealed = kept[place].oldest, kept[place].last
    if not finer:  # of the finest tier, what is missing is told
        yield inside
    elif wanted.first < sealed and oldest < wanted.last:
        yield inside._replace(first=max(wanted.first, oldest), last=min(wanted.last, sealed))
    yield from _cut(kept, finer, wanted._replace(end=start))
    # What this tier has no more, and what is in none of its blocks yet.
    yield from _cut(kept, finer, inside._replace(last=min(wanted.last, oldest)))
    yield from _cut(kept, finer, inside._replace(first=max(wanted.first, sealed)))
    yield from _cut(kept, finer, wanted._replace(begin=stop))
