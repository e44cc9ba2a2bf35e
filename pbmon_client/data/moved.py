"""What moved, tick by tick, from the messages of ``all/moved``: each tick once, missed ones told.

The rows of a tick are described in it or before. A reader keeps the descriptions that the newest
message has, and few that are older, because the daemon repeats those.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pbmond.fields import CHANGING, COUNTERS, DESCRIPTION
from pbmond.moved_wire import (
    RETIRED,
    ROW_COUNTERS,
    MovedMessage,
    MovedTable,
    MovedTick,
    decode_tick,
)
from pbmond.wire import Table, WireError

Int64s = npt.NDArray[np.int64]
#: A row: the values of the columns that the reader was asked for, as the wire has them.
RowValues = tuple[Any, ...]
#: Ticks that are forgotten together.
_TOGETHER: Final = 4
#: Columns that a reader can be asked for, by table.
COLUMNS: Final = {
    **{table: (*named, *CHANGING[table]) for table, named in DESCRIPTION.items()},
    "retired": tuple(name for name in RETIRED if name not in COUNTERS),
}


@dataclass(frozen=True, slots=True)
class Increases:
    """Rows that moved: ids (of ``retired``: none), values, and (rows, counters) increases.

    Counters are in the order of ``ROW_COUNTERS``; those of ``retired`` are COUNTERS.
    """

    ids: Sequence[int]
    rows: Sequence[RowValues]
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


class MovedReader:
    """Reads messages in the order in which they came; any may be missing.

    While no more are missing than a message has ticks, each tick is told. The first message, and
    one after more are missing, tells its newest tick.

    ``columns`` are the columns of the rows by table, of COLUMNS. ``after``: where an earlier reader
    was.
    """

    def __init__(self, columns: Mapping[str, Sequence[str]], after: Position | None = None) -> None:
        self._columns: Final = {table: tuple(columns.get(table, ())) for table in COLUMNS}
        for table, names in self._columns.items():
            if unknown := {*names} - {*COLUMNS[table]}:
                raise ValueError(f"{table} has no {', '.join(unknown)}")
        self._position = after
        self._known = _Descriptions("", self._columns)

    def take(self, message: MovedMessage) -> Iterator[Happened]:
        """Yield the ticks that are new, oldest first. WireError if they cannot be."""
        last = self._position
        if last is None or last.epoch != message.epoch:
            last = Position(message.epoch, 0, (0,) * len(COUNTERS))
        if self._known.epoch != message.epoch:
            self._known = _Descriptions(message.epoch, self._columns)
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
                happened = self._happened(message, tick, last)
                self._position = last = happened.position
                yield happened
        self._known.forget_before(message.first)

    def _happened(self, message: MovedMessage, tick: MovedTick, last: Position) -> Happened:
        tables = {
            **{name: self._increases(name, table) for name, table in tick.tables.items()},
            "retired": self._retired(tick.retired),
        }
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

    def _increases(self, name: str, table: MovedTable) -> Increases:
        columns = table.rows.columns
        ids = columns["id"].tolist()
        rows = self._known.rows(name, ids)
        for changing in CHANGING[name]:
            if changing in self._columns[name]:
                at = self._columns[name].index(changing)
                values = zip(rows, columns[changing], strict=True)
                rows = [row[:at] + (value,) + row[at + 1 :] for row, value in values]  # noqa: RUF005 - fast
        bits = np.arange(len(ROW_COUNTERS[name]), dtype=np.uint64)
        masks = np.array(columns["mask"], np.uint64)
        counters = np.zeros((len(ids), len(bits)), np.int64)
        counters[(masks[:, np.newaxis] >> bits & np.uint64(1)).astype(np.bool_)] = table.increases
        return Increases(ids, rows, counters)

    def _retired(self, table: Table) -> Increases:
        counters = np.array([table.columns[name] for name in COUNTERS], np.int64)
        return Increases(
            (),
            _rows(table, self._columns["retired"]),
            counters.T,
        )


def _rows(table: Table, names: Sequence[str]) -> list[RowValues]:
    nothing = [None] * table.length
    columns = [table.columns.get(name, nothing) for name in names]
    return list(zip(*columns, strict=True)) if columns else [()] * table.length


class _Descriptions:
    """What ticks have said about rows, as tuples of some columns; what they lack is None.

    They are forgotten some ticks together, without a look at each.
    """

    def __init__(self, epoch: str, columns: Mapping[str, Sequence[str]]) -> None:
        self.epoch: Final = epoch
        self._columns: Final = columns
        self.seq = 0  # the newest tick
        # What some ticks together said, by table, and the last of them; the newest come last.
        self._said: deque[dict[str, dict[int, RowValues]]] = deque()
        self._last: deque[int] = deque()

    def take(self, tick: MovedTick) -> None:
        """Take the descriptions of a tick."""
        self.seq = tick.seq
        if not self._said or tick.seq // _TOGETHER != self._last[-1] // _TOGETHER:
            self._said.append({name: {} for name in DESCRIPTION})
            self._last.append(tick.seq)
        self._last[-1] = tick.seq
        for name, table in tick.tables.items():
            rows = _rows(table.told, self._columns[name])
            self._said[-1][name].update(zip(table.told.columns["id"], rows, strict=True))

    def rows(self, table: str, ids: Sequence[int]) -> list[RowValues]:
        """Return what rows are."""
        found: list[RowValues | None] = [None] * len(ids)
        for said in reversed(self._said):
            known = said[table]
            if None in found:
                pairs = zip(found, ids, strict=True)
                found = [known.get(number) if row is None else row for row, number in pairs]
        rows = [row for row in found if row is not None]
        if len(rows) < len(ids):
            raise WireError(f"{table} has a row that was not described")
        return rows

    def forget_before(self, seq: int) -> None:
        """Forget what was said before a tick, or soon after that."""
        while self._last and self._last[0] < seq:
            self._said.popleft()
            self._last.popleft()
