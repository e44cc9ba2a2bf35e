"""Rows and their handles, and a tick that has more rows than it keeps."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pbmon_client.history import cascade
from pbmon_client.history import handles as module
from pbmon_client.history.buckets import Bucket
from pbmon_client.history.handles import Handles, HandlesByTable, new_handles, values_of
from pbmon_client.history.layout import FLOWS, LAYOUTS, OWNER, PROCESSES, KeptRow
from pbmon_client.history.past import Past
from pbmon_client.history.ticks import buckets_of_ticks
from pbmon_client.history.tiers import TICK_FLOWS, TICK_PROCESSES
from pbmon_client.history.writer import HistoryWriter
from tests import past_host as make

LAYOUT = LAYOUTS[PROCESSES]
KEY = len(LAYOUT.key)


def handles_of(handles: Handles, rows: list[KeptRow]) -> list[int]:
    given: list[int] = handles.of(values_of(rows, handles.layout)).tolist()
    return given


@pytest.mark.parametrize("collide", [False, True])
def test_rows_have_their_own_handles_and_values_whatever_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, *, collide: bool
) -> None:
    if collide:  # every key has one of three hashes
        monkeypatch.setattr(module, "hash", lambda key: len(set(key)) % 3, raising=False)
    random = np.random.default_rng(1)
    handles = Handles(LAYOUT)
    known: dict[int, KeptRow] = {}
    for _ in range(40):
        pids = random.integers(1, 60, 12).tolist()
        state = int(random.integers(0, 3))
        rows = [make.process(pid, cmdline=b"run %d" % pid, state=state) for pid in pids]
        given = handles_of(handles, rows)
        assert handles_of(handles, rows) == given
        known |= dict(zip(given, rows, strict=True))
        assert len(known) == len(handles)
        # Where hashes are equal a row may get a second handle, once the first row is forgotten.
        assert collide or len({row[:KEY] for row in known.values()}) == len(known)
        if random.random() < 0.3:
            kept = np.sort(random.choice([*known], len(known) // 2, replace=False))
            handles.keep(kept)
            known = {handle: known[handle] for handle in kept.tolist()}
        every = np.array(sorted(known), np.int64)
        assert handles.values(every) == [known[handle] for handle in every.tolist()]


def test_a_handle_that_is_forgotten_is_never_anothers() -> None:
    handles = Handles(LAYOUT)
    first, second = handles_of(handles, [make.process(1), make.process(2)])
    handles.keep(np.array([first]))
    assert handles_of(handles, [make.process(1)]) == [first]
    assert handles_of(handles, [make.process(2)])[0] > second


def test_rows_of_which_the_same_is_left_fold_to_one_also_after_it_was_forgotten() -> None:
    handles = Handles(LAYOUT)
    rows = [make.process(pid, uid=7, name=b"sh", unit=b"u") for pid in (1, 2)]
    own = np.array(handles_of(handles, [*rows, make.process(3, uid=8)]))
    one, same, other = handles.folded(own).tolist()
    assert one == same != other
    assert handles.folded(np.array([one])).tolist() == [one]
    (row,) = handles.values(np.array([one]))
    assert row[LAYOUT.place["pid"]] == 0
    assert (row[LAYOUT.place["uid"]], row[LAYOUT.place["name"]]) == (7, b"sh")
    handles.keep(own)
    (again, _, _) = handles.folded(own).tolist()
    assert again > other
    assert handles.values(np.array([again])) == [row]


def busy_tick(processes: int, words: Any) -> tuple[Any, dict[str, list[KeptRow]]]:
    """Some processes with three files and a connection each, all of which moved something."""
    pids = range(1, processes + 1)
    rows = {
        PROCESSES: [make.process(pid, **words(pid)) for pid in pids],
        "connections": [make.connection(pid, pid) for pid in pids],
        "files": [make.file(pid, 3 * pid + each) for pid in pids for each in range(3)],
    }
    random = np.random.default_rng(processes)
    deltas = {
        table: random.integers(1, 1 << 40, (len(some), len(LAYOUTS[table].counters)))
        for table, some in rows.items()
    }
    return make.tick(make.MONDAY * make.SECOND, rows, deltas), rows


@pytest.mark.parametrize(
    ("processes", "words"),
    [
        (10, lambda _pid: {}),
        (TICK_PROCESSES + 300, lambda _pid: {}),
        (TICK_PROCESSES + 300, lambda pid: {"name": b"own-%d" % pid}),
        (TICK_PROCESSES + 300, lambda pid: {"unit": b"own-%d" % pid}),
    ],
)
def test_a_tick_keeps_its_busiest_rows_few_others_and_every_byte(
    processes: int, words: Any
) -> None:
    tick, rows = busy_tick(processes, words)
    handles = new_handles()
    (bucket,) = buckets_of_ticks([tick], 1, handles)
    owners = set()
    for table, cells in bucket.tables.items():
        layout = LAYOUTS[table]
        sums: dict[int, int] = defaultdict(int)
        for counter, value in zip(cells.counters.tolist(), cells.values.tolist(), strict=True):
            sums[counter] += value
        moved = tick.tables[table].deltas
        assert [sums[place] for place in range(len(layout.counters))] == moved.sum(axis=0).tolist()
        kept = handles[table].values(cells.rows)
        own = [row for row in kept if row in {*rows[table]}]
        most = TICK_FLOWS if table in FLOWS else TICK_PROCESSES
        assert len(own) <= most
        whose = {tuple(row[place] for place in OWNER[table]) for row in kept}
        if table == PROCESSES:
            owners = whose
            busiest = np.argsort(-(moved @ layout.traffic), kind="stable")[:most]
            assert {*own} == {rows[table][place] for place in busiest.tolist()}
            assert len(kept) <= 2 * TICK_PROCESSES
        assert whose <= owners  # a flow is of a process that is there


def rows_moved(bucket: Bucket, handles: HandlesByTable) -> dict[str, dict[KeptRow, list[Any]]]:
    found: dict[str, dict[KeptRow, list[Any]]] = {}
    for table, cells in bucket.tables.items():
        rows = handles[table].values(cells.handles)
        moved: dict[KeptRow, list[Any]] = defaultdict(list)
        for row, *cell in zip(rows, cells.counters.tolist(), cells.values.tolist(), strict=True):
            moved[row].append(cell)
        found[table] = moved
    return found


@pytest.mark.parametrize("words", [lambda _pid: {}, lambda pid: {"name": b"own-%d" % pid}])
def test_ticks_that_come_together_become_the_buckets_that_each_would_alone(words: Any) -> None:
    sizes = (10, TICK_PROCESSES + 300, TICK_FLOWS + 1, TICK_PROCESSES + 200, 0, 40)
    ticks = [busy_tick(size, words)[0] for size in sizes]
    del ticks[2].tables["files"], ticks[5].tables[PROCESSES]
    handles = new_handles()
    together = buckets_of_ticks(ticks, 7, handles)
    for number, (tick, bucket) in enumerate(zip(ticks, together, strict=True), 7):
        apart = new_handles()
        (alone,) = buckets_of_ticks([tick], number, apart)
        assert (bucket.first, bucket.end) == (alone.first, alone.end) == (number, number + 1)
        assert rows_moved(bucket, handles) == rows_moved(alone, apart)


@pytest.mark.parametrize("together", [1, 4, 130])
def test_sums_are_exact_where_rows_are_forgotten_whenever_they_can_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, together: int
) -> None:
    monkeypatch.setattr(module, "SPARE", 1)
    monkeypatch.setattr(cascade, "SPARE", 1)
    random = np.random.default_rng(2)
    begin, seconds = make.MONDAY, 130
    ticks = [make.random_tick(random, (begin + at) * make.SECOND) for at in range(1, seconds)]
    for some in np.array_split(np.arange(len(ticks)), 7):
        with HistoryWriter(tmp_path, sync=False) as writer:
            for places in np.array_split(some, -(-len(some) // together)):
                writer.ticks([ticks[place] for place in places.tolist()])
    message = Past(tmp_path).message(begin, begin + seconds)
    assert make.sums_of(message) == make.sums_of_ticks(ticks, begin, begin + seconds)
    received = {row["pid"]: 0 for row in message.processes.rows()}
    counter = LAYOUT.counters.index("net_rx_bytes")
    for tick in ticks:
        moved = tick.tables[PROCESSES]
        pids = moved.rows.numbers[:, LAYOUT.place["pid"]].tolist()
        for pid, more in zip(pids, moved.deltas[:, counter].tolist(), strict=True):
            received[pid] += more
    assert {row["pid"]: row["net_rx_bytes"] for row in message.processes.rows()} == received
