"""What a reader of the past is shown: rows, rates, frames, gaps, and nobody else's rows."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pbmon_client.data.filters import parse
from pbmon_client.data.model import Selection, snapshot_of
from pbmon_client.history.block import HEADER_BYTES, parse_header
from pbmon_client.history.buckets import RowsMoved, Tick
from pbmon_client.history.handles import values_of
from pbmon_client.history.layout import LAYOUTS, PROCESSES, KeptRow
from pbmon_client.history.loading import load
from pbmon_client.history.packing import MalformedError, pack, unpack
from pbmon_client.history.past import Past
from pbmon_client.history.retention import too_large, too_old
from pbmon_client.history.sections import TableSection
from pbmon_client.history.segments import SegmentFile, files_of, scan
from pbmon_client.history.spans import TimeSpan
from pbmon_client.history.tiers import TIERS
from pbmon_client.history.writer import HistoryWriter
from pbmond import wire
from pbmond.fields import NO_UID, RATES
from tests import past_host as make

SECOND = make.SECOND
START = make.MONDAY + 3 * 3600
DATA = Path(__file__).parents[3] / "data" / "history"


def moved(rows: Sequence[KeptRow], table: str = PROCESSES, **counters: int) -> np.ndarray:
    deltas = np.zeros((len(rows), len(LAYOUTS[table].counters)), np.int64)
    for name, value in counters.items():
        deltas[:, LAYOUTS[table].counters.index(name)] = value
    return deltas


def simple(second: int, rows: Sequence[KeptRow], received: int = 10, **values: object) -> Tick:
    deltas = {PROCESSES: moved(rows, net_rx_bytes=received)}
    return make.tick(second * SECOND, {PROCESSES: rows}, deltas, **values)  # type: ignore[arg-type]


def record(directory: Path, ticks: Sequence[Tick]) -> Past:
    with HistoryWriter(directory, sync=False) as writer:
        for tick in ticks:
            writer.tick(tick)
    return Past(directory)


def test_a_range_is_a_snapshot_that_filters_and_columns_work_on(tmp_path: Path) -> None:
    rows = [make.process(pid) for pid in (3, 4)]
    connections = [make.connection(3, 5000), make.connection(4, 6000), make.connection(4, 6001)]
    files = [make.file(4, 77)]
    tables = {PROCESSES: rows, "connections": connections, "files": files}
    deltas = {
        PROCESSES: moved(rows, net_rx_bytes=600, file_write_bytes=30),
        "connections": moved(connections, "connections", rx_bytes=300, retransmitted_segments=1),
        "files": moved(files, "files", write_bytes=30),
    }
    ticks = [make.tick((START + second) * SECOND, tables, deltas) for second in range(60)]
    message = record(tmp_path, ticks).message(START, START + 60)
    assert message.health == {"status": "complete", "reasons": []}
    assert message.coverage.keys() == wire.COVERAGE.keys()
    for part, kinds in wire.COVERAGE_PARTS.items():
        assert "name" in kinds or message.coverage[part].keys() == kinds.keys()
    for name, columns in wire.TABLES.items():
        assert getattr(message, name).columns.keys() == columns.keys()
    expression = parse("remote_port = 6001 and unit = app-4.service")
    selection = Selection(filter=expression, flows=True)
    snapshot = snapshot_of(message, selection, 0, "all", str)
    assert snapshot.connections is not None
    assert snapshot.files is not None
    assert snapshot.processes.column("net_rx_bytes") is not None
    assert [*snapshot.processes.column("net_rx_bytes")] == [36_000, 36_000]
    assert [*snapshot.processes.column("net_rx_bytes_per_s")] == [600.0, 600.0]
    assert [*snapshot.processes.column("connections")] == [1, 2]
    assert [*snapshot.processes.column("files")] == [0, 1]
    assert [*snapshot.processes.column("user")] == ["1000", "1001"]
    assert [*snapshot.connections.column("retransmitted_segments")] == [60, 60, 60]
    assert [*snapshot.connections.column("open")] == [None] * 3
    assert [*snapshot.files.column("path")] == ["/var/lib/data/77"]
    assert [*(snapshot.files.values("name") or ())] == ["worker-4"]
    answers = expression.evaluate(snapshot.connections.values, len(snapshot.connections))
    assert answers.yes == [port == 6001 for port in snapshot.connections.column("remote_port")]
    assert answers.yes.count(True) == 1
    assert snapshot.totals["net_rx_bytes"] == 72_000
    assert snapshot.totals["net_rx_bytes_per_s"] == 1_200.0
    assert message.totals.keys() >= {*RATES}


def test_a_user_sees_rows_and_totals_of_their_own(tmp_path: Path) -> None:
    tick = make.random_tick(np.random.default_rng(1), START * SECOND, 30)
    record(tmp_path, [tick])
    layout = LAYOUTS[PROCESSES]
    users = tick.tables[PROCESSES].rows.numbers[:, layout.place["uid"]]
    own = np.flatnonzero(users == 1001)
    message = Past(tmp_path, uid=1001).message(START, START + 1)
    assert {*message.processes.columns["uid"]} == {1001}
    sums = tick.tables[PROCESSES].deltas[own].sum(axis=0).tolist()
    assert [message.totals[name] for name in layout.counters] == sums
    assert message.retired.length == 0
    owners = {*message.processes.columns["pid"]}
    for table in (message.connections, message.files):
        assert table is not None
        assert table.length
        assert {*table.columns["pid"]} <= owners
    series = Past(tmp_path, uid=1001).series(START, START + 1, 1)
    assert series.sums.tolist() == [sums]
    others = Past(tmp_path, uid=1001).series(START, START + 1, 1, {"uid": 1002})
    assert others.sums.tolist() == [[0] * len(sums)]
    as_another = Past(tmp_path, uid=1001).series(START, START + 1, 1, {"viewer": 1002})
    assert as_another.sums.tolist() == [sums]  # a user cannot ask as another


def test_bytes_of_a_process_that_changes_its_user_stay_with_the_old_one(tmp_path: Path) -> None:
    before, after = make.process(7, uid=0), make.process(7, uid=1000)
    record(tmp_path, [simple(START, [before], 500), simple(START + 1, [after], 3)])
    assert Past(tmp_path, uid=1000).message(START, START + 2).totals["net_rx_bytes"] == 3
    assert Past(tmp_path, uid=0).message(START, START + 2).totals["net_rx_bytes"] == 500


def test_what_moved_while_a_user_might_not_see_it_is_not_theirs_though_the_uid_is(
    tmp_path: Path,
) -> None:
    """Of one process in one bucket, and of its files; names are those of the time in between."""
    secret, mine = make.file(7, 1, uid=1000, viewer=NO_UID), make.file(7, 2, uid=1000)
    hidden = make.process(7, uid=1000, viewer=NO_UID, cmdline=b"sudo\0secret")
    shown = make.process(7, uid=1000, cmdline=b"curl")
    ticks = []
    for second, (process, file) in enumerate([(hidden, secret), (shown, mine), (hidden, secret)]):
        rows = {PROCESSES: [process], "files": [file]}
        sizes = {"file_read_bytes": 10**second}
        deltas = {
            PROCESSES: moved([process], **sizes),
            "files": moved([file], "files", read_bytes=10**second),
        }
        ticks.append(make.tick((START + second) * SECOND, rows, deltas))
    record(tmp_path, ticks)
    own = Past(tmp_path, uid=1000)
    message = own.message(START, START + 3)
    assert message.files is not None
    assert message.files.columns["path"] == [b"/var/lib/data/2"]
    assert (message.processes.columns["cmdline"], message.totals["file_read_bytes"]) == (
        [b"curl"],
        10,
    )
    everything = Past(tmp_path).message(START, START + 3)
    assert [*everything.processes.columns["file_read_bytes"]] == [111]


@pytest.mark.parametrize("count", [3, 900])
def test_folding_mixes_nothing_of_different_viewers(tmp_path: Path, count: int) -> None:
    """Of two ticks, a user may see the first only; in the coarser tiers that folds to few rows."""
    layout, viewers = LAYOUTS[PROCESSES], (1000, NO_UID)
    ticks = []
    for second, viewer in enumerate(viewers):
        rows = {
            PROCESSES: [make.process(pid, uid=1000, viewer=viewer) for pid in range(1, count)],
            "files": [make.file(pid, pid, uid=1000, viewer=viewer) for pid in range(1, count)],
        }
        deltas = {
            table: np.full((len(rows[table]), len(LAYOUTS[table].counters)), 1 + 99 * second)
            for table in rows
        }
        ticks.append(make.tick((START + second) * SECOND, rows, deltas))
    ticks.append(simple(START + 7200, [make.process(1)], 0))  # ends the hour
    record(tmp_path, ticks)
    for path in tmp_path.glob("0-*.pbh"):
        path.unlink()
    own = Past(tmp_path, uid=1000).message(START, START + 3600)
    assert {own.totals[name] for name in layout.counters} == {count - 1}
    assert own.files is not None
    assert sum(own.files.columns["read_bytes"]) == count - 1
    assert sum(Past(tmp_path).message(START, START + 3600).processes.columns["net_rx_bytes"]) == (
        101 * (count - 1)
    )


def test_a_process_that_runs_another_program_stays_one_row_with_its_newest_name(
    tmp_path: Path,
) -> None:
    rows = [make.process(7, name=name) for name in (b"sh", b"make")]
    past = record(tmp_path, [simple(START + number, [row]) for number, row in enumerate(rows)])
    processes = past.message(START, START + 2).processes
    assert processes.columns["name"] == [b"make"]
    assert [*processes.columns["net_rx_bytes"]] == [20]


def test_top_keeps_the_busiest_and_the_totals_of_all(tmp_path: Path) -> None:
    rows = [make.process(pid) for pid in range(1, 101)]
    deltas = moved(rows)
    deltas[:, 0] = np.arange(1, 101)
    tick = make.tick(START * SECOND, {PROCESSES: rows}, {PROCESSES: deltas})
    message = record(tmp_path, [tick]).message(START, START + 1, top=3)
    assert [*message.processes.columns["pid"]] == [100, 99, 98]
    assert message.totals["net_rx_bytes"] == 5050
    by = Past(tmp_path).message(START, START + 1, top=1, by=["net_tx_bytes"])
    assert by.processes.length == 1


def test_the_top_is_the_beginning_of_all_by_traffic_also_where_rows_moved_the_same(
    tmp_path: Path,
) -> None:
    rows = [make.process(pid) for pid in range(1, 31)]
    deltas = moved(rows)
    deltas[:, 0] = np.random.default_rng(3).integers(0, 4, 30)
    tick = make.tick(START * SECOND, {PROCESSES: rows}, {PROCESSES: deltas})
    past = record(tmp_path, [tick])
    every = past.message(START, START + 1, top=1000).processes.columns["pid"].tolist()
    assert len(every) == np.count_nonzero(deltas[:, 0])
    for top in range(len(every) + 1):
        some = past.message(START, START + 1, top=top).processes.columns["pid"].tolist()
        assert some == every[:top]


def test_numbers_that_are_not_as_many_as_their_counter_has_are_damage(tmp_path: Path) -> None:
    rows = [make.process(pid) for pid in range(1, 4)]
    deltas = moved(rows)
    deltas[:, 0], deltas[0, 1] = 5, 7
    tick = make.tick(START * SECOND, {PROCESSES: rows}, {PROCESSES: deltas})
    record(tmp_path, [tick, simple(START + 60, rows)])
    block = load(scan(files_of(tmp_path)[0]).blocks[0])
    section = block._section(PROCESSES)
    sound = TableSection(PROCESSES, section, dict)
    assert sorted(sound.moved()[3].tolist()) == [5, 5, 5, 7]
    # One has a number less and another one more: together they are as many as before.
    names = LAYOUTS[PROCESSES].counters
    section["counters"] |= {names[0]: pack([5, 5]), names[1]: pack([7, 7])}
    with pytest.raises(MalformedError):
        TableSection(PROCESSES, section, dict).moved()


def test_what_no_process_has_is_a_retired_row(tmp_path: Path) -> None:
    tick = simple(START, [make.process(1)], 100)
    tick.totals[0] += 11
    message = record(tmp_path, [tick]).message(START, START + 1)
    assert message.totals["net_rx_bytes"] == 111
    assert [*message.retired.columns["net_rx_bytes"]] == [11]


def test_a_frame_is_the_interval_that_covers_a_moment(tmp_path: Path) -> None:
    ticks = [simple(START + 3 * number, [make.process(1)], number) for number in range(1, 40)]
    ticks = [
        make.tick(tick.time_ns, {PROCESSES: [make.process(1)]},
                  {PROCESSES: tick.tables[PROCESSES].deltas}, interval_ns=3 * SECOND)
        for tick in ticks
    ]  # fmt: skip
    past = record(tmp_path, ticks)
    for second in (30, 31, 32):
        frame = past.frame(START + second)
        assert frame.totals["net_rx_bytes"] == 11
        # Its rates are those of the whole interval, although its slot is one second.
        assert frame.interval_ns >= 3 * SECOND
        assert frame.totals["net_rx_bytes_per_s"] <= 11 / 3
    nothing = past.frame(START - 100)
    assert nothing.processes.length == 0
    assert nothing.health["reasons"] == ["history: nothing was recorded"]


def test_time_without_the_daemon_is_a_gap_and_said(tmp_path: Path) -> None:
    seconds = [*range(100), *range(400, 500)]
    ticks = [simple(START + second, [make.process(1)]) for second in seconds]
    ticks[100:] = [
        simple(START + second, [make.process(1)], epoch="second") for second in seconds[100:]
    ]
    past = record(tmp_path, ticks)
    kept = past.kept()
    assert kept.gaps == (TimeSpan((START + 99) * SECOND, (START + 399) * SECOND),)
    assert past.message(START, START + 500).health["reasons"] == [
        "history: about 299 s were not recorded"
    ]
    assert past.message(START, START + 500).epoch == "second"
    assert past.message(START, START + 90).health["reasons"] == []
    assert past.message(START, START + 90).epoch == "first"


@pytest.mark.parametrize("late_ns", [-1, 0, 1, 300_000_000])
def test_the_second_in_which_a_gap_begins_has_the_tick_that_ends_then(
    tmp_path: Path, late_ns: int
) -> None:
    rows = [make.process(1)]
    times = [(START + second) * SECOND + late_ns for second in (*range(10), *range(60, 70))]
    deltas = {PROCESSES: moved(rows, net_rx_bytes=1)}
    past = record(tmp_path, [make.tick(each, {PROCESSES: rows}, deltas) for each in times])
    (gap,) = past.kept().gaps
    seconds = range(START, START + 80)
    silent = [each - START for each in seconds[gap.silent(seconds, 1)]]
    ended = {each // SECOND - START for each in times}
    # The second before the last one is that of the interval that ends next.
    until = (times[10] - SECOND) // SECOND - START
    assert silent == [at for at in range(until) if at > times[9] // SECOND - START]
    assert not {*silent} & ended
    assert past.frame(START + silent[0]).totals["net_rx_bytes"] == 0
    assert past.frame(START + silent[0] - 1).totals["net_rx_bytes"] == 1


def counting(second: int, epoch: str, running: int) -> Tick:
    """Return a tick of a daemon that has counted 10 bytes a second for ``running`` seconds."""
    cumulative = moved([()], net_rx_bytes=10 * running)[0]
    return simple(
        START + second, [make.process(1)], 10, epoch=epoch, cumulative=cumulative,
        running_ns=running * SECOND,
    )  # fmt: skip


def test_time_without_the_recorder_is_one_wide_row_and_exact(tmp_path: Path) -> None:
    record(tmp_path, [counting(second, "first", 1000 + second) for second in range(100)])
    ticks = [counting(second, "first", 1000 + second) for second in range(400, 500)]
    past = record(tmp_path, ticks)
    message = past.message(START, START + 500)
    assert message.totals["net_rx_bytes"] == 5000
    assert [*message.processes.columns["net_rx_bytes"]] == [2000]
    assert [*message.retired.columns["net_rx_bytes"]] == [3000]
    assert message.health["reasons"] == []
    assert past.kept().gaps == ()
    # The row ends where recording goes on, and the frame of any moment in between shows it.
    wide = past.frame(START + 200)
    assert wide.totals["net_rx_bytes"] == 3000
    assert past.message(START + 100, START + 399).totals["net_rx_bytes"] == 0


def test_what_a_new_run_counted_before_it_was_asked_is_not_lost(tmp_path: Path) -> None:
    record(tmp_path, [counting(second, "first", 1000 + second) for second in range(70)])
    ticks = [counting(second, "second", second - 80) for second in range(100, 200)]
    past = record(tmp_path, ticks)
    assert past.message(START, START + 200).totals["net_rx_bytes"] == 700 + 1190
    assert past.kept().gaps == (TimeSpan((START + 69) * SECOND, (START + 80) * SECOND),)


def test_the_first_tick_of_a_store_counts_nothing_from_before(tmp_path: Path) -> None:
    past = record(tmp_path, [counting(0, "first", 10**6)])
    assert past.message(START - 10, START + 1).totals["net_rx_bytes"] == 10


@pytest.mark.unmeasured
def test_a_range_is_rounded_to_what_is_kept(tmp_path: Path) -> None:
    ticks = [simple(START + second, [make.process(1)], 1) for second in range(3 * 3600)]
    past = record(tmp_path, ticks)
    for path in tmp_path.glob("[01]-*.pbh"):
        if int(path.name[2:13]) < START + 3600:
            path.unlink()
    past.refresh()
    message = past.message(START + 610, START + 650)
    assert (message.time_ns, message.interval_ns) == ((START + 660) * SECOND, 60 * SECOND)
    assert message.totals["net_rx_bytes"] == 60
    series = past.series(START + 610, START + 1000, 7)
    assert series.step == 60
    assert series.sums[:, 0].tolist() == [60] * 7


def test_a_reader_follows_a_writer(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path, sync=False) as writer:
        writer.tick(simple(START, [make.process(1)], 1))
        past = Past(tmp_path)
        for second in range(1, 700):
            writer.tick(simple(START + second, [make.process(1)], 1))
            if second % 37 == 0:
                past.refresh()
                assert past.message(START, START + 700).totals["net_rx_bytes"] == second + 1


def test_a_clock_that_is_wrong_for_a_moment_erases_nothing(tmp_path: Path) -> None:
    rows = [make.process(1)]
    ticks = [
        simple(START + number * 60 + (10**9 if 150 < number < 170 else 0), rows, 1,
               now_ns=number * 60 * SECOND)
        for number in range(300)
    ]  # fmt: skip
    past = record(tmp_path, ticks)
    assert past.message(START, START + 300 * 60).totals["net_rx_bytes"] == 281
    later = past.message(START + 10**9, START + 10**9 + 300 * 60)
    assert later.totals["net_rx_bytes"] == 19


@pytest.mark.unmeasured
@pytest.mark.parametrize("ticks_after", [30, 700, 4000])
def test_a_clock_that_is_set_back_behind_what_a_tier_keeps_hides_nothing(
    tmp_path: Path, ticks_after: int
) -> None:
    rows = [make.process(1)]
    forward = [simple(START + second, rows, 1) for second in range(8000)]
    back = [simple(START + 20 + second, rows, 100) for second in range(ticks_after)]
    past = record(tmp_path, [*forward, *back])
    for path in tmp_path.glob("[01]-*.pbh"):  # only the newest ticks of these two are left
        blocks = scan(next(each for each in files_of(tmp_path) if each.path == path)).blocks
        if blocks[-1].header.last < 7000:
            path.unlink()
    past.refresh()
    message = past.message(START, START + 9000)
    assert message.totals["net_rx_bytes"] == 8000 + 100 * ticks_after


def test_a_block_of_a_newer_version_is_said_to_be_missing(tmp_path: Path) -> None:
    past = record(tmp_path, [simple(START + second, [make.process(1)], 1) for second in range(200)])
    file = next(tmp_path.glob("0-*.pbh"))
    data = bytearray(file.read_bytes())
    header = parse_header(bytes(data))
    assert header is not None
    data[4] = 9
    data[HEADER_BYTES - 4 : HEADER_BYTES] = zlib.crc32(data[: HEADER_BYTES - 4]).to_bytes(
        4, "little"
    )
    file.write_bytes(data)
    past = Past(tmp_path)
    message = past.message(START, START + 200)
    assert message.totals["net_rx_bytes"] == 200 - 60
    assert any("newer version of pbmon (9)" in each for each in message.health["reasons"])
    assert "newer version" in past.kept().missing[0].why


def test_the_size_is_never_exceeded(tmp_path: Path) -> None:
    size, chance = 600_000, np.random.default_rng(2)
    with HistoryWriter(tmp_path, size, sync=False) as writer:
        for number in range(600):
            writer.tick(make.random_tick(chance, (START + 10 * number) * SECOND, 30))
            assert sum(each.stat().st_size for each in tmp_path.iterdir()) <= size
    assert Path(tmp_path / "lock").read_text().split()[1] == str(size)


def test_old_files_of_each_tier_go_but_not_one_that_is_written(tmp_path: Path) -> None:
    files = [
        SegmentFile(tmp_path / f"{tier}-{begin}", tier, begin, 1, 1000)
        for tier in range(4)
        for begin in (0, 100 * 86400)
    ]
    now = 101 * 86400
    assert [each.tier for each in too_old(files, [], now) if not each.begin] == [0, 1, 2]
    assert files[2] not in too_old(files, ["1-0"], now)


def test_the_tier_that_is_farthest_above_its_share_gives_its_oldest(tmp_path: Path) -> None:
    sizes = {0: 10, 1: 100, 2: 10, 3: 1}
    files = [
        SegmentFile(tmp_path / f"{tier}-{day}", tier, day * 86400, 1, size)
        for tier, size in sizes.items()
        for day in range(3)
    ]
    go = too_large(files, ["1-2"], 150, 300)
    assert [(each.tier, each.begin) for each in go] == [(1, 0), (1, 86400)]
    assert sum(each.size for each in too_large(files, ["1-2"], 10**6, 300)) == 263


def test_ticks_that_are_none_are_refused(tmp_path: Path) -> None:
    good = simple(START, [make.process(1)])
    one = good.tables[PROCESSES]
    no_texts = dict.fromkeys(one.rows.texts, ())
    with HistoryWriter(tmp_path, sync=False) as writer:
        for words, table in (
            ("a delta is not a positive", RowsMoved(one.rows, one.deltas - 20)),
            ("rows by counters", RowsMoved(values_of([], LAYOUTS[PROCESSES]), one.deltas)),
            ("layout's columns", replace_rows(one, numbers=one.rows.numbers[:, 1:])),
            ("layout's columns", replace_rows(one, texts=no_texts)),
            ("the texts are not those", replace_rows(one, texts={})),
        ):
            with pytest.raises(ValueError, match=words):
                writer.tick(replace(good, tables={PROCESSES: table}))
        with pytest.raises(ValueError, match="totals"):
            writer.tick(replace(good, totals=good.totals - 20))
        writer.tick(good)
    assert Past(tmp_path).message(START, START + 1).totals["net_rx_bytes"] == 10


def replace_rows(table: RowsMoved, **values: Any) -> RowsMoved:
    return replace(table, rows=replace(table.rows, **values))


@pytest.mark.parametrize("most", [0, 1, 255, 256, 1 << 24, (1 << 40) - 1, (1 << 64) - 1])
def test_numbers_come_back_from_their_planes(most: int) -> None:
    values = [0, most, most // 3, 1 if most else 0]
    assert unpack(pack(np.array(values, np.uint64))).tolist() == values
    assert unpack(pack([])).tolist() == []


def test_the_spans_of_blocks_and_files_nest() -> None:
    for finer, tier in pairwise(TIERS):
        assert tier.width % finer.width == 0
        assert tier.block % finer.block == 0
        assert finer.span % tier.block == 0
    for tier in TIERS:
        assert tier.block % tier.width == 0
        assert tier.span % tier.block == 0


def test_a_store_of_the_first_version_is_read(tmp_path: Path) -> None:
    """``tests/data/history`` was written by version 1 of the format; it is never made again."""
    shutil.copytree(DATA, tmp_path / "store", ignore=shutil.ignore_patterns("*.json"))
    past = Past(tmp_path / "store")
    for each in json.loads((DATA / "answers.json").read_text()):
        message = past.message(each["since"], each["until"])
        assert message.health["reasons"] == each["reasons"]
        counters = LAYOUTS[PROCESSES].counters
        totals = {name: message.totals[name] for name in counters if message.totals[name]}
        assert totals == each["totals"]
        assert message.connections is not None
        assert message.files is not None
        assert [*map(bytes.decode, message.processes.columns["name"])] == each["names"]
        assert sum(message.connections.columns["rx_bytes"]) == each["rx_bytes"]
        assert sum(message.files.columns["read_bytes"]) == each["read_bytes"]
        # It does not say who might see what: nobody but root and the access group.
        users = {*message.processes.columns["uid"]} - {0, NO_UID}
        assert users
        for uid in (*users, 0):
            own = Past(tmp_path / "store", uid).message(each["since"], each["until"])
            assert (own.processes.length, own.totals["net_rx_bytes"]) == (0, 0)
    with HistoryWriter(tmp_path / "store", sync=False) as writer:
        assert writer.next_tick == 10


def test_what_should_be_recorded_by_now_and_is_not_is_said(tmp_path: Path) -> None:
    """Nobody recorded any more when the range ended, and no later tick shows the gap."""
    past = record(tmp_path, [simple(START + at, [make.process(1)]) for at in range(100)])
    assert past.message(START, START + 105).health["reasons"] == []  # late, but not by much
    late = ["history: about 300 s were not recorded"]
    assert past.message(START, START + 400).health["reasons"] == late
    assert list(past.series(START, START + 400, 10).reasons) == late
