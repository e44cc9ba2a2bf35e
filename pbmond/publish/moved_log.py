"""The last ticks of what moved, encoded, and which rows they describe."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pbmond import wire
from pbmond.moved_wire import (
    TICKS,
    TOLD,
    MovedMessage,
    MovedTable,
    MovedTick,
    encode_moved,
    encode_tick,
)
from pbmond.publish.moved_rows import (
    MovedColumns,
    moved_flows,
    moved_processes,
    moved_retired,
    totals_of,
)
from pbmond.publish.topic_messages import Messages

#: Ticks before the newest but the last are left out of a message if they have more bytes: whoever
#: misses none receives them in vain.
OLDER_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class _Encoded:
    """An encoded tick, and the ids that it describes by table."""

    seq: int
    packed: bytes
    told: Mapping[str, list[int]]


class MovedLog:
    """Makes the frames of ``all/moved``.

    A row is described in a tick unless an older one that is in the same message has said the same.
    Ticks are kept for a while after the last frame, so that a viewer may start again meanwhile.
    """

    def __init__(self) -> None:
        self._ticks: deque[_Encoded] = deque()
        #: By table and id: the tick in which it was described, and how.
        self._told: dict[str, dict[int, tuple[int, tuple[Any, ...]]]] = {name: {} for name in TOLD}
        self._wanted = -TICKS - 1  # the newest tick of which there was a frame

    def keep(self, messages: Messages) -> None:
        """Take a new tick, if anybody had a frame lately."""
        if messages.meta.seq - self._wanted <= TICKS:
            self._add(messages)
        else:
            self._drop(len(self._ticks))

    def frame(self, messages: Messages) -> bytes:
        """Return the frame of the newest tick."""
        meta = messages.meta
        self._wanted = meta.seq
        if not self._ticks or self._ticks[-1].seq != meta.seq:
            self._add(messages)
        return encode_moved(
            MovedMessage(
                host=meta.host,
                boot_id=meta.boot_id,
                epoch=meta.epoch,
                began_ns=meta.health.get("began_ns", 0),
                seq=meta.seq,
                ticks=[each.packed for each in self._ticks],
            )
        )

    def _add(self, messages: Messages) -> None:
        older = sum(len(each.packed) for each in self._ticks)
        while len(self._ticks) >= TICKS or (len(self._ticks) > 1 and older > OLDER_BYTES):
            older -= len(self._ticks[0].packed)
            self._drop(1)
        seq, snapshot = messages.meta.seq, messages.snapshot
        moved = {
            "processes": moved_processes(messages),
            **{name: moved_flows(messages, name) for name in ("connections", "files")},
        }
        new = {name: self._tell(name, columns, seq) for name, columns in moved.items()}
        tick = MovedTick(
            seq=seq,
            time_ns=snapshot.wall_ns,
            now_ns=snapshot.time_ns,
            interval_ns=snapshot.interval_ns,
            lost=messages.meta.health.get("lost", {}),
            totals=totals_of(messages),
            retired=moved_retired(messages),
            tables={name: _table(name, each, new[name]) for name, each in moved.items()},
        )
        told = {name: moved[name].ids[new[name]].tolist() for name in moved}
        self._ticks.append(_Encoded(seq, encode_tick(tick), told))

    def _tell(self, table: str, moved: MovedColumns, seq: int) -> list[int]:
        """Return which rows must be described now."""
        known = self._told[table]
        new = []
        for row, (number, told) in enumerate(
            zip(moved.ids.tolist(), _rows(table, moved.description), strict=True)
        ):
            before = known.get(number)
            if before is None or before[1] != told:
                known[number] = seq, told
                new.append(row)
        return new

    def _drop(self, count: int) -> None:
        """Forget the oldest ticks, and what only they have said."""
        for _ in range(count):
            oldest = self._ticks.popleft()
            for table, ids in oldest.told.items():
                known = self._told[table]
                for number in ids:
                    if known[number][0] == oldest.seq:
                        del known[number]


def _rows(table: str, description: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    lists = []
    for name, column in description.items():
        kind = TOLD[table][name]
        if kind == "text":
            lists.append(column)
        elif kind == "16s":
            raw = column.tobytes()
            lists.append([raw[at : at + 16] for at in range(0, len(raw), 16)])
        else:
            lists.append(column.tolist())
    return list(zip(*lists, strict=True))


def _table(table: str, moved: MovedColumns, told: list[int]) -> MovedTable:
    grown = moved.increases != 0
    bits = np.uint64(1) << np.arange(moved.increases.shape[1], dtype=np.uint64)
    rows = {"id": moved.ids, "mask": (grown * bits).sum(axis=1, dtype=np.uint64), **moved.changing}
    columns: dict[str, Any] = {"id": moved.ids[told]}
    for name, column in moved.description.items():
        kind = TOLD[table][name]
        if kind == "text":
            columns[name] = [column[row] for row in told]
        elif kind == "16s":
            columns[name] = column.reshape(-1, 16)[told].reshape(-1)
        else:
            columns[name] = column[told]
    return MovedTable(
        wire.Table(len(moved.ids), rows), moved.increases[grown], wire.Table(len(told), columns)
    )
