"""The writer of a store: ticks in, files out, and nothing lost when it is killed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

from pbmon_client.history.buckets import (
    NO_CELLS,
    Bucket,
    Tick,
    check,
    joined,
    missed,
)
from pbmon_client.history.cascade import Cascade, SealedBlock
from pbmon_client.history.folding import folded
from pbmon_client.history.handles import new_handles
from pbmon_client.history.loading import DAMAGE, buckets_of, load
from pbmon_client.history.retention import DEFAULT_SIZE
from pbmon_client.history.segments import BlockAt, scan
from pbmon_client.history.storage import Storage
from pbmon_client.history.tail import TailWriter, buckets_of_tail, frames_of
from pbmon_client.history.ticks import MOST_TICKS, buckets_of_ticks
from pbmon_client.history.tiers import HANDED_ON, KEEPS, TIERS

_SECOND: Final = 1_000_000_000
_HOUR_NS: Final = 3600 * _SECOND
#: The clock was set if it and CLOCK_BOOTTIME differ by so much more or less than before.
_STEP_NS: Final = 60 * _SECOND


class HistoryWriter:
    """Writes a store. ``HeldError`` if somebody else does, OSError if it cannot be opened.

    If a file cannot be written later, ``paused`` says why. Ticks are then summed in memory, and
    recorded as one when the next tick can be written.
    """

    def __init__(
        self,
        directory: Path,
        size: int = DEFAULT_SIZE,
        keeps: Sequence[int] = KEEPS,
        *,
        sync: bool = True,
    ) -> None:
        self._handles = new_handles()
        self._told = TailWriter()
        self._unwritten: list[SealedBlock] = []
        self._sealed = False
        self._frames: list[Bucket] = []
        self._waiting: Bucket | None = None
        self._last: Bucket | Tick | None = None
        self._clock = _SteadyClock()
        self.paused: str | None = None
        self._lost = False
        self._storage = Storage(directory, size, keeps, sync=sync)
        try:
            self._cascade, self._number = self._recovered()
        except BaseException:
            self._storage.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def next_tick(self) -> int:
        """The number that the next tick gets. The first of a store is 1."""
        return self._number

    def close(self) -> None:
        """Let another writer in. The open blocks stay in the tail, as after a crash."""
        self._storage.close()

    def tick(self, tick: Tick) -> None:
        """Record one tick, and before it what was missed. ValueError if it is not one."""
        self.ticks([tick])

    def ticks(self, ticks: Sequence[Tick]) -> None:
        """Record some ticks, as one after the other; together they take less time."""
        every: list[Tick] = []
        last = self._last
        for tick in ticks:
            check(tick)
            before = missed(tick, last)
            every += [tick] if before is None else [before, tick]
            last = tick
        if self._lost and every:
            self._say_loss(ticks[0])
        self._last = last
        for begin in range(0, len(every), MOST_TICKS):
            self._record(every[begin : begin + MOST_TICKS])

    def _say_loss(self, tick: Tick) -> None:
        """Say in each tier that what was recorded before this tick is lost."""
        (first,) = buckets_of_ticks([tick], self._number, self._handles)
        at_ns = first.since_ns
        start = replace(
            first, slot=at_ns // _SECOND, time_ns=at_ns, host="", boot_id="", epoch="",
            cumulative=None,
        )  # fmt: skip
        self._unwritten += _after_loss(self._cascade, start, self._number)
        self._number += 1
        self._lost = False

    def _record(self, ticks: Sequence[Tick]) -> None:
        buckets = buckets_of_ticks(ticks, self._number, self._handles)
        settled = [self._clock.settled(tick) for tick in ticks][-1]
        if self.paused is not None:
            together = self._after(buckets)
            if not self._write():
                self._waiting = together
                self._cascade.forget(together, *self._frames)
                return
            self._waiting = None
            buckets = [together]
        seals = False
        for bucket in buckets:
            blocks = self._cascade.add(bucket)
            seals |= bool(blocks)
            self._unwritten += blocks
            if any(block.tier == 0 for block in blocks):  # they have the ticks before
                self._frames.clear()
            self._frames.append(bucket)
        self._number = buckets[-1].end
        self._cascade.forget(*self._frames)
        if self._write() and seals and settled:
            self._evict(buckets[-1].slot)

    def _after(self, buckets: Sequence[Bucket]) -> Bucket:
        """Return the buckets and what waits as one, which is a tick; the clock says its slot."""
        parts = [*buckets] if self._waiting is None else [self._waiting, *buckets]
        whole = joined(parts, parts[-1].slot)
        one = replace(whole, first=self._number, end=self._number + 1)
        return folded(one, self._handles, *HANDED_ON)

    def _write(self) -> bool:
        """Write what is not written yet: blocks, then the frames of the ticks behind them."""
        try:
            while self._unwritten:
                self._storage.append(self._unwritten[0])
                self._sealed |= self._unwritten.pop(0).tier == 0
            if self._sealed:  # what the tail has is in a block now
                self._storage.truncate_tail()
                self._told.emptied()
                self._sealed = False
            if self._frames:
                frames = (self._told.frame(bucket, self._handles) for bucket in self._frames)
                self._storage.append_tail(b"".join(frames))
                self._frames.clear()
        except OSError as error:
            self._told.emptied()  # what the frames told is told again
            self.paused = f"{self._storage.directory}: {error.strerror or error}"
            return False
        self.paused = None
        return True

    def _evict(self, now: int) -> None:
        try:
            self._storage.evict_old(now)
        except OSError as error:
            self.paused = f"{self._storage.directory}: {error.strerror or error}"

    def _recovered(self) -> tuple[Cascade, int]:
        """Take up what an earlier writer left: open buckets from finer tiers, and from the tail."""
        tiers, ended_damaged = self._sealed_blocks()
        sealed = [max((each.header.last for each in blocks), default=0) for blocks in tiers]
        cascade = Cascade(self._handles, sealed)
        for place in reversed(range(1, len(TIERS))):
            for block in tiers[place - 1]:
                if block.header.last > sealed[place]:
                    self._add_again(cascade, block, place)
        self._last = self._newest(tiers[0])
        data = self._storage.read_tail()
        frames, damaged = frames_of(data)
        for bucket in buckets_of_tail(data, frames, self._handles):
            if bucket.first >= sealed[0]:
                self._last = bucket
                self._append(cascade.add(bucket))
        cascade.forget()  # not before: a frame names rows by what earlier ones said
        number = max((1, *sealed, *(frame.last for frame in frames)))
        if not damaged and (frames or not ended_damaged):
            self._storage.truncate_tail(frames[-1].end if frames else 0)
        elif self._last is not None:
            self._append(_after_loss(cascade, self._last, number + 1))
            self._storage.truncate_tail()
            number += 2
        else:  # what is damaged stays until the first tick says so
            self._lost = True
            number += 1
        return cascade, number

    def _newest(self, blocks: list[BlockAt]) -> Bucket | None:
        """Return the newest bucket that is in a block."""
        try:
            return buckets_of(load(blocks[-1]), self._handles)[-1] if blocks else None
        except DAMAGE:
            return None

    def _sealed_blocks(self) -> tuple[list[list[BlockAt]], bool]:
        """Mend torn files; return the blocks of each tier, in the order of their ticks.

        And whether the finest tier ended with something damaged.
        """
        ended_damaged = False
        tiers: list[list[BlockAt]] = [[] for _ in TIERS]
        for file in self._storage.files():
            found = scan(file)
            if file.tier == 0:
                ended_damaged |= found.ends_damaged
            # What has nothing else stays, so that readers are told.
            if found.end < file.size and (found.blocks or not found.ends_damaged):
                self._storage.truncate(file, found.end)
            tiers[file.tier] += found.blocks
        ordered = [sorted(blocks, key=lambda each: each.header.first) for blocks in tiers]
        return ordered, ended_damaged

    def _add_again(self, cascade: Cascade, block: BlockAt, place: int) -> None:
        try:
            buckets = buckets_of(load(block), self._handles)
        except DAMAGE:
            return  # readers are told by the hole in the coarser tier
        for bucket in buckets:
            self._append(cascade.add(bucket, place))

    def _append(self, blocks: list[SealedBlock]) -> None:
        for block in blocks:
            self._storage.append(block)


def _after_loss(cascade: Cascade, last: Bucket, number: int) -> list[SealedBlock]:
    """Return blocks that say that ticks are missing before tick ``number``: it moved nothing.

    What the host has counted since ``last`` is the next tick's to say.
    """
    nothing = replace(
        last,
        first=number,
        end=number + 1,
        since_ns=last.time_ns,
        covered_ns=0,
        totals=last.totals * 0,
        tables=dict.fromkeys(last.tables, NO_CELLS),
    )
    return cascade.add(nothing) + cascade.finish()


class _SteadyClock:
    """Knows whether the wall clock ran for an hour without being set.

    Until then nothing is evicted by age: a clock that is wrong after a boot must not erase the
    past.
    """

    def __init__(self) -> None:
        self._offset_ns: int | None = None
        self._since_ns = 0

    def settled(self, tick: Tick) -> bool:
        offset_ns = tick.time_ns - tick.now_ns
        if self._offset_ns is None or abs(offset_ns - self._offset_ns) > _STEP_NS:
            self._since_ns = tick.now_ns
        self._offset_ns = offset_ns
        return tick.now_ns - self._since_ns >= _HOUR_NS
