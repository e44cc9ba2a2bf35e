"""What is quicker than the plain way to read a store gives the same as the plain way."""

from __future__ import annotations

import zlib
from pathlib import Path

import msgpack
import numpy as np
import pytest

from pbmon_client.history.index import Indexer
from pbmon_client.history.layout import LAYOUTS, PROCESSES
from pbmon_client.history.packing import (
    MalformedError,
    among,
    pack,
    unpack,
    unpack_columns,
    unpack_runs,
    widest_first,
)
from pbmon_client.history.past import Past
from pbmon_client.history.sections import first_column
from pbmon_client.history.writer import HistoryWriter
from tests import past_host as make

START, BLOCK = make.MONDAY + 3 * 3600, 60


def columns(random: np.random.Generator, counts: list[int]) -> dict[str, bytes]:
    """Return columns of numbers of one to eight bytes."""
    return {
        f"column {place}": pack(random.integers(0, 1 << random.integers(1, 63), count))
        for place, count in enumerate(counts)
    }


def test_several_columns_are_unpacked_as_each_by_itself() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        counts = random.integers(0, 20, random.integers(1, 12)).tolist()
        runs = [each for _name, each in widest_first(columns(random, counts).items())]
        every = np.concatenate([unpack(each) for each in runs])
        counts = [len(unpack(each)) for each in runs]
        assert unpack_runs(runs, counts).tolist() == every.tolist()
        some = np.flatnonzero(random.random(len(every)) < 0.3)
        assert unpack_runs(runs, counts, some).tolist() == every[some].tolist()

        same = columns(random, [7] * 9)
        unpacked = {name: each.tolist() for name, each in unpack_columns(same, 7).items()}
        assert unpacked == {name: unpack(each).tolist() for name, each in same.items()}


@pytest.mark.parametrize("wrong", [b"\x01", b"\x00ab", b"\x09" + bytes(18), b"\x01abc"])
def test_columns_that_are_not_whole_are_damage_among_others_too(wrong: bytes) -> None:
    with pytest.raises(MalformedError):
        unpack_columns({"sound": pack([1, 2]), "wrong": wrong}, 2)
    runs = [each for _name, each in widest_first({"a": pack([1, 2]), "b": wrong}.items())]
    with pytest.raises(MalformedError):
        unpack_runs(runs, [2, 2])


@pytest.mark.parametrize("wanted", [[], [5], [5, 5 + (1 << 12), 5 + (1 << 40), 77]])
def test_a_value_is_wanted_only_if_all_of_its_bits_are(wanted: list[int]) -> None:
    values = np.array([5, 5 + (1 << 12), 5 + (1 << 13), 77, 78, 5 + (1 << 40)], np.uint64)
    those = np.array(wanted, np.uint64)
    assert among(values, those).tolist() == np.isin(values, those).tolist()
    assert among(values[:0], those).tolist() == []


@pytest.mark.parametrize("rows", [0, 1, 30, 31, 100, 50_000])
def test_the_first_column_is_known_however_long_it_is(rows: int) -> None:
    pids = np.arange(rows) * 7
    section = {"columns": {"pid": pack(pids), "uid": pack(pids)}, "rows": rows}
    packed = zlib.compress(msgpack.packb(section))
    found = first_column(packed, "pid", zlib.crc32(packed))
    assert found is not None
    assert found.tolist() == pids.tolist()
    assert first_column(packed, "uid", zlib.crc32(packed)) is None
    assert first_column(packed, "pid", 0) is None


def test_the_top_is_that_of_all_rows_wherever_they_moved_it(tmp_path: Path) -> None:
    """Some move a little in every block, and ids that are equal in their lowest bits are others."""
    blocks, random = 5, np.random.default_rng(2)
    with HistoryWriter(tmp_path, sync=False) as writer:
        for block in range(blocks):
            steady = [make.process(pid) for pid in range(1, 6)]
            once = [make.process((pid << 13) + block, start_ns=9) for pid in range(1, 12)]
            # One process id, of another process in every other block.
            again = [make.process(6, start_ns=1 + block % 2)]
            rows = steady + once + again
            moved = random.integers(1, 40, (len(rows), len(LAYOUTS[PROCESSES].counters)))
            moved[: len(steady)] += 5
            time_ns = (START + block * BLOCK) * make.SECOND
            writer.tick(make.tick(time_ns, {PROCESSES: rows}, {PROCESSES: moved}))
    past = Past(tmp_path)
    layout = LAYOUTS[PROCESSES]
    traffic = [
        name for name, is_traffic in zip(layout.counters, layout.traffic, strict=True) if is_traffic
    ]

    def sums(top: int | None) -> list[tuple[int, int, int]]:
        rows = past.message(START, START + blocks * BLOCK, top=top).processes
        assert rows is not None
        moved = np.sum([rows.columns[name] for name in traffic], axis=0).tolist()
        return list(zip(moved, rows.columns["pid"], rows.columns["start_ns"], strict=True))

    every = sums(None)
    assert len(every) == len({row[1:] for row in every}) == 5 + 11 * blocks + 2
    in_order = sorted(every, key=lambda row: -row[0])
    for top in range(len(every) + 2):
        assert sums(top) == in_order[:top]


def test_an_index_is_the_same_until_something_is_recorded(tmp_path: Path) -> None:
    indexer = Indexer(tmp_path)
    with HistoryWriter(tmp_path, sync=False) as writer:
        seen = []
        for second in range(2 * BLOCK):
            time_ns = (START + second) * make.SECOND
            writer.tick(make.tick(time_ns, {PROCESSES: [make.process(1)]}, {PROCESSES: ONE}))
            index = indexer.read()
            assert indexer.read() is index
            seen.append(max(kept.last for kept in index.kept))
    assert seen == [*range(seen[0], seen[0] + len(seen))]


ONE = np.ones((1, len(LAYOUTS[PROCESSES].counters)), np.int64)
