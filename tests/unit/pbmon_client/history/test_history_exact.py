"""Whatever is asked, the answer is the sum of all deltas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbmon_client.history.buckets import Tick
from pbmon_client.history.layout import LAYOUTS, PROCESSES
from pbmon_client.history.past import Past
from pbmon_client.history.writer import HistoryWriter
from pbmond.wire import Message
from tests import past_host as make
from tests.past_host import rows_of, sums_of, sums_of_ticks

SECOND = make.SECOND
START_NS = make.MONDAY * SECOND + 17 * SECOND + 5
#: Steps of the clock between ticks; the daemon's are a second, but clocks are set and hosts sleep.
STEPS_NS = [SECOND, SECOND, SECOND, SECOND // 2, 7 * SECOND, 61 * SECOND, 700 * SECOND]
STEPS_NS += [5_000 * SECOND, 90_000 * SECOND]
BACK_NS = [-SECOND, -90 * SECOND, -4_000 * SECOND]


def span_of(message: Message) -> tuple[int, int]:
    until_ns = message.time_ns
    return (until_ns - message.interval_ns) // SECOND, until_ns // SECOND


def record(
    directory: Path, seed: int, steps_ns: Sequence[int], restarts: Sequence[int]
) -> list[Tick]:
    """Record ticks after these steps of the clock; start the writer again before some."""
    random = np.random.default_rng(seed)
    writer = HistoryWriter(directory, sync=False)
    ticks = []
    time_ns = START_NS
    for number, step_ns in enumerate(steps_ns):
        time_ns += step_ns
        # CLOCK_BOOTTIME goes on whatever the clock does, so nothing is evicted by age.
        processes = 300 if number % 97 == 50 else 8
        tick = make.random_tick(random, time_ns, processes, now_ns=number * SECOND)
        ticks.append(tick)
        if number in restarts:
            writer.close()
            writer = HistoryWriter(directory, sync=False)
        writer.tick(tick)
    writer.close()
    return ticks


steps = st.lists(st.sampled_from(STEPS_NS * 3 + BACK_NS), min_size=20, max_size=120)


@pytest.mark.unmeasured
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 1 << 32),
    steps_ns=steps,
    restarts=st.sets(st.integers(0, 119), max_size=5),
    data=st.data(),
)
def test_any_range_is_the_sum_of_all_its_deltas(
    seed: int, steps_ns: list[int], restarts: set[int], data: st.DataObject
) -> None:
    with TemporaryDirectory() as name:
        ticks = record(Path(name), seed, steps_ns, [*restarts])
        past = Past(Path(name))
        seconds = [tick.time_ns // SECOND for tick in ticks]
        moments = st.integers(min(seconds) - 3700, max(seconds) + 3700)
        for _ in range(8):
            grid = data.draw(st.sampled_from((1, 1, 10, 60, 3600)))
            since, until = sorted((data.draw(moments) // grid * grid, data.draw(moments)))
            message = past.message(since, until + 1)
            assert span_of(message) == (since, until + 1)
            assert sums_of(message) == sums_of_ticks(ticks, since, until + 1)


@pytest.mark.unmeasured
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1 << 32), steps_ns=steps, step=st.sampled_from((1, 7, 60, 90, 3600)))
def test_a_series_has_each_delta_in_its_step(seed: int, steps_ns: list[int], step: int) -> None:
    with TemporaryDirectory() as name:
        ticks = record(Path(name), seed, steps_ns, [])
        seconds = [tick.time_ns // SECOND for tick in ticks]
        since = min(seconds) // 3600 * 3600
        until = min(max(seconds) + 1, since + 20_000 * step)
        past = Past(Path(name))
        series = past.series(since, until, step)
        for begin, sums in zip(series.begins.tolist(), series.sums.tolist(), strict=True):
            assert sums == sums_of_ticks(ticks, begin, begin + step)["totals"]
        unit = past.series(since, until, step, {"unit": b"app-3.service"})
        place = LAYOUTS[PROCESSES].place["unit"]
        wanted = sum(
            int(deltas.sum())
            for tick in ticks
            for row, deltas in zip(
                rows_of(tick.tables[PROCESSES], LAYOUTS[PROCESSES].columns),
                tick.tables[PROCESSES].deltas,
                strict=True,
            )
            if row[place] == b"app-3.service"
            and since <= tick.time_ns // SECOND < until
            and tick.time_ns // SECOND < series.begins[-1] + step
        )
        # Folding keeps the unit.
        assert unit.sums.sum() == wanted


@pytest.mark.unmeasured
def test_what_has_too_many_rows_folds_and_is_not_lost(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    with HistoryWriter(tmp_path, sync=False) as writer:
        ticks = [make.random_tick(random, START_NS + number * SECOND, 900) for number in range(130)]
        for tick in ticks:
            writer.tick(tick)
    message = Past(tmp_path).message(make.MONDAY, make.MONDAY + 3600)
    assert sums_of(message) == sums_of_ticks(ticks, make.MONDAY, make.MONDAY + 3600)
    processes = message.processes.columns
    folded = [row for row, pid in enumerate(processes["pid"]) if pid == 0]
    assert folded
    for row in folded:
        assert processes["unit"][row].startswith(b"app-")
        assert (processes["name"][row] or b"worker-").startswith(b"worker-")
        assert processes["cmdline"][row] is None
    # Every connection and file finds its process, folded or not.
    owners = {*zip(processes["pid"], processes["start_ns"], strict=True)}
    for table in (message.connections, message.files):
        assert table is not None
        assert {*zip(table.columns["pid"], table.columns["start_ns"], strict=True)} <= owners


def test_of_a_tick_with_very_many_files_the_busiest_stay(tmp_path: Path) -> None:
    files = [make.file(pid, inode) for pid in (1, 2) for inode in range(1, 2001)]
    deltas = np.zeros((len(files), len(LAYOUTS["files"].counters)), np.int64)
    read = LAYOUTS["files"].counters.index("read_bytes")
    deltas[:, read] = np.random.default_rng(3).permutation(len(files)) + 1
    busiest = {files[place] for place in np.argsort(-deltas[:, read])[:20]}
    rows = {PROCESSES: [make.process(1), make.process(2)], "connections": [], "files": files}
    moved = {
        "connections": np.zeros((0, len(LAYOUTS["connections"].counters)), np.int64),
        PROCESSES: np.ones((2, len(LAYOUTS[PROCESSES].counters)), np.int64),
        "files": deltas,
    }
    ticks = [make.tick(START_NS + number * SECOND, rows, moved) for number in range(70)]
    with HistoryWriter(tmp_path, sync=False) as writer:
        for tick in ticks:
            writer.tick(tick)
    # A second of a block, one that is in the tail, and both.
    first = START_NS // SECOND
    for since, until in ((first, first + 1), (first + 69, first + 70), (first, first + 70)):
        message = Past(tmp_path).message(since, until)
        assert sums_of(message) == sums_of_ticks(ticks, since, until)
        assert message.files is not None
        columns = message.files.columns
        kept = {*zip(columns["pid"], columns["inode"], strict=True)}
        assert {(1, 0), (2, 0)} <= kept  # the folded ones
        assert {(row[0], row[LAYOUTS["files"].place["inode"]]) for row in busiest} <= kept
        assert len(kept) < 100


@pytest.mark.parametrize("names", [1, 10_000])
def test_folding_bounds_rows_whatever_the_names(tmp_path: Path, names: int) -> None:
    layout = LAYOUTS[PROCESSES]
    rows = [
        make.process(pid, name=b"%d" % (pid % names), unit=b"%d" % (pid % names))
        for pid in range(1, 4001)
    ]
    deltas = np.ones((len(rows), len(layout.counters)), np.int64)
    with HistoryWriter(tmp_path, sync=False) as writer:
        for number in range(2):  # the second ends the slot of the first
            time_ns = START_NS + number * 7200 * SECOND
            writer.tick(make.tick(time_ns, {PROCESSES: rows}, {PROCESSES: deltas}))
    past = Past(tmp_path)
    hour = make.MONDAY
    message = past.message(hour, hour + 3600)
    assert message.processes.length < 1000
    assert {*message.processes.columns["uid"]} == {1000, 1001, 1002}
    assert sum(message.processes.columns["net_rx_bytes"]) == 4000
