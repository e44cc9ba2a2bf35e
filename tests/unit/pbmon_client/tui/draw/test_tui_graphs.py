"""Graphs: heights are proportional, the newest sample is at the right, unknown is blank."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pbmon_client.present.cells import in_ascii
from pbmon_client.tui.draw.graphs import area, peak, spark

SAMPLES = st.lists(st.none() | st.floats(0, 1e12), max_size=80)


def test_a_spark_rises_by_eighths() -> None:
    assert spark([1, 2, 3, 4, 5, 6, 7, 8], 8, 8.0) == "▁▂▃▄▅▆▇█"


def test_the_newest_samples_are_at_the_right_and_old_ones_fall_off() -> None:
    assert spark([8, 1], 4, 8.0) == "  █▁"
    assert spark([8, 8, 1, 1], 2, 8.0) == "▁▁"


def test_nothing_and_unknown_are_blank_but_a_byte_shows() -> None:
    assert spark([0, None, 1e-3], 3, 1e9) == "  ▁"


def test_peak_leaves_out_what_is_unknown() -> None:
    assert peak([None, 3.0], [1.0]) == 3.0
    assert peak([None]) == peak() == 0.0


def test_an_area_fills_from_the_ground_up() -> None:
    assert area([4.0, 4.0, 8.0, 8.0], 2, 2, 8.0) == [" ⣿", "⣿⣿"]


def test_few_samples_are_two_dots_wide() -> None:
    assert area([8.0], 2, 1, 8.0) == [" ⣿"]


def test_an_area_in_ascii_has_no_other_characters() -> None:
    assert area([4.0, 8.0], 2, 2, 8.0, ascii_only=True) == [" #", "##"]


@given(SAMPLES, st.integers(0, 40), st.integers(1, 6))
def test_every_graph_has_exactly_its_size(
    samples: list[float | None], cells: int, rows: int
) -> None:
    top = peak(samples)
    assert len(spark(samples, cells, top)) == cells
    for ascii_only in (False, True):
        lines = area(samples, cells, rows, top, ascii_only=ascii_only)
        assert [len(line) for line in lines] == [cells] * rows
    assert in_ascii(spark(samples, cells, top)).isascii()
