"""The tables of keys, colours, views and fields: complete, and without contradictions."""

from __future__ import annotations

from collections import Counter

import pytest

from pbmon_client.options import VIEW_NAMES
from pbmon_client.present.numbers import Units
from pbmon_client.present.view_columns import fitting
from pbmon_client.present.views import PROCESSES, VIEWS, View
from pbmon_client.tui import actions, time_travel
from pbmon_client.tui.draw.popups import HelpPage
from pbmon_client.tui.session import palette
from pbmon_client.tui.session.keys import (
    ACTIONS,
    IN_PAST,
    PAST_ACTIONS,
    SECTIONS,
    help_entries,
    hints,
    key_name,
)
from pbmon_client.tui.session.past import PastScene
from pbmon_client.tui.session.settings import Settings
from pbmon_client.tui.session.state import State, ViewPosition
from pbmond.fields import CLASSES, SHOWN, byte_columns

#: Done by the interface itself, not by a change of its state alone.
SPECIAL = {
    *("pause", "filter", "help", "columns", "signal", "health"),
    *("acknowledge", "copy", "redraw", "quit"),
}
BY_VIEW = pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)


def test_no_key_does_two_things() -> None:
    bindings = [each for section in SECTIONS for each in section.bindings]
    for some in ([each for each in bindings if each not in IN_PAST], IN_PAST):
        keys = Counter(key for binding in some for key in binding.keys)
        assert not [key for key, count in keys.items() if count > 1]


def test_every_action_is_implemented_and_every_implementation_has_a_key() -> None:
    past = {binding.action for section in SECTIONS for binding in section.bindings
            if section.title == "The past"}  # fmt: skip
    assert set(ACTIONS.values()) - past == actions.ACTIONS.keys() | SPECIAL
    for action in past:
        scene = PastScene(1_790_000_000, 1_790_000_100)
        state = State(Settings(), ViewPosition(PROCESSES), past=scene)
        assert time_travel.act(state, action) is not None, action
    assert set(PAST_ACTIONS.values()) < past


@pytest.mark.parametrize(
    "key",
    ["q", "ctrl c", "f10", "?", "h", "f1", "/", "f4", "esc", "s", "left", "right", "r", " ", "p",
     "t", "c", "n", "+", "-", "K", "f9", "y", "a", "u", "B", "o", "tab", *"123456789"],
)  # fmt: skip
def test_the_promised_keys_are_there(key: str) -> None:
    assert key in ACTIONS


def test_no_line_of_the_help_is_cut_where_80_cells_are_wide() -> None:
    page = HelpPage()
    text = "".join(run for line in page.draw(80, 100) for _role, run in line)
    assert "…" not in text


def test_the_help_names_every_key_except_the_digits_of_the_views() -> None:
    shown = {name for _heading, keys in help_entries() for names, _text in keys
             for name in names.split()}  # fmt: skip
    assert {key_name(key) for key in ACTIONS} - set("123456789") <= shown


def test_the_hints_are_of_what_the_screen_shows() -> None:
    assert hints("view")[0] == ("?", "help")
    assert hints("members")[0] == ("Esc", "back")
    assert dict(hints("opened")).keys() >= {"Esc", "↑", "Space", "K", "y"}
    assert not {"s", "/", "Enter", "C"} & dict(hints("opened")).keys()
    assert dict(hints("waiting")).keys() == {"?", "q", "b"}
    assert hints("past")[0] == ("L", "live")


def test_the_views_of_the_command_line_are_those_of_the_interface() -> None:
    assert tuple(view.name for view in VIEWS) == VIEW_NAMES


@BY_VIEW
def test_traffic_comes_from_the_column_table(view: View) -> None:
    counters = {field.counter for field in view.columns if field.counter}
    assert counters == set(byte_columns(view.table))
    for field in view.columns:
        if field.counter:
            assert field.title == SHOWN[view.table][field.counter].short


@BY_VIEW
@pytest.mark.parametrize("cells", [59, 79, 119, 199, 299])
def test_columns_fit_and_pairs_stay_together(view: View, cells: int) -> None:
    for units in (Units(), Units(exact=True)):
        chosen = fitting(view.columns, cells, units)
        assert sum(width for _field, width in chosen) + len(chosen) - 1 <= cells or len(chosen) < 4
        kinds = Counter(field.traffic for field, _width in chosen if field.traffic in CLASSES)
        assert set(kinds.values()) <= {2}


def test_every_theme_has_every_role_in_every_depth() -> None:
    for theme in palette.THEMES:
        for colours in (1, 16, 88, 256, 1 << 24):
            assert {entry[0] for entry in palette.entries(theme, colours)} == palette.ROLES


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nothing_is_black_on_black_where_bold_black_is_not_grey(theme: palette.Theme) -> None:
    assert any(entry[1].startswith("dark gray") for entry in palette.entries(theme, 16))
    for entry in palette.entries(theme, 16, grey=False):
        assert "dark gray" not in entry[1]
        assert "dark gray" not in entry[4]
    assert palette.has_grey("linux", bold_brightens=True)
    assert palette.has_grey("xterm", bold_brightens=False)
    assert not palette.has_grey("screen", bold_brightens=True)


def test_the_monochrome_theme_uses_no_colour_on_a_terminal_that_has_them() -> None:
    for entry in palette.entries("mono", 256):
        for part in (entry[1], entry[2], entry[4], entry[5]):
            assert set(part.split(",")) <= {"default", "bold", "underline", "standout"}


@pytest.mark.parametrize(
    ("environment", "theme"),
    [({}, "dark"), ({"NO_COLOR": "1"}, "mono"), ({"COLORFGBG": "0;15"}, "light"),
     ({"COLORFGBG": "15;0"}, "dark"), ({"COLORFGBG": "0;default;15"}, "light")],
)  # fmt: skip
def test_the_environment_chooses_the_theme(environment: dict[str, str], theme: str) -> None:
    assert palette.guess(environment) == theme
