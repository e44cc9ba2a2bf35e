"""Lines of cells: whatever the text, a line is as wide as it should be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbmon_client.data.text import safe_text, width
from pbmon_client.present import cells as cells_module
from pbmon_client.present.cells import (
    cell,
    cells_of,
    clean,
    crop,
    fill,
    in_ascii,
    line_cells,
    overlay,
    plain,
    spread,
    wrap,
)

TEXT = st.text(max_size=30).map(lambda text: clean(safe_text(text)))


@given(TEXT, st.integers(0, 40), st.booleans(), st.booleans())
def test_a_cell_has_exactly_its_width(text: str, cells: int, right: bool, keep_end: bool) -> None:
    assert cells_of(cell(text, cells, right=right, keep_end=keep_end)) == cells


@given(st.lists(TEXT, max_size=4), st.integers(0, 60))
def test_a_filled_line_has_exactly_its_width(texts: list[str], cells: int) -> None:
    assert line_cells(fill([("text", text) for text in texts], cells)) == cells


@given(st.lists(TEXT, max_size=3), st.lists(TEXT, max_size=3), st.integers(0, 60))
def test_two_ends_of_a_line_fit_it(left: list[str], right: list[str], cells: int) -> None:
    line = spread([("a", text) for text in left], [("b", text) for text in right], cells)
    assert line_cells(line) == cells


@given(st.lists(TEXT, max_size=4), st.integers(0, 30), st.integers(0, 30))
def test_a_crop_has_the_cells_between_its_ends(texts: list[str], start: int, size: int) -> None:
    line = fill([("text", text) for text in texts], 60)
    assert line_cells(crop(line, start, start + size)) == size


@given(TEXT)
def test_ascii_takes_as_many_cells(text: str) -> None:
    shown = in_ascii(text)
    assert shown.isascii()
    assert len(shown) == cells_of(text)


def test_everything_the_interface_draws_has_an_ascii_likeness() -> None:
    folder = Path(cells_module.__file__).parent
    drawn = {char for file in folder.glob("*.py") for char in file.read_text() if ord(char) > 126}
    drawn |= {cells_module.TIMES, cells_module.DASH, cells_module.CRUMB}
    assert "↑" in drawn
    assert "?" not in {in_ascii(char) for char in drawn}


@given(TEXT, st.integers(2, 30))
def test_wrapped_lines_fit_and_lose_nothing_but_spaces(text: str, cells: int) -> None:
    lines = wrap(text, cells)
    assert all(cells_of(line) <= cells for line in lines)
    shown = "".join(lines).replace("\u200e", "")
    assert shown.replace(" ", "") == "".join(text.replace("\u200e", "").split())


def test_lines_break_at_spaces() -> None:
    assert wrap("one two three-is-long four", 8) == ["one two", "three-is", "-long", "four"]


def test_half_a_wide_character_becomes_a_space() -> None:
    assert plain(crop([("text", "日本語")], 1, 5)) == " 本"


def test_a_box_covers_what_is_under_it_and_nothing_else() -> None:
    lines = [[("text", "abcdefgh")] for _ in range(3)]
    overlay(lines, [[("box", "XX")]], 3, 1)
    assert [plain(line) for line in lines] == ["abcdefgh", "abcXXfgh", "abcdefgh"]


@pytest.mark.parametrize("text", ["שלום", "مرحبا", "x שלום 12"])
def test_right_to_left_text_is_fenced_by_marks(text: str) -> None:
    shown = clean(text)
    assert shown.startswith("\u200e")
    assert shown.endswith("\u200e")
    assert cells_of(shown) == width(text)
    cut = cell(shown, 3)
    assert cut.startswith("\u200e")
    assert cut.endswith("\u200e")


@pytest.mark.parametrize("char", ["\ufe0f", "\U0001f1e6", "\U0001f3fd", "\u1161"])
def test_characters_of_contested_width_are_replaced(char: str) -> None:
    assert clean(f"a{char}b") == "a?b"


@given(st.text(max_size=40))
def test_clean_safe_text_has_no_control_character(text: str) -> None:
    assert clean(safe_text(text)).replace("\u200e", "").isprintable()
