"""What moved, tick by tick, from the messages of ``all/moved``: each tick once, missed ones told.

The rows of a tick are described in it or before. A reader keeps the descriptions that the newest
message has, and few that are older, because the daemon repeats those.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from operator import attrgetter
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pbmond.fields import CHANGING, COUNTERS, DESCRIPTION
from pbmond.moved_wire import (
    MOVED,
    RETIRED,
    ROW_COUNTERS,
    TOLD,
    MovedMessage,
    MovedTick,
    decode_tick,
)
from pbmond.wire import Table, WireError

Int64s = npt.NDArray[np.int64]
Uint64s = npt.NDArray[np.uint64]
_TextColumn = Sequence[bytes | None]
#: Columns in their order, and whether each is of texts; addresses are.
_Kinds = Mapping[str, bool]
#: Descriptions that are looked for in vain, before they are dropped.
_SPARE: Final = 1024
#: Columns that a reader can be asked for, by table.
COLUMNS: Final = {
    **{table: (*named, *CHANGING[table]) for table, named in DESCRIPTION.items()},
    "retired": tuple(name for name in RETIRED if name not in COUNTERS),
}


@dataclass(frozen=True, slots=True)
class Increases:
    """Rows that moved: ids (of ``retired``: none), who they are, and (rows, counters) increases.

    ``numbers`` are rows by the columns that the reader was asked for, and mean nothing where a
    column is of texts. Each row has those at its place of ``places`` in ``texts`` by column, which
    other rows share. Counters are in the order of ``ROW_COUNTERS``; those of ``retired`` are
    COUNTERS.
    """

    ids: Sequence[int]
    numbers: Uint64s
    texts: Mapping[str, _TextColumn]
    places: Int64s
    counters: Int64s


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reader is: the last tick that it has, and the host's counters then."""

    epoch: str
    seq: int
    totals: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Happened:
    """What happened in one tick.

    ``missed`` ticks before it are not known one by one; ``missed_totals`` is what the host moved in
    them, by COUNTERS. They count from the reader's last tick, or from when the daemon began
    (``began_ns``) if that was another daemon. ``totals`` is what the host moved in this tick, the
    sum of the processes' and ``retired`` increases. Times are those of ``pbmond.wire.Message``.
    """

    host: str
    boot_id: str
    began_ns: int
    position: Position
    time_ns: int
    now_ns: int
    interval_ns: int
    lost: Mapping[str, int]
    missed: int
    missed_totals: Int64s
    totals: Int64s
    tables: Mapping[str, Increases]


class _NewTick(NamedTuple):
    """A tick that is not told yet, its message, and where its rows are described, by table."""

    message: MovedMessage
    tick: MovedTick
    places: Mapping[str, Sequence[int]]


