"""Text for people: what is hostile is made safe, what is long is cut, numbers stay short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbmon_client.data import text as fmt


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"nginx", "nginx"),
        ("größe 名前".encode(), "größe 名前"),
        (b"\x1b[2Jowned", r"\x1b[2Jowned"),
        (b"two\nlines\ttab", r"two\x0alines\x09tab"),
        (b"bad \xff\xfe utf-8", r"bad \xff\xfe utf-8"),
        ("a\u202egnp.exe".encode(), r"a\u202egnp.exe"),  # right-to-left override
        ("zero\u200bwidth".encode(), r"zero\u200bwidth"),
        ("line\u2028separator".encode(), r"line\u2028separator"),
        ("c1\u009b31m".encode(), r"c1\u009b31m"),
        ("tag\U000e0041".encode(), r"tag\U000e0041"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),  # a surrogate is no UTF-8
    ],
)
def test_hostile_bytes_become_visible_escapes(raw: bytes, shown: str) -> None:
    assert fmt.safe(raw) == shown


@given(st.binary(max_size=200))
def test_safe_text_is_always_printable_and_stays_the_same(raw: bytes) -> None:
    text = fmt.safe(raw)
    assert text.isprintable()
    assert fmt.safe_text(text) == text


def test_a_command_line_is_joined_by_spaces_without_a_last_one() -> None:
    assert fmt.safe_cmdline(b"sh\0-c\0echo a\nb\0") == r"sh -c echo a\x0ab"


def test_wide_characters_take_two_cells_and_combining_ones_none() -> None:
    assert [fmt.width(text) for text in ("ab", "名前", "e\u0301")] == [2, 4, 1]


def test_what_counts_as_one_cell_is_one_cell_wide() -> None:
    every = [chr(code) for code in range(0x20, 0x3000) if chr(code).isprintable()]
    narrow = [char for char in every if fmt._NARROW.fullmatch(char)]
    assert len(narrow) > 1000
    assert {fmt._cells(char) for char in narrow} == {1}


@given(st.text(max_size=40).map(fmt.safe_text), st.integers(1, 30), st.booleans())
def test_fitted_text_fills_its_cells_exactly(text: str, cells: int, keep_end: bool) -> None:
    assert fmt.width(fmt.fit(text, cells, keep_end=keep_end)) == cells


def test_a_cut_keeps_the_end_that_matters() -> None:
    assert fmt.fit("/srv/data/file", 8) == "/srv/da…"
    assert fmt.fit("/srv/data/file", 8, keep_end=True) == "…ta/file"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "?"),
        (0, "0"),
        (0.2, "<1"),
        (999, "999"),
        (999.6, "1.0K"),
        (1000, "1.0K"),
        (99_949, "99.9K"),
        (99_950, "100K"),
        (999_499, "999K"),
        (999_500, "1.0M"),
        (1_500_000, "1.5M"),
        ((1 << 64) - 1, "18.4E"),
        (5e21, "5000E"),
    ],
)
def test_numbers_are_short_and_in_si_units(value: float | None, shown: str) -> None:
    assert fmt.human(value) == shown


@given(st.integers(0, (1 << 64) - 1))
def test_no_counter_takes_more_than_five_characters(value: int) -> None:
    assert len(fmt.human(value)) <= 5


def test_times_are_utc_to_the_microsecond() -> None:
    assert fmt.iso_time(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456Z"


def test_a_device_is_major_and_minor() -> None:
    assert fmt.device(259 << 20 | 1_048_575) == "259:1048575"
