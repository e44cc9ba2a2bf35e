"""How numbers, durations and times are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbmon_client.present.numbers import Units, clock, duration, latency, magnitude, moment

DAY_NS = 86_400 * 10**9


@pytest.mark.parametrize(
    ("units", "value", "text"),
    [
        (Units(), None, "?"),
        (Units(), 0, "·"),
        (Units(), 0.2, "<1"),
        (Units(), 12_345_678, "12.3M"),
        (Units(bits=True), 1_000, "8.0K"),
        (Units(binary=True), 1024, "1.0K"),
        (Units(binary=True), 1023, "1.0K"),
        (Units(exact=True), 12_345_678, "12,345,678"),
        (Units(exact=True), 0.2, "<1"),
        (Units(exact=True), None, "?"),
    ],
)
def test_traffic(units: Units, value: float | None, text: str) -> None:
    assert units.write(value) == text


@given(
    st.lists(st.none() | st.floats(0, 2**70) | st.integers(0, 2**64)),
    st.builds(Units, bits=st.booleans(), binary=st.booleans(), exact=st.booleans()),
)
def test_many_numbers_are_written_as_each_is(values: list[float | None], units: Units) -> None:
    assert units.write_each(values) == [units.write(value) for value in values]


@given(st.floats(0, 2**70), st.booleans(), st.booleans())
def test_a_short_number_fits_its_cells(value: float, bits: bool, binary: bool) -> None:
    units = Units(bits=bits, binary=binary)
    assert len(units.write(value)) <= units.cells


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (12.9, "12 s"), (200, "3 m 20 s"), (180, "3 m"), (7_500, "2 h 5 m"),
     (349_200, "4 d 1 h"), (-3, "0 s")],
)  # fmt: skip
def test_durations_have_at_most_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("us", "text"),
    [(1, "0.001 ms"), (85, "0.085 ms"), (999, "0.999 ms"), (41_260, "41.3 ms"),
     (999_900, "1000 ms"), (1_250_000, "1.25 s"), (120_000_000, "120 s"),
     (4_294_967_295, "4295 s")],
)  # fmt: skip
def test_latencies_have_three_digits_and_fit_eight_cells(us: int, text: str) -> None:
    assert latency(us) == text
    assert len(text) <= 8


def test_times_of_other_days_have_a_date() -> None:
    assert clock(3_723 * 10**9) == "01:02:03"
    assert moment(5 * 10**9, 9 * 10**9) == "00:00:05"
    assert moment(0, DAY_NS) == "1970-01-01 00:00"


def test_few_numbers_stand_out() -> None:
    assert [magnitude(v, totals=False) for v in (None, 0, 10, 5e6, 5e8)] == [
        "dim", "dim", "text", "big", "huge"
    ]  # fmt: skip
    assert magnitude(5e6, totals=True) == "text"


@pytest.mark.parametrize(
    ("units", "words"),
    [(Units(), "bytes/s"), (Units(bits=True), "bits/s"), (Units(totals=True), "bytes total"),
     (Units(binary=True), "bytes/s, 1024")],
)  # fmt: skip
def test_the_header_names_the_unit(units: Units, words: str) -> None:
    assert units.words == words
