"""Thinning: which snapshots are shown, and rates over the interval between two shown ones."""

from __future__ import annotations

import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import compress
from math import nan
from typing import Any, Final

from pbmon_client.data import shares
from pbmond.fields import IDENTITY, STATES, rate_columns
from pbmond.wire import Message, Table

#: When the counters of a row began at zero.
_BEGAN: Final = {"processes": "start_ns", "connections": "first_ns", "files": "first_ns"}


def newer(message: Message, than: Message | None) -> bool:
    """Whether a message is a newer snapshot than another one.

    The daemon repeats its last snapshot to every new subscriber.
    """
    return than is None or message.epoch != than.epoch or message.seq > than.seq


def due(message: Message, shown: Message | None, interval_ns: int | None) -> bool:
    """Whether to show a snapshot, ``interval_ns`` after the one shown before it.

    None shows every snapshot. The nearest snapshot counts, so that jitter does not turn
    2 seconds into 3. A new run of the daemon is shown at once.
    """
    if interval_ns is None or shown is None or shown.epoch != message.epoch:
        return True
    return message.now_ns - shown.now_ns + message.interval_ns // 2 >= interval_ns


def over_interval(message: Message, shown: Message | None, scope: str) -> Message:
    """Return the message with its rates and interval taken since the snapshot shown before.

    If there is none of the same daemon run, the daemon's own rates stay. A row that began since
    then has counted from zero. An older row that was not there before has no rate: its process
    may just have become one of the viewer's own. When a process enters or leaves the scope "own",
    the totals of that scope have no rates either.
    """
    if shown is None or shown.epoch != message.epoch or message.now_ns <= shown.now_ns:
        return message
    interval_ns = message.now_ns - shown.now_ns
    tables: dict[str, Any] = {}
    for name in _BEGAN:
        now, before = getattr(message, name), getattr(shown, name)
        if now is not None and before is not None:
            tables[name] = _table_over(name, now, before, shown.now_ns, interval_ns)
    same_processes = scope == "all" or _same_processes(message, shown)
    totals = dict(message.totals)
    for rate in rate_columns("processes"):
        counter = rate.removesuffix("_per_s")
        moved = totals[counter] - shown.totals[counter]
        totals[rate] = moved * 1e9 / interval_ns if same_processes else None
    return replace(
        message,
        interval_ns=interval_ns,
        coverage=shares.over_interval(
            message.coverage, shown.coverage, same_processes=same_processes
        ),
        totals=totals,
        **tables,
    )


def complete(message: Message, shown: Message | None, reasons: Sequence[str]) -> Message:
    """Return the message with a health that covers everything since the snapshot shown before.

    ``reasons`` are those of the snapshots in between and of this one. What snapshots lost that
    never arrived shows in the counts.
    """
    if shown is None or shown.epoch != message.epoch or message.seq <= shown.seq + 1:
        return message
    before = shown.health.get("lost", {})
    grown = {
        name: count - before.get(name, 0) for name, count in message.health.get("lost", {}).items()
    }
    lost = [f"lost: {name}" for name, count in grown.items() if count > 0]
    every = list(dict.fromkeys([*reasons, *lost]))
    status = "incomplete" if every else message.health.get("status")
    health = {**message.health, "status": status, "reasons": every, "lost_interval": grown}
    return replace(message, health=health)


def _same_processes(now: Message, before: Message) -> bool:
    """Whether processes only began and ended, and none entered or left the scope."""
    earlier, later = ({*_keys("processes", each.processes)} for each in (before, now))
    entered = any(start_ns <= before.now_ns for _pid, start_ns in later - earlier)
    running = compress(_keys("processes", before.processes), map(_RUNNING.__eq__, _states(before)))
    return not entered and later.issuperset(running)


_RUNNING: Final = STATES.index("running")


def _states(message: Message) -> Sequence[int]:
    states: Sequence[int] = message.processes.columns["state"]
    return states


def _table_over(name: str, now: Table, before: Table, since_ns: int, interval_ns: int) -> Table:
    earlier = {key: row for row, key in enumerate(_keys(name, before))}
    rows = [earlier.get(key) for key in _keys(name, now)]
    # For rows that were not there before: whether they are older than that snapshot.
    older = [began_ns <= since_ns for began_ns in now.columns[_BEGAN[name]]]
    columns: dict[str, Any] = dict(now.columns)
    for rate in rate_columns(name):
        counter = rate.removesuffix("_per_s")
        columns[rate] = _rates(
            now.columns[counter], before.columns[counter], rows, older, interval_ns
        )
    return Table(now.length, columns)


def _keys(name: str, table: Table) -> Iterator[tuple[Any, ...]]:
    return zip(*(table.columns[column] for column in IDENTITY[name]), strict=True)


def _rates(
    now: Iterable[int],
    before: Sequence[int],
    rows: Sequence[int | None],
    older: Sequence[bool],
    interval_ns: int,
) -> array.array[float]:
    per_byte = 1e9 / interval_ns
    result = array.array("d", bytes(8 * len(rows)))
    for index, (value, row) in enumerate(zip(now, rows, strict=True)):
        if row is None:
            result[index] = nan if older[index] else value * per_byte
        elif value:
            # A process that was folded and came back has counted from zero again.
            moved = value - before[row]
            result[index] = (moved if moved >= 0 else value) * per_byte
    return result
