"""A range of the past as a message of the wire, so that the model shows it like the present.

Counters are what moved in the range, rates are per second over the range. What is not recorded is
unknown.
"""

from __future__ import annotations

import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final

import numpy as np

from pbmon_client.history.layout import LAYOUTS, PROCESSES, TOTALS, blank_value
from pbmon_client.history.packing import Ints
from pbmon_client.history.rows import SummedRows
from pbmond.fields import NO_UID, RATES, TABLES
from pbmond.wire import COVERAGE, COVERAGE_PARTS, Message, Table

_CODES: Final = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "f8": "d"}
_OPEN_UNKNOWN: Final = 2


@dataclass(frozen=True, slots=True)
class RangeSums:
    """What moved in a range of ``since_ns`` to ``until_ns``, and the newest tick's words.

    ``number`` is the recording's, of the first tick of the range's newest bucket.
    ``totals`` are by ``TOTALS``; ``retired`` is what of it no row has. ``tables`` without
    connections and files is a message of processes only; ``owners`` are whose each of theirs is,
    also of those that are not in ``tables``. ``reasons`` say what is missing.
    """

    since_ns: int
    until_ns: int
    now_ns: int
    number: int
    host: str
    boot_id: str
    epoch: str
    totals: Ints
    retired: Ints
    tables: Mapping[str, SummedRows]
    owners: Mapping[str, Iterable[bytes]]
    reasons: Sequence[str]


def message_of(sums: RangeSums) -> Message:
    """Return the message of a range."""
    seconds = (sums.until_ns - sums.since_ns) / 1e9
    totals: dict[str, Any] = dict(zip(TOTALS, sums.totals.tolist(), strict=True))
    totals |= {rate: totals[rate.removesuffix("_per_s")] / seconds for rate in RATES}
    tables = {name: _table(name, sums, seconds) for name in sums.tables}
    reasons = list(sums.reasons)
    if any(rows.damaged for rows in sums.tables.values()):
        reasons.append("history: names are damaged")
    return Message(
        host=sums.host,
        boot_id=sums.boot_id,
        epoch=sums.epoch,
        seq=sums.number,
        time_ns=sums.until_ns,
        now_ns=sums.now_ns,
        interval_ns=sums.until_ns - sums.since_ns,
        health={"status": "incomplete" if reasons else "complete", "reasons": reasons},
        coverage=_no_coverage(),
        totals=totals,
        history={},
        retired=_retired(sums.retired),
        processes=tables[PROCESSES],
        connections=tables.get("connections"),
        files=tables.get("files"),
    )


def _no_coverage() -> dict[str, Any]:
    parts = {
        part: None if "name" in kinds else dict.fromkeys(kinds)
        for part, kinds in COVERAGE_PARTS.items()
    }
    return {**dict.fromkeys(COVERAGE), **parts}


def _array(values: Any, wire: str) -> array.array[Any]:  # noqa: ANN401 - anything that makes one
    return array.array(_CODES[wire], np.asarray(values).astype(wire).tobytes())


def _retired(moved: Ints) -> Table:
    """Return one row of nobody's with what no row has; no row if that is nothing."""
    rows = int(moved.any())
    counters = dict(zip(TOTALS, moved.tolist(), strict=True))
    columns: dict[str, Any] = {}
    for name, field in TABLES["retired"].items():
        if field.wire == "text":
            columns[name] = [None] * rows
        elif field.wire is not None:
            value = NO_UID if name == "uid" else counters.get(name, 0)
            columns[name] = array.array(_CODES[field.wire], [value] * rows)
    return Table(rows, columns)


def _table(name: str, sums: RangeSums, seconds: float) -> Table:
    rows = sums.tables[name]
    layout = LAYOUTS[name]
    counters = dict(zip(layout.counters, rows.sums.T, strict=True))
    # CLOCK_BOOTTIME of the row's newest bucket.
    last_ns = np.maximum(rows.last - sums.until_ns + sums.now_ns, 0)
    made: dict[str, Any] = {"last_ns": last_ns, "open": np.full(len(rows), _OPEN_UNKNOWN)}
    if name == PROCESSES:
        whose = rows.owners()
        for flow, owners in sums.owners.items():
            made[flow] = [*map(Counter(owners).get, whose, repeat(0))]
    columns: dict[str, Any] = {}
    for column, field in TABLES[name].items():
        if field.wire is None:
            continue
        if column in layout.texts:
            columns[column] = rows.texts(column)
            continue
        values: Any
        if column in counters:
            values = counters[column]
        elif field.rate_of is not None:
            values = counters[field.rate_of] / seconds
        elif column in layout.place:
            values = rows.numbers(column)
        else:
            blank = blank_value(name, column)
            values = made.get(column, np.full(len(rows), blank, np.uint64))
        columns[column] = _array(values, field.wire)
    return Table(len(rows), columns)
