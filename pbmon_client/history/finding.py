"""Finding: the buckets of a range in the blocks of a store, and their rows."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from math import inf
from typing import Any, Final, TypeVar

import numpy as np

from pbmon_client.history.block import BlockHeader
from pbmon_client.history.index import Index, TailBlock
from pbmon_client.history.layout import LAYOUTS, OWNER_NAMES, PORT
from pbmon_client.history.loading import DAMAGE, LoadedBlock, load
from pbmon_client.history.packing import Chosen, Unsigned, among, row_starts, starts, whole
from pbmon_client.history.plan import Piece
from pbmon_client.history.rows import Part
from pbmon_client.history.sections import TableSection
from pbmon_client.history.segments import BlockAt, Missing
from pbmon_client.history.spans import TimeSpan
from pbmond.fields import DIRECTIONS

_IN, _OUT = DIRECTIONS.index("in"), DIRECTIONS.index("out")
#: How many blocks stay in memory, and how many of their tables stay decoded: those of four blocks.
_BLOCKS: Final = 32
_TABLES: Final = 4 * len(LAYOUTS)
_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class Selected:
    """The buckets of a block that belong to a piece of a range."""

    block: LoadedBlock
    chosen: Chosen


@dataclass(slots=True)
class FoundBuckets:
    """What a query read: buckets, and what it could not read."""

    selected: list[Selected] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    def covered(self) -> tuple[int, int]:
        """Return the sum of the lengths of the ticks in ns, and how many they are."""
        covered_ns = ticks = 0
        for each in self.selected:
            host = each.block.host
            covered_ns += int(host.covered_ns[each.chosen].sum())
            ticks += int(np.diff(host.first, append=each.block.header.last)[each.chosen].sum())
        return covered_ns, ticks

    def spans(self) -> list[TimeSpan]:
        """Return the time that the buckets span."""
        return [
            TimeSpan(since_ns, until_ns)
            for each in self.selected
            for since_ns, until_ns in zip(
                each.block.host.since_ns[each.chosen].tolist(),
                each.block.host.time_ns[each.chosen].tolist(),
                strict=True,
            )
        ]


class Finder:
    """Finds in an index what a user may see; ``uid`` None is everybody's."""

    def __init__(self, index: Index, uid: int | None) -> None:
        self.index = index
        self._uid = uid
        self._loaded: OrderedDict[BlockAt | TailBlock, LoadedBlock] = OrderedDict()
        #: The rows of a table in a block; None if the block has no such table.
        self.table: Final = lru_cache(_TABLES)(LoadedBlock.table)

    def blocks(
        self, tier: int, first: float = 0, last: float = inf
    ) -> Iterator[BlockAt | TailBlock]:
        """Yield the blocks of a tier, in the order of their ticks; the tail is the last.

        Those that have none of the ticks from ``first`` to ``last`` may be left out.
        """
        blocks = self.index.blocks[tier]
        begin = bisect_right(blocks, first, key=lambda each: each.header.last)
        end = bisect_left(blocks, last, begin, key=lambda each: each.header.first)
        yield from blocks[begin:end]
        if tier == 0 and self.index.tail is not None:
            yield self.index.tail

    def load(self, block: BlockAt | TailBlock) -> LoadedBlock | Missing:
        """Return a block, or why it cannot be read."""
        loaded = self._loaded.get(block)
        if loaded is None:
            try:
                loaded = block.load() if isinstance(block, TailBlock) else load(block)
                loaded.host.check()  # damage of the host's section shows here
            except DAMAGE as error:
                return unreadable(block.header, error)
            self._loaded[block] = loaded
            if len(self._loaded) > _BLOCKS:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(block)
        return loaded

    def find(self, wanted: Iterable[Piece]) -> FoundBuckets:
        """Return the buckets of some pieces of a range."""
        found = FoundBuckets()
        for piece in wanted:
            found.missing += [
                each
                for each in self.index.missing
                if each.tier == piece.tier
                and each.begin < piece.end
                and piece.begin < each.end
                and each.last > piece.first
            ]
            for each in self.blocks(piece.tier, piece.first, piece.last):
                header = each.header
                outside = header.begin >= piece.end or header.end <= piece.begin
                if outside or header.last <= piece.first or header.first >= piece.last:
                    continue
                block = self.load(each)
                if isinstance(block, Missing):
                    found.missing.append(block)
                    continue
                host = block.host
                chosen = (host.slots >= piece.begin) & (host.slots < piece.end)
                chosen &= (host.first >= piece.first) & (host.first < piece.last)
                if chosen.any():
                    found.selected.append(Selected(block, chosen))
        found.selected.sort(key=lambda each: each.block.header.first)
        return found

    def parts(self, found: FoundBuckets, table: str, pids: Any) -> list[Part]:  # noqa: ANN401
        """Return the rows of a table; ``pids`` None is those of all processes."""

        def part(section: TableSection, each: Selected, wanted: Chosen) -> Part:
            section.check()  # damage shows here, not later
            chosen = None if each.chosen.all() else each.chosen
            _bucket, row, counter, value = section.moved(None if wanted.all() else wanted, chosen)
            bucket = section.last(chosen)
            last = np.where(wanted & (bucket >= 0), each.block.host.time_ns[bucket], -1)
            return Part(section, row, counter, value, starts(counter), last)

        return self._read(found, table, pids, part)

    def owners(self, found: FoundBuckets, table: str, pids: Any) -> Collection[bytes]:  # noqa: ANN401
        """Return whose each connection or file of a table is, as ``SummedRows.owners`` does.

        For that, little of what is kept of them is read.
        """
        numbers: dict[bytes | None, int] | None = {} if len(found.selected) > 1 else None

        def identities(section: TableSection, each: Selected, wanted: Chosen) -> Unsigned:
            if not each.chosen.all():
                wanted &= section.have(each.chosen)
            return section.identities(np.flatnonzero(wanted), numbers)

        read = self._read(found, table, pids, identities)
        if not read:
            return []
        if len(read) == 1:  # in the order of their identity
            return whole(read[0][row_starts(read[0])][:, : len(OWNER_NAMES)])
        every = np.concatenate(read)
        owners = whole(every[:, : len(OWNER_NAMES)])
        return dict(zip(whole(every), owners, strict=True)).values()  # each once

    def _read(
        self,
        found: FoundBuckets,
        table: str,
        pids: Any,  # noqa: ANN401 - an array of numbers, or None
        read: Callable[[TableSection, Selected, Chosen], _Read],
    ) -> list[_Read]:
        """Return what is read of the blocks that have wanted rows; what is damaged is missing."""
        every = []
        for each in list(found.selected):
            if pids is not None and not each.block.may_have(table, pids):
                continue
            try:
                section = self.table(each.block, table)
                if section is None:
                    continue
                wanted = self._wanted(section, pids)
                if wanted.any():
                    every.append(read(section, each, wanted))
            except DAMAGE as error:
                found.missing.append(unreadable(each.block.header, error))
        return every

    def _wanted(self, section: TableSection, pids: Any) -> Chosen:  # noqa: ANN401 - likewise
        wanted = np.ones(section.rows, np.bool_)
        if self._uid is not None:
            wanted &= equal(section, "viewer", self._uid)
        if pids is not None:
            own = section.columns("pid").numbers("pid")
            wanted &= among(np.zeros(1, np.uint64) if own is None else own, pids)
        return wanted