class MovedReader:
    """Reads messages in the order in which they came; any may be missing.

    While no more are missing than a message has ticks, each tick is told. The first message, and
    one after more are missing, tells its newest tick.

    ``columns`` are the columns of the rows by table, of COLUMNS. ``after``: where an earlier reader
    was.
    """

    def __init__(self, columns: Mapping[str, Sequence[str]], after: Position | None = None) -> None:
        for table, names in COLUMNS.items():
            if unknown := {*columns.get(table, ())} - {*names}:
                raise ValueError(f"{table} has no {', '.join(unknown)}")
        self._position = after
        self._kinds: Final = {table: _kinds(table, columns.get(table, ())) for table in COLUMNS}
        self._known = _Descriptions("", self._kinds)

    def take(self, *messages: MovedMessage) -> Iterator[Happened]:
        """Yield the ticks that are new, oldest first. WireError if they cannot be.

        Several messages at once take less time than one after the other.
        """
        for _epoch, of_one_run in groupby(messages, attrgetter("epoch")):
            yield from self._take([*of_one_run])

    def _take(self, messages: Sequence[MovedMessage]) -> Iterator[Happened]:
        newest = messages[-1]
        last = self._position
        if last is None or last.epoch != newest.epoch:
            last = Position(newest.epoch, 0, (0,) * len(COUNTERS))
        if self._known.epoch != newest.epoch:
            self._known = _Descriptions(newest.epoch, self._kinds)
        ticks: list[_NewTick] = []
        for message in messages:
            # Of the older ticks, rows may have been described before the message's first.
            complete = message.first if self._known.seq >= message.first - 1 else message.seq
            for seq, packed in enumerate(message.ticks, message.first):
                if seq <= self._known.seq:
                    continue
                tick = decode_tick(packed)
                if tick.seq != seq:
                    raise WireError(f"tick {tick.seq} has the place of {seq}")
                self._known.take(tick)
                if seq > last.seq and seq >= complete:
                    ticks.append(_NewTick(message, tick, self._known.places(tick)))
        for new, tables in zip(ticks, self._tables(ticks), strict=True):
            happened = self._happened(new, tables, last)
            self._position = last = happened.position
            yield happened
        self._known.forget_before(newest.first)

    def _happened(
        self, new: _NewTick, described: Mapping[str, Increases], last: Position
    ) -> Happened:
        message, tick = new.message, new.tick
        tables = {**described, "retired": self._retired(tick.retired)}
        moved = sum(
            (tables[name].counters.sum(axis=0) for name in ("processes", "retired")),
            np.zeros(len(COUNTERS), np.int64),
        )
        totals = tuple(tick.totals)
        grown = [now - before for now, before in zip(totals, last.totals, strict=True)]
        if max(grown) >= 1 << 63 or (missed := np.array(grown, np.int64) - moved).min() < 0:
            raise WireError("the rows of a tick moved more than the host")
        return Happened(
            host=message.host,
            boot_id=message.boot_id,
            began_ns=message.began_ns,
            position=Position(message.epoch, tick.seq, totals),
            time_ns=tick.time_ns,
            now_ns=tick.now_ns,
            interval_ns=tick.interval_ns,
            lost=tick.lost,
            missed=tick.seq - last.seq - 1,
            missed_totals=missed,
            totals=moved,
            tables=tables,
        )

    def _tables(self, ticks: Sequence[_NewTick]) -> Iterator[Mapping[str, Increases]]:
        """Yield the tables of each tick."""
        if ticks:
            by_table = [self._increases(name, ticks) for name in DESCRIPTION]
            for each in zip(*by_table, strict=True):
                yield dict(zip(DESCRIPTION, each, strict=True))

    def _increases(self, name: str, ticks: Sequence[_NewTick]) -> Iterator[Increases]:
        """Yield the rows of one table in each tick."""
        tables = [new.tick.tables[name] for new in ticks]
        told = [*chain(*(new.places[name] for new in ticks))]
        numbers, texts, places = self._known.rows(name, told)
        for place, changing in enumerate(self._kinds[name]):
            if changing in CHANGING[name]:
                numbers[:, place] = np.concatenate([t.rows.columns[changing] for t in tables])
        masks = np.concatenate([table.rows.columns["mask"] for table in tables]).astype("<u8")
        by_byte = masks.view(np.uint8).reshape(-1, 8)
        count = len(ROW_COUNTERS[name])
        grown = np.unpackbits(by_byte, axis=1, count=count, bitorder="little").view(np.bool_)
        counters = np.zeros(grown.shape, np.int64)
        counters[grown] = np.concatenate([table.increases for table in tables])
        end = 0
        for table in tables:
            begin, end = end, end + table.rows.length
            yield Increases(
                table.rows.columns["id"],
                numbers[begin:end],
                texts,
                places[begin:end],
                counters[begin:end],
            )

    def _retired(self, table: Table) -> Increases:
        counters = np.zeros((table.length, len(COUNTERS)), np.int64)
        for place, name in enumerate(COUNTERS if table.length else ()):
            counters[:, place] = table.columns[name]
        values = _values(table, self._kinds["retired"])
        return Increases((), *values, np.arange(table.length), counters)


