"""Thinning: which snapshots are shown, and rates over the interval between two shown ones; pure."""

from __future__ import annotations

import array
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from pbmon_client.data import shares
from pbmond.fields import IDENTITY, rate_columns
from pbmond.wire import Message, Table

#: Tables whose rows have rates.
_TABLES: Final = ("processes", "connections", "files")


def newer(message: Message, than: Message | None) -> bool:
    """Tell whether a message is another snapshot than one that came before it.

    The daemon repeats its last snapshot to whoever subscribes anew.
    """
    return than is None or message.epoch != than.epoch or message.seq > than.seq


def due(message: Message, shown: Message | None, interval_ns: int | None) -> bool:
    """Tell whether a snapshot is to be shown, ``interval_ns`` after the one shown before.

    None shows every snapshot. The nearest snapshot counts, so that a daemon's jitter does not
    turn 2 seconds into 3; a new daemon run is shown at once.
    """
    if interval_ns is None or shown is None or shown.epoch != message.epoch:
        return True
    return message.now_ns - shown.now_ns + message.interval_ns // 2 >= interval_ns


def over(message: Message, shown: Message | None) -> Message:
    """Return the message with its rates and interval taken since the snapshot shown before.

    Without one of the same daemon run the daemon's own rates stay. A row that was not in the
    snapshot before has counted from zero since.
    """
    if shown is None or shown.epoch != message.epoch or message.now_ns <= shown.now_ns:
        return message
    interval_ns = message.now_ns - shown.now_ns
    tables: dict[str, Any] = {}
    for name in _TABLES:
        now, before = getattr(message, name), getattr(shown, name)
        if now is not None and before is not None:
            tables[name] = _table_over(name, now, before, interval_ns)
    totals = dict(message.totals)
    for rate in rate_columns("processes"):
        counter = rate.removesuffix("_per_s")
        totals[rate] = (totals[counter] - shown.totals[counter]) * 1e9 / interval_ns
    return replace(
        message,
        interval_ns=interval_ns,
        coverage=shares.over(message.coverage, shown.coverage),
        totals=totals,
        **tables,
    )


def _table_over(name: str, now: Table, before: Table, interval_ns: int) -> Table:
    earlier = {key: row for row, key in enumerate(_keys(before, IDENTITY[name]))}
    rows = [earlier.get(key) for key in _keys(now, IDENTITY[name])]
    columns: dict[str, Any] = dict(now.columns)
    for rate in rate_columns(name):
        counter = rate.removesuffix("_per_s")
        columns[rate] = _rates(now.columns[counter], before.columns[counter], rows, interval_ns)
    return Table(now.length, columns)


def _keys(table: Table, identity: tuple[str, ...]) -> Iterable[Hashable]:
    return zip(*(table.columns[name] for name in identity), strict=True)


def _rates(
    now: Iterable[int], before: Sequence[int], rows: list[int | None], interval_ns: int
) -> array.array[float]:
    per_byte = 1e9 / interval_ns
    result = array.array("d", bytes(8 * len(rows)))
    for index, (value, row) in enumerate(zip(now, rows, strict=True)):
        # A process row that was folded and came back has counted from zero again.
        moved = value if row is None or value < before[row] else value - before[row]
        if moved:
            result[index] = moved * per_byte
    return result
