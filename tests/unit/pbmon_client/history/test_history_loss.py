"""What cannot be read any more is told, whatever is left of the store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pbmon_client.history.buckets import Tick
from pbmon_client.history.layout import PROCESSES, TOTALS
from pbmon_client.history.past import Past
from pbmon_client.history.segments import files_of, scan
from pbmon_client.history.writer import HistoryWriter
from tests import past_host as make

START = make.MONDAY + 3 * 3600
TERABYTE = 1 << 40
Damage = Callable[[bytes], bytes]
DAMAGES: dict[str, Damage] = {
    "first bit": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "first checksum": lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:],
    "first frame": lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
    "zeros": lambda data: bytes(len(data)),
    "few bytes": lambda _data: b"\0\0\0",
    "nonsense": lambda _data: b"nonsense" * 100,
}
EVERY_DAMAGE = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)


def tick(second: int, epoch: str = "first") -> Tick:
    return make.tick(
        second * make.SECOND,
        {PROCESSES: [make.process(1)]},
        {PROCESSES: np.ones((1, len(TOTALS)), np.int64)},
        epoch=epoch,
    )


def record(directory: Path, first: int, last: int) -> None:
    with HistoryWriter(directory, sync=False) as writer:
        for second in range(first, last):
            writer.tick(tick(START + second))


def spoil(path: Path, damage: Damage, at: int) -> None:
    """Damage a file that was last written at a second after ``START``."""
    path.write_bytes(damage(path.read_bytes()))
    os.utime(path, (START + at, START + at))


def reasons(directory: Path, first: int, last: int) -> list[str]:
    """Return what a snapshot of a range and a series of it say is missing, which is the same."""
    past = Past(directory)
    found = past.message(START + first, START + last).health["reasons"]
    assert list(past.series(START + first, START + last, 1).reasons) == found
    return list(found)


def told(directory: Path) -> list[tuple[int, int, str]]:
    """Return what of the finest tier is missing, in seconds after ``START``; None: any time."""
    return [
        (each.begin - START if each.begin else -1, each.end - START, each.why)
        for each in Past(directory).kept().missing
        if each.tier == 0
    ]


@EVERY_DAMAGE
def test_a_store_that_is_only_a_damaged_tail_says_so(tmp_path: Path, damage: Damage) -> None:
    record(tmp_path, 0, 40)
    spoil(tmp_path / "tail", damage, 40)
    assert told(tmp_path) == [(-1, 41, "the tail is damaged")]
    assert "history: the tail is damaged (1 s)" in reasons(tmp_path, 0, 40)
    assert Past(tmp_path).kept().why_empty.endswith("can be read: the tail is damaged")


@EVERY_DAMAGE
@pytest.mark.parametrize("ticks", [1, 30, 200])
def test_it_still_says_so_when_a_writer_goes_on(tmp_path: Path, damage: Damage, ticks: int) -> None:
    record(tmp_path, 0, 40)
    spoil(tmp_path / "tail", damage, 40)
    record(tmp_path, 0, 0)  # which is ended before there is a tick
    assert "history: the tail is damaged (1 s)" in reasons(tmp_path, 0, 40)
    record(tmp_path, 100, 100 + ticks)
    record(tmp_path, 100 + ticks, 101 + ticks)
    past = Past(tmp_path)
    assert told(tmp_path) == [(-1, 100, "what was before is lost")]
    assert {each.tier for each in past.kept().missing} == {0, 1, 2, 3}
    lost = "history: what was before is lost (1 s)"
    assert lost in reasons(tmp_path, 0, 40)
    assert lost in reasons(tmp_path, 0, 300)
    assert reasons(tmp_path, 100, 100 + ticks) == []
    assert past.message(START, START + 400).totals["net_rx_bytes"] == ticks + 1
    span = past.kept().span
    assert span is not None
    assert span.since_ns == (START + 99) * make.SECOND
    assert past.kept().gaps == ()
    hours = past.message(START - 86_400, START + 86_400)
    assert any("what was before is lost" in each for each in hours.health["reasons"])
    assert hours.totals["net_rx_bytes"] == ticks + 1


@pytest.mark.parametrize("after", [0, 7200])
def test_a_damaged_tail_behind_blocks_is_told_for_when_it_was_written(
    tmp_path: Path, after: int
) -> None:
    """Also if nothing was recorded for a while before it."""
    record(tmp_path, 0, 60)
    record(tmp_path, 60 + after, 100 + after)
    spoil(tmp_path / "tail", DAMAGES["first bit"], 100 + after)
    damaged = "history: the tail is damaged (1 s)"
    assert damaged in reasons(tmp_path, 60 + after, 100 + after)
    assert damaged not in reasons(tmp_path, 0, 60)


@pytest.mark.parametrize("tiers", ["0", "01", "0123"])
def test_a_damaged_tail_is_told_whichever_tiers_are_left(tmp_path: Path, tiers: str) -> None:
    record(tmp_path, 0, 4000)
    for path in tmp_path.glob(f"[{tiers}]-*.pbh"):
        path.unlink()
    spoil(tmp_path / "tail", DAMAGES["zeros"], 4000)
    assert "history: the tail is damaged (1 s)" in reasons(tmp_path, 3960, 4000)


def test_a_tail_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    record(tmp_path, 0, 90)
    (tmp_path / "tail").unlink()
    (tmp_path / "tail").mkdir()
    assert "history: the tail: Is a directory (1 s)" in reasons(tmp_path, 60, 90)
    assert Past(tmp_path).message(START, START + 60).totals["net_rx_bytes"] == 60


@pytest.mark.parametrize("last", [90, 119])
def test_a_file_of_nothing_but_damage_stays_so_that_it_is_told(tmp_path: Path, last: int) -> None:
    record(tmp_path, 0, last)
    for keep_tail in (True, False):
        directory = tmp_path / str(keep_tail)
        shutil.copytree(tmp_path, directory, ignore=shutil.ignore_patterns("True", "False"))
        (file,) = directory.glob("0-*.pbh")
        spoil(file, DAMAGES["zeros"], 60)
        if not keep_tail:
            (directory / "tail").write_bytes(b"")
        for _ in range(2):
            assert f"history: {file.name} is damaged (1 s)" in reasons(directory, 10, 20)
            record(directory, 130, 200)


@pytest.mark.parametrize("is_followed", [True, False])
def test_a_hole_of_a_terabyte_is_stepped_over(tmp_path: Path, *, is_followed: bool) -> None:
    """Reading it would take many minutes."""
    record(tmp_path, 0, 240)
    (file,) = (each for each in files_of(tmp_path) if each.tier == 0)
    first, _second, third = scan(file).blocks
    data = file.path.read_bytes()
    with file.path.open("r+b") as stream:
        stream.truncate(first.header.size)
        stream.truncate(TERABYTE)
        if is_followed:
            stream.seek(TERABYTE)
            stream.write(data[third.at : third.at + third.header.size])
    missing = reasons(tmp_path, 0, 180)
    assert f"history: {file.path.name} is damaged (1 s)" in missing
    assert Past(tmp_path).message(START, START + 60).totals["net_rx_bytes"] == 60
    last = Past(tmp_path).message(START + 120, START + 180)
    assert (last.totals["net_rx_bytes"] == 60) == is_followed


def test_a_store_that_begins_as_it_should_has_lost_nothing(tmp_path: Path) -> None:
    """Not even if the first tick of all has no length, and a minute of its own."""
    with HistoryWriter(tmp_path, sync=False) as writer:
        writer.tick(make.tick((START - 61) * make.SECOND, {}, {}, interval_ns=0))
        for second in range(70):
            writer.tick(tick(START + second))
    assert Past(tmp_path).kept().missing == ()
