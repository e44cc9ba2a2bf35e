"""Kills, torn files and flipped bits: the store of the past has no byte wrong without a word.

``PBMON_HISTORY_FAULTS=1000 pytest tests/faults/test_history_damage.py`` does a thousand of each.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pbmon_client.history.buckets import Tick
from pbmon_client.history.layout import LAYOUTS, PROCESSES, TOTALS
from pbmon_client.history.past import Past
from pbmon_client.history.storage import HeldError
from pbmon_client.history.writer import HistoryWriter
from tests import past_host as make

ROOT = Path(__file__).parents[2]
TIMES = int(os.environ.get("PBMON_HISTORY_FAULTS", "10"))
SECOND = make.SECOND
#: Ticks 40 s apart: a block of the finest tier has two of them.
STEP = 40


def tick_of(number: int) -> Tick:
    """Return a tick by its number; it is always the same."""
    time_ns = (make.MONDAY + number * STEP) * SECOND
    return make.random_tick(
        np.random.default_rng(number), time_ns, 6, interval_ns=STEP * SECOND, now_ns=number
    )


def record_on(directory: Path, most: int) -> None:
    """Go on recording where the store ends. A child process does this until it is killed.

    Up to five ticks are written together, as the recorder does it.
    """
    with HistoryWriter(directory) as writer:
        print("recording", flush=True)
        while (number := writer.next_tick) <= most:
            writer.ticks([tick_of(number + more) for more in range(1 + number % 5)])


def totals(ticks: Sequence[Tick]) -> dict[str, list[int]]:
    return {
        name: np.sum([tick.tables[name].deltas.sum(axis=0) for tick in ticks], axis=0).tolist()
        for name in LAYOUTS
    }


def asked(past: Past, since: int, until: int) -> tuple[dict[str, list[int]], list[str]]:
    message = past.message(since, until)
    tables = {name: getattr(message, name).columns for name in LAYOUTS}
    sums = {
        name: [sum(tables[name][counter]) for counter in layout.counters]
        for name, layout in LAYOUTS.items()
    }
    if not message.health["reasons"]:
        assert sums[PROCESSES] == [message.totals[name] for name in TOTALS]
    return sums, list(message.health["reasons"])


def at(number: int) -> int:
    return make.MONDAY + number * STEP


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Tick]]:
    """Return a store of seven hours, and its ticks."""
    directory = tmp_path_factory.mktemp("history")
    ticks = [tick_of(number) for number in range(1, 631)]
    with HistoryWriter(directory, sync=False) as writer:
        for tick in ticks:
            writer.tick(tick)
    return directory, ticks


def test_a_writer_that_is_killed_at_any_moment_loses_nothing_it_had_written(tmp_path: Path) -> None:
    """A thousand kills were made with ``PBMON_HISTORY_FAULTS=1000``."""
    chance = random.Random(3)
    kills = 0
    while kills < TIMES:
        command = f"import test_history_damage as t; t.record_on(t.Path({str(tmp_path)!r}), 10**6)"
        path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
        with subprocess.Popen(
            [sys.executable, "-c", command],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"recording\n"
            time.sleep(chance.uniform(0.0, 0.2))
            child.kill()
        kills += 1
        tail = tmp_path / "tail"
        if chance.random() < 0.3 and tail.stat().st_size:  # a power cut: the end is lost too
            os.truncate(tail, max(0, tail.stat().st_size - chance.randrange(1, 3000)))
        with HistoryWriter(tmp_path) as writer:
            last = writer.next_tick
    ticks = [tick_of(number) for number in range(1, last)]
    past = Past(tmp_path)
    assert past.kept().missing == ()
    assert asked(past, at(0), at(last)) == (totals(ticks), [])
    some = ticks[len(ticks) // 3 : -3]
    begin, end = (tick.time_ns // SECOND for tick in (some[0], some[-1]))
    assert asked(past, begin, end + 1) == (totals(some), [])


def test_a_tail_cut_at_any_byte_has_every_tick_before_the_cut(
    recorded: tuple[Path, list[Tick]], tmp_path: Path
) -> None:
    directory, ticks = recorded
    size = (directory / "tail").stat().st_size
    chance = random.Random(5)
    for cut in [0, 1, size - 1, *(chance.randrange(size) for _ in range(TIMES))]:
        shutil.copytree(directory, tmp_path / "cut")
        os.truncate(tmp_path / "cut" / "tail", cut)
        last = Past(tmp_path / "cut")._finder.index.kept[0].last
        assert len(ticks) - 2 <= last - 1 < len(ticks)
        sums, reasons = asked(Past(tmp_path / "cut"), at(0), at(last))
        assert (sums, reasons) == (totals(ticks[: last - 1]), [])
        # The next writer goes on with the number of the first tick that was lost.
        with HistoryWriter(tmp_path / "cut", sync=False) as writer:
            assert writer.next_tick == last
            writer.tick(tick_of(last))
        sums, reasons = asked(Past(tmp_path / "cut"), at(0), at(last + 1))
        assert (sums, reasons) == (totals(ticks[:last]), [])
        shutil.rmtree(tmp_path / "cut")


def test_segments_cut_at_any_byte_are_mended_or_said(
    recorded: tuple[Path, list[Tick]], tmp_path: Path
) -> None:
    directory, ticks = recorded
    chance = random.Random(7)
    names = sorted(each.name for each in directory.glob("*.pbh"))
    for _ in range(TIMES):
        shutil.copytree(directory, tmp_path / "cut")
        path = tmp_path / "cut" / chance.choice(names)
        os.truncate(path, chance.randrange(path.stat().st_size))
        for again in range(2):
            answer = asked(Past(tmp_path / "cut"), at(0), at(len(ticks) + 1))
            told_or_right(answer, ticks)
            if not again:
                HistoryWriter(tmp_path / "cut", sync=False).close()
        shutil.rmtree(tmp_path / "cut")


def told_or_right(answer: tuple[dict[str, list[int]], list[str]], ticks: Sequence[Tick]) -> None:
    sums, reasons = answer
    right = totals(ticks)
    if not reasons:
        assert sums == right
    for name, counted in sums.items():
        assert all(one <= other for one, other in zip(counted, right[name], strict=True))


def test_a_flipped_bit_is_said_and_costs_a_block_at_most(
    recorded: tuple[Path, list[Tick]], tmp_path: Path
) -> None:
    """A thousand bits were flipped with ``PBMON_HISTORY_FAULTS=1000``."""
    directory, ticks = recorded
    chance = random.Random(9)
    copy = tmp_path / "flipped"
    shutil.copytree(directory, copy)
    paths = sorted(each for each in copy.iterdir() if each.stat().st_size > 100)
    said = 0
    for _ in range(TIMES * 2):
        path = chance.choice(paths)
        sound = path.read_bytes()
        data = bytearray(sound)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        past = Past(copy)
        whole = asked(past, at(0), at(len(ticks) + 1))
        told_or_right(whole, ticks)
        some = ticks[300:500]
        told_or_right(asked(past, at(301), at(501)), some)
        past.kept()
        past.frame(at(chance.randrange(len(ticks))))
        past.series(at(0), at(len(ticks)), 3600, {"uid": 1000})
        said += bool(whole[1])
        path.write_bytes(sound)
    assert said > 0
    assert asked(Past(copy), at(0), at(len(ticks) + 1)) == (totals(ticks), [])


def test_a_writer_goes_on_after_flipped_bits(
    recorded: tuple[Path, list[Tick]], tmp_path: Path
) -> None:
    directory, ticks = recorded
    chance = random.Random(11)
    for _ in range(TIMES // 3 + 1):
        shutil.copytree(directory, tmp_path / "flipped")
        for path in (tmp_path / "flipped").iterdir():
            data = bytearray(path.read_bytes())
            if len(data) > 100:
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
                path.write_bytes(data)
        more = [tick_of(number) for number in range(len(ticks) + 1, len(ticks) + 200)]
        with HistoryWriter(tmp_path / "flipped", sync=False) as writer:
            for tick in more:
                writer.tick(tick)
        past = Past(tmp_path / "flipped")
        everything = [*ticks, *more]
        told_or_right(asked(past, at(0), at(len(everything) + 1)), everything)
        begin = at(len(ticks) + 1)
        assert asked(past, begin, at(len(everything) + 1))[0] == totals(more)
        shutil.rmtree(tmp_path / "flipped")


def test_files_of_somebody_elses_are_no_danger(tmp_path: Path) -> None:
    chance = random.Random(13)
    for name in ("0-01789948800.pbh", "3-01788048000.pbh", "2-99999999999.pbh", "tail"):
        (tmp_path / name).write_bytes(chance.randbytes(3000))
    (tmp_path / "1-01789948800.pbh").mkdir()
    (tmp_path / "7-01789948800.pbh").touch()
    message = Past(tmp_path).message(at(0), at(90))
    assert message.processes.length == 0
    assert message.health["status"] == "incomplete"


def test_a_second_recorder_is_told_who_holds_the_store(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path), pytest.raises(HeldError, match=f"by process {os.getpid()}$"):
        HistoryWriter(tmp_path)
    HistoryWriter(tmp_path).close()


def test_a_full_disk_pauses_the_recorder_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = [tick_of(number) for number in range(1, 200)]
    write = os.write
    left = 40_000

    def limited(descriptor: int, data: bytes | memoryview) -> int:
        nonlocal left
        if left <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(descriptor, data[:left])
        left -= written
        return written

    monkeypatch.setattr("pbmon_client.history.storage.os.write", limited)
    with HistoryWriter(tmp_path, sync=False) as writer:
        paused = 0
        for number, tick in enumerate(ticks):
            if number % 50 == 49:
                left = 60_000
            writer.tick(tick)
            paused += writer.paused is not None
            assert writer.paused is None or writer.paused.endswith("No space left on device")
        assert 0 < paused < len(ticks)
        left = 10**9
        writer.tick(tick_of(200))
        assert writer.paused is None
    sums, _reasons = asked(Past(tmp_path), at(0), at(201))
    assert sums == totals([*ticks, tick_of(200)])


def test_a_store_is_never_over_its_size_and_keeps_the_newest(tmp_path: Path) -> None:
    size = 2_000_000
    most = 0
    with HistoryWriter(tmp_path, size, sync=False) as writer:
        for number in range(1, 1700):
            writer.tick(tick_of(number))
            if number % 25 == 0:
                most = max(most, sum(each.stat().st_size for each in tmp_path.iterdir()))
            assert writer.paused is None
    assert 0.7 * size < most <= size
    past = Past(tmp_path)
    spans = [tier.span for tier in past.kept().tiers]
    assert all(span is not None and span.until_ns >= at(1600) * SECOND for span in spans)
    assert spans[0] is not None
    assert spans[0].since_ns > at(1) * SECOND
    sums, reasons = asked(past, at(1500), at(1700))
    assert (sums, reasons) == (totals([tick_of(number) for number in range(1500, 1700)]), [])


def test_a_size_that_is_too_small_is_a_pause_with_a_reason(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path, 20_000, sync=False) as writer:
        for number in range(1, 60):
            writer.tick(tick_of(number))
        assert writer.paused is not None
        assert writer.paused.endswith("the size of the history, 20000 bytes, is too small")
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) <= 20_000