def _kinds(table: str, names: Sequence[str]) -> _Kinds:
    kinds = RETIRED if table == "retired" else {**MOVED[table], **TOLD[table]}
    return {name: kinds[name] in ("text", "16s") for name in names}


def _values(table: Table, kinds: _Kinds) -> tuple[Uint64s, dict[str, _TextColumn]]:
    """Return some columns as numbers and texts; those that a table lacks are 0."""
    numbers = np.zeros((table.length, len(kinds)), np.uint64)
    texts: dict[str, _TextColumn] = {}
    for place, (name, is_text) in enumerate(kinds.items()):
        if is_text:
            texts[name] = table.columns[name]
        elif name in table.columns:
            numbers[:, place] = table.columns[name]
    return numbers, texts


class _Descriptions:
    """What ticks have said about rows: some of their columns."""

    def __init__(self, epoch: str, kinds: Mapping[str, _Kinds]) -> None:
        self.epoch: Final = epoch
        self.seq = 0  # the newest tick
        self._tables: Final = {name: _Told(name, kinds[name]) for name in DESCRIPTION}

    def take(self, tick: MovedTick) -> None:
        """Take the descriptions of a tick."""
        self.seq = tick.seq
        for name, table in tick.tables.items():
            self._tables[name].take(tick.seq, table.told)

    def places(self, tick: MovedTick) -> Mapping[str, Sequence[int]]:
        """Return where the rows of a tick are described now. WireError if one is not."""
        return {
            name: self._tables[name].places(table.rows.columns["id"])
            for name, table in tick.tables.items()
        }

    def rows(
        self, table: str, places: Sequence[int]
    ) -> tuple[Uint64s, Mapping[str, _TextColumn], Int64s]:
        """Return what the rows at some places are: numbers, texts, and where in those."""
        return self._tables[table].rows(places)

    def forget_before(self, seq: int) -> None:
        """Forget what was said before a tick."""
        for told in self._tables.values():
            told.forget_before(seq)


class _Told:
    """The descriptions of one table's rows, one after the other as they were said."""

    def __init__(self, table: str, kinds: _Kinds) -> None:
        self._table: Final = table
        self._kinds: Final = kinds
        self._numbers: Uint64s = np.zeros((0, len(kinds)), np.uint64)
        # What was handed out goes on to name them by their place: they are never taken from.
        self._texts: dict[str, list[bytes | None]] = {
            name: [] for name, is_text in kinds.items() if is_text
        }
        # Where a row is described by id, counted from the first that ever was. Those that are
        # forgotten stay there until most are.
        self._where: dict[int, int] = {}
        self._forgotten = 0
        self._ends: deque[tuple[int, int]] = deque()  # tick, and where its descriptions end

    def take(self, seq: int, told: Table) -> None:
        begin = self._forgotten + len(self._numbers)
        end = begin + told.length
        self._ends.append((seq, end))
        numbers, texts = _values(told, self._kinds)
        self._numbers = np.concatenate((self._numbers, numbers))
        for name, column in texts.items():
            self._texts[name] += column
        self._where.update(zip(told.columns["id"], range(begin, end), strict=True))

    def places(self, ids: Sequence[int]) -> Sequence[int]:
        known = self._where
        places = [known.get(number, -1) for number in ids]
        if min(places, default=self._forgotten) < self._forgotten:
            raise WireError(f"{self._table} has a row that was not described")
        return places

    def rows(self, places: Sequence[int]) -> tuple[Uint64s, Mapping[str, _TextColumn], Int64s]:
        rows = np.array(places, np.int64) - self._forgotten
        return self._numbers[rows], self._texts, rows

    def forget_before(self, seq: int) -> None:
        end = self._forgotten
        while self._ends and self._ends[0][0] < seq:
            end = self._ends.popleft()[1]
        if gone := end - self._forgotten:
            self._numbers = self._numbers[gone:]
            self._texts = {name: column[gone:] for name, column in self._texts.items()}
            self._forgotten = end
        if len(self._where) > 2 * len(self._numbers) + _SPARE:
            self._where = {number: at for number, at in self._where.items() if at >= end}
