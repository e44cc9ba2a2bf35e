"""An order whose rows at rest are made late is a list to whoever reads it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pbmon_client.present.busy_first import BusyFirst

BOUNDS = st.none() | st.integers(-12, 12)
STEPS = st.none() | st.integers(-3, 3).filter(bool)


@given(st.integers(0, 10), st.integers(0, 10), BOUNDS, BOUNDS, STEPS)
def test_any_slice_is_that_of_all_rows(
    busy: int, at_rest: int, start: int | None, stop: int | None, step: int | None
) -> None:
    rows = [*range(100, 100 + busy + at_rest)]
    order = BusyFirst(rows[:busy], len(rows), lambda: rows[busy:])
    wanted = slice(start, stop, step)
    assert order[wanted] == rows[wanted]


def test_rows_at_rest_are_not_made_for_a_window_of_busy_ones() -> None:
    made = []

    def at_rest() -> list[int]:
        made.append(1)
        return [1, 2]

    order = BusyFirst([7, 8, 9], 5, at_rest)
    assert (order[1:3], order[-3], len(made)) == ([8, 9], 9, 0)
    assert (order[2:], len(made)) == ([9, 1, 2], 1)
