"""Synthetic ticks for tests and benchmarks of the store of the past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pbmon_client.data.moved import Increases
from pbmon_client.history.buckets import RowsMoved, Tick
from pbmon_client.history.handles import values_of
from pbmon_client.history.layout import FLOWS, LAYOUTS, PROCESSES, TOTALS, KeptRow
from pbmon_client.history.packing import Ints
from pbmond.wire import Message

SECOND = 1_000_000_000
#: Monday, 2026-09-21, 00:00 UTC.
MONDAY = 1_789_948_800


def row(table: str, **values: Any) -> KeptRow:
    """Return a row of a table; what is not said is not known. Its user may see it."""
    layout = LAYOUTS[table]
    blanks = dict(zip(layout.columns, layout.blank, strict=True))
    assert values.keys() <= blanks.keys(), values.keys() - blanks.keys()
    whose = {"viewer": values["uid"]} if "uid" in values else {}
    return tuple((blanks | whose | values).values())


def rows_of(rows: RowsMoved | Increases, columns: Sequence[str]) -> list[KeptRow]:
    """Return rows as values by column."""
    values = rows.rows if isinstance(rows, RowsMoved) else rows
    numbers = values.numbers.T.tolist()
    made = [
        [values.texts[name][each] for each in values.places] if name in values.texts else column
        for name, column in zip(columns, numbers, strict=True)
    ]
    return list(zip(*made, strict=True)) if made else [()] * len(values.numbers)


def process(pid: int, **values: Any) -> KeptRow:
    """Return a process of user 1000 + pid % 3 in one of ten units."""
    known = {"start_ns": pid * SECOND, "uid": 1000 + pid % 3, "name": b"worker-%d" % (pid % 7)}
    known["unit"] = b"app-%d.service" % (pid % 10)
    known["cmdline"] = b"/usr/bin/worker\0--id=%d" % pid
    return row(PROCESSES, pid=pid, **(known | values))


def connection(pid: int, port: int, **values: Any) -> KeptRow:
    """Return a TCP connection of ``process(pid)``."""
    known: dict[str, Any] = {"start_ns": pid * SECOND, "uid": 1000 + pid % 3, "family": 2}
    known |= {"type": 1, "protocol": 6, "local": bytes([10, 0, 0, 1]) + bytes(12)}
    known |= {"local_port": 443, "remote": bytes([10, 0, 0, port % 250]) + bytes(12)}
    known |= {"remote_port": port, "first_ns": port + 1, "tcp_state": 1}
    return row("connections", pid=pid, **(known | values))


def file(pid: int, inode: int, **values: Any) -> KeptRow:
    """Return a file of ``process(pid)``."""
    known: dict[str, Any] = {"start_ns": pid * SECOND, "uid": 1000 + pid % 3, "class": 4}
    known |= {"path": b"/var/lib/data/%d" % inode, "device": 1 << 20, "inode": inode}
    return row("files", pid=pid, **(known | values))


def tick(
    time_ns: int,
    rows: Mapping[str, Sequence[KeptRow]],
    deltas: Mapping[str, Ints],
    *,
    interval_ns: int = SECOND,
    epoch: str = "first",
    now_ns: int | None = None,
    cumulative: Ints | None = None,
    running_ns: int = 0,
) -> Tick:
    """Return a tick; the host's totals are the sums of its processes."""
    moved = {
        table: RowsMoved(values_of(rows[table], LAYOUTS[table]), deltas[table]) for table in rows
    }
    totals = moved[PROCESSES].deltas.sum(axis=0) if PROCESSES in moved else np.zeros(len(TOTALS))
    return Tick(
        time_ns=time_ns,
        interval_ns=interval_ns,
        now_ns=time_ns - MONDAY * SECOND + 10**15 if now_ns is None else now_ns,
        host="host",
        boot_id="boot",
        epoch=epoch,
        totals=totals.astype(np.int64),
        tables=moved,
        cumulative=cumulative,
        running_ns=running_ns,
    )


def random_tick(
    random: np.random.Generator, time_ns: int, processes: int = 8, **values: Any
) -> Tick:
    """Return a tick in which some of 40 processes, their connections and files moved something."""
    pids = random.choice(np.arange(1, max(41, 2 * processes)), processes, replace=False).tolist()
    rows = {
        PROCESSES: [process(pid) for pid in pids],
        "connections": [
            connection(pid, int(port)) for pid in pids for port in random.integers(0, 900, 2)
        ],
        "files": [file(pid, int(random.integers(0, 900))) for pid in pids],
    }
    deltas = {}
    for table, some in rows.items():
        shape = (len(some), len(LAYOUTS[table].counters))
        sizes = 2 ** random.integers(0, 44, shape)
        moved = random.integers(0, sizes) * (random.random(shape) < 0.2)
        deltas[table] = moved.astype(np.int64)
    # Two rows of a tick with the same identity are one.
    for table in FLOWS:
        places = {some: place for place, some in enumerate(rows[table])}
        keep = sorted(places.values())
        rows[table] = [rows[table][place] for place in keep]
        deltas[table] = deltas[table][keep]
    return tick(time_ns, rows, deltas, **values)


def sums_of(message: Message) -> dict[str, list[int]]:
    """Return the sums of every counter of a message's tables, and its totals."""
    tables = {name: getattr(message, name) for name in LAYOUTS}
    sums = {
        name: [sum(table.columns[counter]) for counter in LAYOUTS[name].counters]
        for name, table in tables.items()
    }
    return sums | {"totals": [message.totals[name] for name in TOTALS]}


def sums_of_ticks(ticks: Sequence[Tick], since: int, until: int) -> dict[str, list[int]]:
    """Return the same of a plain list of ticks."""
    inside = [tick for tick in ticks if since <= tick.time_ns // SECOND < until]
    sums = {
        name: sum(
            (tick.tables[name].deltas.sum(axis=0) for tick in inside),
            np.zeros(len(layout.counters), np.int64),
        ).tolist()
        for name, layout in LAYOUTS.items()
    }
    totals = sum((tick.totals for tick in inside), np.zeros(len(TOTALS), np.int64))
    return sums | {"totals": totals.tolist()}
