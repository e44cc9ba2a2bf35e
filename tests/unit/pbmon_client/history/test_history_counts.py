"""How many connections and files a process has is the same, whether they are read or counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbmon_client.history.buckets import Tick
from pbmon_client.history.layout import FLOWS, LAYOUTS, PROCESSES
from pbmon_client.history.past import Past
from pbmon_client.history.replies import pack_reply
from pbmon_client.history.writer import HistoryWriter
from pbmond.wire import Message, Table
from tests import past_host as make

SECOND = make.SECOND
START = make.MONDAY + 17
#: What a block of a minute has, of ten minutes, of an hour; and a day.
STEPS = [1, 1, 1, 7, 61, 700, 5_000, 90_000]


def some_tick(random: np.random.Generator, second: int, processes: int) -> Tick:
    """Return a tick with a few of the same rows again and again, and their labels change.

    Rows of one process may be for several viewers.
    """
    pids = random.permutation(2 * processes)[:processes].tolist()
    numbers = iter(random.integers(0, 3, 12 * processes).tolist())
    rows = {
        PROCESSES: [make.process(pid) for pid in pids],
        "connections": [
            make.connection(
                *(pid, 7 + next(numbers)),
                direction=next(numbers),
                viewer=1000 + next(numbers),
                local=bytes([10, 0, 1, next(numbers)]) + bytes(12),
            )
            for pid in pids
            for _ in range(2)
        ],
        "files": [
            make.file(pid, 1 + next(numbers), path=b"/%d" % next(numbers), viewer=1000)
            for pid in pids
        ],
    }
    rows = {table: [*dict.fromkeys(some)] for table, some in rows.items()}
    deltas = {
        table: random.integers(1, 1 << 30, (len(some), len(LAYOUTS[table].counters)))
        for table, some in rows.items()
    }
    return make.tick(second * SECOND, rows, deltas)


def record(directory: Path, seed: int, steps: Sequence[int]) -> list[int]:
    """Record ticks after steps of some seconds, a few of them with too many rows to be kept."""
    random = np.random.default_rng(seed)
    seconds: list[int] = np.cumsum([START, *steps]).tolist()
    with HistoryWriter(directory, sync=False) as writer:
        for number, second in enumerate(seconds):
            writer.tick(some_tick(random, second, 200 if number % 31 == 7 else 6))
    return seconds


def owners_in(table: Table | None) -> Counter[tuple[int, int]]:
    assert table is not None
    return Counter(zip(table.columns["pid"], table.columns["start_ns"], strict=True))


def alone(message: Message) -> bytes:
    """Return a message without connections and files, as bytes."""
    return pack_reply("all", replace(message, connections=None, files=None))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 1 << 32),
    steps=st.lists(st.sampled_from(STEPS), min_size=10, max_size=80),
    data=st.data(),
)
def test_what_is_counted_is_as_many_as_there_are(
    seed: int, steps: list[int], data: st.DataObject
) -> None:
    with TemporaryDirectory() as name:
        seconds = record(Path(name), seed, steps)
        moments = st.integers(seconds[0] - 90, seconds[-1] + 90)
        for uid in (None, 1000, 1002):
            past = Past(Path(name), uid)
            for _ in range(4):
                since, until = sorted((data.draw(moments), data.draw(moments)))
                top = data.draw(st.sampled_from((None, None, 1, 5)))
                every = past.message(since, until + 1, top=top)
                counted = past.message(since, until + 1, top=top, flows=False)
                assert counted.connections is counted.files is None
                assert alone(counted) == alone(every)
                if top is None:
                    owners = owners_in(counted.processes)
                    for table in FLOWS:
                        found = owners_in(getattr(every, table))
                        counts = counted.processes.columns[table]
                        assert [found[owner] for owner in owners] == [*counts]


def test_nothing_is_counted_unless_it_is_asked_for(tmp_path: Path) -> None:
    seconds = record(tmp_path, 5, [1] * 70)
    past = Past(tmp_path)
    asked = past.message(seconds[0], seconds[-1], flows=False)
    plain = past.message(seconds[0], seconds[-1], flows=False, counts=False)
    for name, values in plain.processes.columns.items():
        expected = [0] * len(values) if name in FLOWS else [*asked.processes.columns[name]]
        assert [*values] == expected
    assert any(asked.processes.columns["files"])
