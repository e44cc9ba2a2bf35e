"""The main table: the views' names, the titles, and the rows that have room; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pbmon_client.present.arrange import Arranged
from pbmon_client.present.cells import CRUMB, Line, cell, cells_of, clean, fill
from pbmon_client.present.fields import Field, Look, fitting, known_sum
from pbmon_client.present.numbers import magnitude
from pbmon_client.present.views import VIEWS
from pbmon_client.tui.draw.header import centre
from pbmon_client.tui.state import State
from pbmond.fields import rate_name


@dataclass(frozen=True, slots=True)
class Hit:
    """A place on the screen that a click can be meant for: ``what``, and which one."""

    line: int
    start: int
    end: int
    what: str
    value: str | int


def tabs(state: State, width: int, line: int) -> tuple[Line, list[Hit]]:
    """Draw the names of the views, or the way to where one is."""
    place = state.place
    if place.within:
        path = f" {CRUMB} ".join(
            [f"{each.view.name}: {clean(each.label)}" for each in place.within]
        )
        here: Line = [("text", f" {path} {CRUMB} "), ("tab on", f" {place.view.name} ")]
        return fill(here, width), []
    runs: Line = []
    hits = []
    at = 0
    for number, view in enumerate(VIEWS, 1):
        on = view is place.view
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
        on = view is state.place.view
        text = f" {number} {view.name} " if on else f" {number} "
        hits.append(Hit(line, at, at + len(text), "view", view.name))
        runs.append(("tab on" if on else "tab", text))
        at += len(text)
    return fill(runs, width), hits


def titles(
    state: State, columns: Sequence[tuple[Field, int]], width: int, line: int
) -> tuple[Line, list[Hit]]:
    """Draw the column titles; the one that sorts has an arrow for the direction."""
    name, reverse = state.sort_of(state.place.view)
    runs: Line = [("title", " ")]
    hits = []
    at = 1
    for field, cells in columns:
        text = field.title
        if field.name == name:
            text = _with_arrow(text, cells, field.rises != reverse, right=field.right)
        role = "title on" if field.name == name else "title"
        runs += [(role, cell(text, cells, right=field.right)), ("title", " ")]
        if field.sort:
            hits.append(Hit(line, at, at + cells, "sort", field.name))
        at += cells + 1
    return fill(runs, width, "title"), hits


def _with_arrow(text: str, cells: int, rises: bool, *, right: bool) -> str:  # noqa: FBT001 - a fact
    arrow = "▲" if rises else "▼"
    room = cells - 1
    if len(text) > room and " " in text:
        return text.replace(" ", arrow, 1)
    return f"{arrow}{text[-room:]}" if right else f"{text[:room]}{arrow}"


_COMMAND_CELLS: Final = 72


def columns_of(state: State, width: int) -> list[tuple[Field, int]]:
    """Choose the columns of the view that have room."""
    view = state.place.view
    hidden = {*state.settings.hidden.get(view.name, ())}
    if not view.needs_flows:
        hidden |= state.hidden_classes
    fields: Sequence[Field] = view.fields
    if state.settings.full_command:  # which the names then are, as wide as there is room
        hidden.add("cmdline")
        wide: dict[str, Any] = {"stretch": 6, "ideal": _COMMAND_CELLS, "most": 1000}
        fields = [replace(f, **wide) if f.name == "name" else f for f in fields]
    return fitting(fields, width - 1, state.units, hidden)


def body(
    state: State, rows: Arranged, columns: Sequence[tuple[Field, int]], width: int, room: int
) -> tuple[list[Line], int]:
    """Draw the rows that have room; return them and the place of the first."""
    count = len(rows.order)
    if not count:
        return _nothing(state, rows, width, room), 0
    place = state.place
    top = max(0, min(place.at - min(place.line, room - 1), count - room))
    place.line = place.at - top
    shown = list(rows.order[top : top + room])
    find = rows.listing.window(shown)
    look = state.look
    texts = [field.write(find, look, cells) for field, cells in columns]
    roles = [_roles(field, rows, shown, look) for field, _cells in columns]
    states = find("state") or [None] * len(shown)
    lines = []
    for at in range(len(shown)):
        cells_of_row = [(roles[i][at], texts[i][at]) for i in range(len(columns))]
        if rows.tree is not None:
            _indent(cells_of_row, columns, rows.tree.lead(shown[at]))
        lines.append(
            _row(
                cells_of_row,
                columns,
                width,
                pinned=top + at < rows.pinned,
                whole=_whole(state, rows, top + at, exited=states[at] == "exited"),
            )
        )
    lines += [[("text", " " * width)]] * (room - len(lines))
    return lines, top


def _whole(state: State, rows: Arranged, at: int, *, exited: bool) -> str | None:
    """Return the role of a row that is drawn in one."""
    if at == state.place.at:
        return "selected"
    if exited or (rows.tree is not None and rows.order[at] not in rows.tree.wanted):
        return "exited"
    return None


def _roles(field: Field, rows: Arranged, shown: Sequence[int], look: Look) -> list[str]:
    counters = field.others or ((field.counter,) if field.counter else ())
    if not counters:
        return ["text"] * len(shown)
    totals = look.units.totals
    columns = [rows.listing.raw(each if totals else rate_name(each)) or () for each in counters]
    return [magnitude(known_sum(column[row] for column in columns), totals=totals) for row in shown]


def _indent(
    cells_of_row: list[tuple[str, str]], columns: Sequence[tuple[Field, int]], lead: str
) -> None:
    for at, (field, cells) in enumerate(columns):
        if field.name == "name":
            role, text = cells_of_row[at]
            # A deep branch must leave room for the name.
            cells_of_row[at] = (role, lead[-max(0, cells - 10) :] + text)


def _row(
    texts: Sequence[tuple[str, str]],
    columns: Sequence[tuple[Field, int]],
    width: int,
    *,
    pinned: bool,
    whole: str | None,
) -> Line:
    mark = "•" if pinned else " "
    if whole is not None:
        line = mark + " ".join(
            cell(text, cells, right=field.right, keep_end=field.keep_end)
            for (_role, text), (field, cells) in zip(texts, columns, strict=True)
        )
        return [(whole, line + " " * (width - cells_of(line)))]
    runs: Line = [("pin", mark)]
    for (role, text), (field, cells) in zip(texts, columns, strict=True):
        before = " " if len(runs) > 1 else ""
        shown = before + cell(text, cells, right=field.right, keep_end=field.keep_end)
        if runs[-1][0] == role:
            runs[-1] = (role, runs[-1][1] + shown)
        else:
            runs.append((role, shown))
    return fill(runs, width)


def _nothing(state: State, rows: Arranged, width: int, room: int) -> list[Line]:
    if state.search.text or state.place.within:
        words = f"no row of {rows.count} matches"
    elif state.settings.active:
        words = "nothing moves (o shows the idle rows)"
    else:
        words = "nothing here"
    blank: Line = [("text", " " * width)]
    lines = [blank] * (room // 3) + [centre(words, width)]
    return [*lines, *[blank] * (room - len(lines))][:room]
