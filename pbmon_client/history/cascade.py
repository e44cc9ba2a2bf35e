"""The cascade: ticks are summed to buckets of each tier, and buckets become blocks. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import numpy as np

from pbmon_client.history.block import encode_block
from pbmon_client.history.buckets import Bucket, joined
from pbmon_client.history.folding import folded
from pbmon_client.history.handles import SPARE, HandlesByTable
from pbmon_client.history.packing import once
from pbmon_client.history.tiers import HANDED_ON, TIERS, Tier

#: The parts of an open bucket are summed early once they have so many cells, for the memory.
_CELLS: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class SealedBlock:
    """An encoded block; it belongs to the file of ``tier`` that has second ``begin``."""

    tier: int
    begin: int
    last: int
    data: bytes


@dataclass(slots=True)
class _OpenTier:
    """What is open of a tier: the parts of a bucket, the buckets of a block.

    ``sealed`` is the first tick that is in no block.
    """

    tier: Tier
    sealed: int = 0
    parts: list[Bucket] = field(default_factory=list)
    buckets: list[Bucket] = field(default_factory=list)

    @property
    def next(self) -> int:
        """The first tick that it has not."""
        newest = self.parts or self.buckets
        return newest[-1].end if newest else self.sealed

    def is_over(self, second: int) -> bool:
        """Whether the open bucket ends with a tick at this second, which may be an earlier one."""
        width = self.tier.width
        return bool(self.parts) and self.parts[0].slot // width != second // width

    def is_full(self, second: int) -> bool:
        block = self.tier.block
        return bool(self.buckets) and self.buckets[0].slot // block != second // block


class Cascade:
    """Sums buckets upward. ``sealed`` has the first tick of each tier that is in no block yet."""

    def __init__(self, handles: HandlesByTable, sealed: Sequence[int]) -> None:
        self._handles: Final = handles
        self._open: Final = [
            _OpenTier(tier, first) for tier, first in zip(TIERS, sealed, strict=True)
        ]
        self._many = SPARE

    def add(self, bucket: Bucket, number: int = 0) -> list[SealedBlock]:
        """Add a bucket of the tier below tier ``number`` (for tier 0: a tick).

        Returns the blocks that were completed by that, the finest tier's first. All tiers from
        ``number`` on close what is over: where one ends, the finer ones do as well. Where ticks are
        missing, blocks end in all of them, so that readers can tell.
        """
        blocks = self.finish(number) if self._open[number].next < bucket.first else []
        for place in range(number, len(self._open)):
            each = self._open[place]
            if each.is_over(bucket.slot):
                self._close(place)
            if each.is_full(bucket.slot):
                blocks.append(self._seal(place))
        self._put(number, bucket)
        return blocks

    def finish(self, number: int = 0) -> list[SealedBlock]:
        """Close and seal what is open from tier ``number`` on, which are all.

        What comes later in the same slot becomes other buckets.
        """
        places = range(number, len(self._open))
        for place in places:
            self._close(place)
        return [self._seal(place) for place in places if self._open[place].buckets]

    def _put(self, place: int, bucket: Bucket) -> None:
        each = self._open[place]
        if bucket.end <= each.sealed:
            return  # found twice, after damage
        each.parts.append(bucket)
        if len(each.parts) > 1 and sum(part.cells for part in each.parts) > _CELLS:
            self._join(each)

    def _join(self, each: _OpenTier) -> None:
        width = each.tier.width
        bucket = joined(each.parts, each.parts[0].slot // width * width)
        each.parts[:] = [folded(bucket, self._handles, *HANDED_ON)]

    def _close(self, place: int) -> None:
        """End the open bucket of a tier: it waits for its block, and is part of the next tier's."""
        each = self._open[place]
        if not each.parts:
            return
        is_tick = place == 0 and len(each.parts) == 1  # it was folded when it came
        if not is_tick:
            self._join(each)
        whole = each.parts.pop()
        tier = each.tier
        kept = whole if is_tick else folded(whole, self._handles, tier.processes, tier.flows)
        each.buckets.append(kept)
        if place + 1 < len(self._open):
            self._put(place + 1, whole)

    def _seal(self, place: int) -> SealedBlock:
        each = self._open[place]
        buckets, each.buckets = each.buckets, []
        each.sealed = buckets[-1].end
        data = encode_block(place, each.tier.width, buckets, self._handles)
        return SealedBlock(place, buckets[0].slot, each.sealed, data)

    def forget(self, *others: Bucket) -> None:
        """Forget the rows that no open bucket has and none of the others, if they are many.

        They are once there are a quarter more than after the last time, and some.
        """
        if sum(map(len, self._handles.values())) <= self._many:
            return
        buckets = [*chain(others, *(chain(each.parts, each.buckets) for each in self._open))]
        for table, handles in self._handles.items():
            used = np.concatenate([bucket.tables[table].rows for bucket in buckets])
            handles.keep(once(used))
        self._many = sum(map(len, self._handles.values())) * 5 // 4 + SPARE
