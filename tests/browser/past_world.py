"""A store of what the made-up host moved, for the page's tests and screenshots."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from pbmon_client.history.buckets import RowsMoved, Tick
from pbmon_client.history.handles import values_of
from pbmon_client.history.layout import LAYOUTS, TOTALS, KeptRow
from pbmon_client.history.packing import Ints
from pbmon_client.history.writer import HistoryWriter

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))  # the made-up host of the unit tests

import demo_world

#: As long as the waves of the made-up host take to begin anew, about.
_LENGTH: Final = 60
SECOND: Final = 10**9
#: The parts of the past: (from so many seconds ago, to, seconds of a tick). What is between two
#: parts was not recorded.
RECENT: Final = ((7200, 3600, 60), (3000, 0, 10))
WEEK: Final = ((7 * 86400, 3 * 86400 + 14_000, 300), (3 * 86400, 1800, 60), (1800, 0, 5))
_Part = tuple[int, int, int]


def write(folder: Path, now_s: int, parts: Sequence[_Part] = RECENT) -> dict[str, int]:
    """Write a store that ends at ``now_s``; return the host's totals of all of it."""
    sums = np.zeros(len(TOTALS), np.int64)
    with HistoryWriter(folder, sync=False) as writer:
        for since, until, width in parts:
            for ago in range(since - width, until - 1, -width):
                made = _tick(now_s - ago, width, now_s)
                writer.tick(made)
                sums += made.totals
    return dict(zip(TOTALS, sums.tolist(), strict=True))


def _tick(time_s: int, width: int, now_s: int) -> Tick:
    """What the host moved in ``width`` seconds: more by day, most while its backup runs."""
    day = 0.35 + 0.65 * math.sin(math.pi * (time_s % 86400) / 86400) ** 2
    second = time_s // width % _LENGTH
    tables: dict[str, list[tuple[KeptRow, Ints]]] = {name: [] for name in LAYOUTS}
    totals = np.zeros(len(TOTALS), np.int64)
    for process in demo_world.world():
        backs_up = process.name == "backup"
        if process.exits_after is not None or (backs_up and time_s % 86400 > 7200):
            continue
        scale = width * (1.0 if backs_up else day)
        now, before = (demo_world._process(process, at) for at in (second, second - 1))
        row, moved = _moved("processes", now, before, scale)
        totals += moved
        tables["processes"].append((row, moved))
        for kind, flows, into, out in (
            ("connections", process.connections, "rx", "tx"),
            ("files", process.files, "read", "write"),
        ):
            for flow in flows:
                now, before = (
                    demo_world._flow(process, flow, at, into, out) | {"uid": process.uid}
                    for at in (second, second - 1)
                )
                tables[kind].append(_moved(kind, now, before, scale))
    return Tick(
        time_ns=time_s * SECOND,
        interval_ns=width * SECOND,
        now_ns=demo_world.BOOT_NS + (time_s - now_s) * SECOND + 700_000 * SECOND,
        host="web-1",
        boot_id="boot",
        epoch="past",
        totals=totals,
        tables={
            name: RowsMoved(
                values_of([row for row, moved in rows if moved.any()], LAYOUTS[name]),
                np.array([moved for _row, moved in rows if moved.any()], np.int64).reshape(
                    -1, len(LAYOUTS[name].counters)
                ),
            )
            for name, rows in tables.items()
        },
    )


def _moved(
    kind: str, now: dict[str, Any], before: dict[str, Any], scale: float
) -> tuple[KeptRow, Ints]:
    layout = LAYOUTS[kind]
    blanks = dict(zip(layout.columns, layout.blank, strict=True))
    row = tuple(now.get(name, blank) for name, blank in blanks.items())
    deltas = [now.get(name, 0) - before.get(name, 0) for name in layout.counters]
    return row, np.round(np.maximum(deltas, 0) * scale).astype(np.int64)
