"""The bottom line: the keys that matter here, the filter being typed, or a notice."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from pbmon_client.data import times
from pbmon_client.present.arrange import Arranged
from pbmon_client.present.cells import Line, cell, cells_of, clean, line_cells, spread
from pbmon_client.tui.session.keys import Scene, hints
from pbmon_client.tui.session.state import State

_PROMPT = " filter: "
_TIME = " time: "
_TYPED = 18  # cells that are left for it beside what it means


def footer(
    state: State, rows: Arranged | None, width: int, now_s: float
) -> tuple[Line, int | None]:
    """Draw the line; the second value is the cell of the cursor, if it is visible."""
    count = _count(rows)
    if state.typed is not None:
        return _typing(state, count, width)
    if state.asked is not None:
        return _asking(state, state.asked, width)
    if state.notice and now_s < state.notice_until_s:
        words = cell(f" {clean(state.notice)}", max(0, width - len(count)))
        return spread([("warn", words)], [("dim", count)], width), None
    right: Line = [("dim", count)]
    left: Line = []
    if state.search.text:
        left = [("dim", " filter "), ("input", clean(state.search.text)), ("dim", "  ")]
        left += [("key", "Esc"), ("dim", " clear ")]
    for key, word in _hints(state):
        hint: Line = [("key", f" {key}"), ("dim", f" {word} ")]
        if line_cells(left) + line_cells(hint) + line_cells(right) <= width:
            left += hint
    return spread(left, right, width), None


def _hints(state: State) -> list[tuple[str, str]]:
    found = hints(_scene(state))
    if state.past_shown is not None:
        past = hints("past")
        return past + [each for each in found if each not in past and each[1] != "pause"]
    if state.frozen is None:
        return found
    return [(key, "resume" if word == "pause" else word) for key, word in found]


def _scene(state: State) -> Scene:
    if state.snapshot is None:
        return "waiting"
    if state.opened:
        return "opened"
    return "members" if state.position.within else "view"


def _count(rows: Arranged | None) -> str:
    if rows is None:
        return " "
    shown = len(rows.order)
    if rows.listing and shown != rows.count:
        return f" {shown:,} of {rows.count:,} rows "
    return " 1 row " if shown == 1 else f" {shown:,} rows "


def _asking(state: State, typed: str, width: int) -> tuple[Line, int | None]:
    """Draw the line in which a time is typed, with what it means."""
    words, role = state.asked_problem, "warn"
    if not words:
        words, role = f"times: {times.FORMS}", "dim"
        with suppress(ValueError):
            read = times.read(typed, state.wall())
            local = datetime.fromtimestamp(read.seconds).astimezone()
            words, role = read.remark or f"{local:%a %d %b %Y %H:%M:%S}", "text"
    words = cell(clean(words), min(cells_of(words), max(0, width - len(_TIME) - _TYPED)))
    return _line(_TIME, typed, state.cursor, [(role, words)], width)


def _typing(state: State, count: str, width: int) -> tuple[Line, int | None]:
    typed = state.typed or ""
    error = state.search.error
    words = clean(error) if error else ""
    right: Line = [("dim", f" matches:{count}")]
    if words:
        right = [("warn", cell(f" {words} ", min(cells_of(words) + 2, width // 2)))]
    return _line(_PROMPT, typed, state.cursor, right, width)


def _line(prompt: str, typed: str, cursor: int, right: Line, width: int) -> tuple[Line, int | None]:
    """Draw a line being typed, with words on its ``right``."""
    room = max(10, width - len(prompt) - line_cells(right) - 1)
    # A long line is scrolled so that the cursor is visible.
    start = 0
    while cells_of(typed[start:cursor]) >= room:
        start += 1
    shown = cell(clean(typed[start:]), room)
    at = len(prompt) + cells_of(typed[start:cursor])
    return spread([("key", prompt), ("input", shown)], right, width), min(at, width - 1)
