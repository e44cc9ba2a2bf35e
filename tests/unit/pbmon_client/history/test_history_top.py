"""The flows of the busiest processes: all of theirs, and no more is read than they need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pbmon_client.history import loading
from pbmon_client.history.layout import LAYOUTS, PROCESSES
from pbmon_client.history.past import Past
from pbmon_client.history.writer import HistoryWriter
from pbmond.wire import Table
from tests import past_host as make

START = make.MONDAY + 3 * 3600
MINUTES = 5
FLOWS = ("connections", "files")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store in which every minute, which is a block, has a process of its own.

    Process 100 moves most; it is in the first and the last minute.
    """
    with HistoryWriter(tmp_path, sync=False) as writer:
        for second in range(MINUTES * 60):
            minute = second // 60
            pid = 100 if minute in (0, MINUTES - 1) else 100 + minute
            rows = {
                PROCESSES: [make.process(pid)],
                "connections": [make.connection(pid, 5000 + minute)],
                "files": [make.file(pid, 7), make.file(pid, 8)],
            }
            deltas = {
                table: np.full((len(some), len(LAYOUTS[table].counters)), 1 + (pid == 100))
                for table, some in rows.items()
            }
            writer.tick(make.tick((START + second) * make.SECOND, rows, deltas))
    return tmp_path


def rows_of(table: Table | None, pids: set[int]) -> set[tuple[object, ...]]:
    """Return the rows of some processes, each as its columns."""
    assert table is not None
    names = [*table.columns]
    rows = zip(*table.columns.values(), strict=True)
    return {row for row in rows if row[names.index("pid")] in pids}


def test_the_busiest_have_all_their_flows(store: Path) -> None:
    past = Past(store)
    every = past.message(START, START + MINUTES * 60)
    for top in range(1, 12):
        some = past.message(START, START + MINUTES * 60, top=top)
        owners = {*some.processes.columns["pid"]}
        assert 100 in owners
        for table in FLOWS:
            theirs = rows_of(getattr(every, table), owners)
            shown = rows_of(getattr(some, table), owners)
            assert shown <= theirs
            assert len(shown) == getattr(some, table).length == min(top, len(theirs))


def test_blocks_without_flows_of_the_busiest_are_not_inflated_for_them(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    section = loading.LoadedBlock._section

    def noted(block: loading.LoadedBlock, name: str) -> dict[str, Any]:
        read.append(name)
        return section(block, name)

    monkeypatch.setattr(loading.LoadedBlock, "_section", noted)
    Past(store).message(START, START + MINUTES * 60, top=1)
    assert read.count(PROCESSES) == MINUTES
    for table in FLOWS:
        assert read.count(table) == 2
