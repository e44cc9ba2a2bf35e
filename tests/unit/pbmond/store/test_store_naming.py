"""Which files have their names compared in a tick."""

from __future__ import annotations

import numpy as np

from pbmond.kernel.records import COUNTER, FILE_KEY
from pbmond.store.naming import Naming
from pbmond.store.rows import NO_SLOT, RowState

BUDGET = 10


def state(count: int, *, last_ns: list[int] | None = None, folded: int = 0) -> RowState:
    """Return rows with ids from 1; the first ``folded`` have left."""
    counters = np.zeros(count, COUNTER)
    counters["id"] = np.arange(1, count + 1)
    slots = np.zeros(count, np.int32)
    slots[:folded] = NO_SLOT
    return RowState(
        np.zeros(count, FILE_KEY),
        counters,
        slots,
        np.zeros((2, count), np.uint64),
        np.array(last_ns or [0] * count, np.uint64),
        np.zeros(count, np.uint8),
        count,
    )


def test_all_files_are_compared_if_the_budget_suffices() -> None:
    assert Naming().due(state(BUDGET), BUDGET).tolist() == list(range(1, BUDGET + 1))
    assert Naming().due(state(0), BUDGET).tolist() == []


def test_a_row_that_has_left_is_not_compared() -> None:
    assert Naming().due(state(8, folded=3), BUDGET).tolist() == [4, 5, 6, 7, 8]


def test_no_more_than_the_budget_is_compared() -> None:
    assert len(Naming().due(state(100), BUDGET)) == BUDGET


def test_files_that_moved_last_are_compared_in_every_tick() -> None:
    naming, rows = Naming(), state(100, last_ns=[*range(100, 0, -1)])
    for _ in range(30):
        assert {1, 2, 3, 4, 5} <= set(naming.due(rows, BUDGET).tolist())


def test_every_file_is_compared_within_one_round() -> None:
    naming, rows = Naming(), state(100, last_ns=[*range(100)])
    seen: set[int] = set()
    for _ in range(100 // (BUDGET // 2)):
        seen |= set(naming.due(rows, BUDGET).tolist())
    assert seen == set(range(1, 101))


def test_a_round_goes_on_when_the_table_has_become_shorter() -> None:
    naming = Naming()
    for _ in range(15):
        naming.due(state(100), BUDGET)
    assert set(naming.due(state(20), BUDGET).tolist()) <= set(range(1, 21))
