"""The main table: the views' names, the titles, and the rows that have room."""

from __future__ import annotations

from dataclasses import dataclass

from pbmon_client.present import row_lines
from pbmon_client.present.arrange import Arranged
from pbmon_client.present.cells import CRUMB, Line, clean, fill
from pbmon_client.present.listing import RowKey
from pbmon_client.present.row_lines import Columns
from pbmon_client.present.views import VIEWS
from pbmon_client.tui.draw.header import centre
from pbmon_client.tui.session.state import State


@dataclass(frozen=True, slots=True)
class Hit:
    """A place on the screen that can be clicked: a "view" or "sort" by name, a "row" by key.

    Or the "time"line, where the cell says what is meant.
    """

    line: int
    start: int
    end: int
    what: str
    value: RowKey


def tabs(state: State, width: int, line: int) -> tuple[Line, list[Hit]]:
    """Draw the names of the views, or the path to the group that is open."""
    position = state.position
    if position.within:
        path = f" {CRUMB} ".join(
            [f"{each.view.name}: {clean(each.label)}" for each in position.within]
        )
        here: Line = [("text", f" {path} {CRUMB} "), ("tab on", f" {position.view.name} ")]
        return fill(here, width), []
    runs: Line = []
    hits = []
    at = 0
    for number, view in enumerate(VIEWS, 1):
        on = view is position.view
        name = f"{number} {view.name}" if width >= 100 else f"{number}{view.name}"
        text = f" {name} " if width >= 120 or (on and width >= 100) else name
        hits.append(Hit(line, at, at + len(text), "view", view.name))
        runs.append(("tab on" if on else "tab", text))
        at += len(text)
        if number < len(VIEWS):
            runs.append(("text", " "))
            at += 1
    if at > width:
        return _short_tabs(state, width, line)
    return fill(runs, width), hits


def _short_tabs(state: State, width: int, line: int) -> tuple[Line, list[Hit]]:
    """Draw only the numbers of the other views, where their names have no room."""
    runs: Line = []
    hits = []
    at = 0
    for number, view in enumerate(VIEWS, 1):
        on = view is state.position.view
        text = f" {number} {view.name} " if on else f" {number} "
        hits.append(Hit(line, at, at + len(text), "view", view.name))
        runs.append(("tab on" if on else "tab", text))
        at += len(text)
    return fill(runs, width), hits


def columns_of(state: State, width: int) -> Columns:
    """Choose the columns of the view that have room."""
    view = state.position.view
    hidden = {*state.settings.hidden.get(view.name, ())}
    if not view.needs_flows:
        hidden |= state.hidden_classes
    full_command = state.settings.full_command
    return row_lines.columns_of(view, width, state.units, hidden, full_command=full_command)


def titles(state: State, columns: Columns, width: int, line: int) -> tuple[Line, list[Hit]]:
    """Draw the column titles; a click on one sorts."""
    name, reverse = state.sort_of(state.position.view)
    hits = []
    at = 1
    for field, cells in columns:
        if field.sort:
            hits.append(Hit(line, at, at + cells, "sort", field.name))
        at += cells + 1
    return row_lines.title_line(columns, width, name, reverse=reverse), hits


def body(
    state: State, rows: Arranged, columns: Columns, width: int, room: int
) -> tuple[list[Line], range]:
    """Draw the rows that have room; return them, and their indexes in the order."""
    count = len(rows.order)
    if not count:
        return _nothing(state, rows, width, room), range(0)
    position = state.position
    top = max(0, min(position.at - min(position.line, room - 1), count - room))
    position.line = position.at - top
    shown = range(top, min(count, top + room))
    lines = row_lines.row_lines(rows, shown, columns, state.style, width, selected=position.at)
    lines += [[("text", " " * width)]] * (room - len(lines))
    return lines, shown


def _nothing(state: State, rows: Arranged, width: int, room: int) -> list[Line]:
    if state.search.text or state.position.within:
        words = f"none of {rows.count} rows match"
    elif state.past_shown is not None:
        words = "nothing was recorded" if state.past_shown.gap else "nothing moved"
    elif state.settings.active:
        words = "nothing is moving (o shows idle rows)"
    else:
        words = "no rows"
    blank: Line = [("text", " " * width)]
    lines = [blank] * (room // 3) + [centre(words, width)]
    return [*lines, *[blank] * (room - len(lines))][:room]
