"""Retention: which files go, by age and by size."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from pbmon_client.history.segments import SegmentFile
from pbmon_client.history.tiers import KEEPS, TIERS

#: The default size of a store, in bytes.
DEFAULT_SIZE: Final = 200 << 20


def too_old(
    files: Iterable[SegmentFile], writing: Collection[str], now: int, keeps: Sequence[int] = KEEPS
) -> list[SegmentFile]:
    """Return the files that are older than ``keeps`` (s, by tier); none that is being written."""
    return [
        each
        for each in files
        if each.path.name not in writing and each.end < now - keeps[each.tier]
    ]


def too_large(
    files: Iterable[SegmentFile], writing: Collection[str], excess: int, size: int
) -> list[SegmentFile]:
    """Return files that have ``excess`` bytes, or all that may go if those are not enough.

    The oldest file goes of the tier that is farthest above its share of ``size``.
    """
    left = list(files)
    used = [sum(each.size for each in left if each.tier == tier) for tier in range(len(TIERS))]
    go: list[SegmentFile] = []
    may_go = [each for each in left if each.path.name not in writing]
    while excess > 0 and may_go:
        tier = max({each.tier for each in may_go}, key=lambda t: used[t] / (TIERS[t].share * size))
        oldest = min((each for each in may_go if each.tier == tier), key=lambda each: each.begin)
        may_go.remove(oldest)
        go.append(oldest)
        used[tier] -= oldest.size
        excess -= oldest.size
    return go