def equal(section: TableSection, name: str, value: Any) -> Chosen:  # noqa: ANN401
    """Return which rows have a value, or one of several. Without the column, none has."""
    if name in section.layout.texts:
        found = section.columns(name).texts(name)
        if found is None or value not in found[1]:
            return np.zeros(section.rows, np.bool_)
        equal: Chosen = found[0] == list(found[1]).index(value)
        return equal
    numbers = _ports(section) if name == PORT else section.columns(name).numbers(name)
    if numbers is None:
        return np.zeros(section.rows, np.bool_)
    several = isinstance(value, (list, tuple))
    same: Chosen = np.isin(numbers, value) if several else numbers == np.uint64(value)
    return same


def _ports(section: TableSection) -> Any:  # noqa: ANN401 - an array of numbers
    """Return the service's port of each connection; None if they have no ports."""
    names = ("local_port", "remote_port", "direction")
    local, remote, direction = (section.columns(name).numbers(name) for name in names)
    if local is None or remote is None or direction is None:
        return None
    lower = np.where(local == 0, remote, np.where(remote == 0, local, np.minimum(local, remote)))
    return np.select([direction == _IN, direction == _OUT], [local, remote], lower)


def unreadable(header: BlockHeader, error: BaseException) -> Missing:
    """Return what is missing because of an error."""
    why = error.strerror if isinstance(error, OSError) else str(error)
    return Missing(header.tier, header.begin, header.end, why or "damaged", header.last)
