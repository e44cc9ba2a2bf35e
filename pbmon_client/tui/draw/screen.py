"""One whole screen: chooses the parts that have room, and draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pbmon_client.present.cells import Line, fill, line_cells, overlay, recolour
from pbmon_client.tui.draw import detail, grid
from pbmon_client.tui.draw.footer import footer
from pbmon_client.tui.draw.grid import Hit
from pbmon_client.tui.draw.header import centre, header, past_header, waiting, warning_lines
from pbmon_client.tui.draw.popups import Popup
from pbmon_client.tui.session.state import State

#: The optional parts appear from these heights on.
_GRAPHS_LINES: Final = 18
_DETAIL_LINES: Final = 22
_TIMELINE_LINES: Final = 8
_LONE_LINES: Final = 9
_LEAST: Final = (20, 5)


@dataclass(frozen=True, slots=True)
class DrawnScreen:
    """A drawn screen: one line for each row of the terminal; ``cursor`` is (x, y)."""

    lines: list[Line]
    hits: list[Hit]
    cursor: tuple[int, int] | None = None


def draw(state: State, popup: Popup | None, width: int, height: int, now_s: float) -> DrawnScreen:
    """Draw the screen."""
    if width < _LEAST[0] or height < _LEAST[1]:
        words = "too small"[:width]
        return DrawnScreen([centre(words, width)] + [[("text", " " * width)]] * (height - 1), [])
    frame = _drawn(state, width, height, now_s)
    if state.stale_s(now_s) is not None:
        frame.lines[1:-1] = [
            line if line[1:2] and line[1][0] == "alert" else recolour(line, "stale")
            for line in frame.lines[1:-1]
        ]
    if popup is not None:
        box = popup.draw(width, height)
        cells = max(map(line_cells, box), default=0)
        overlay(frame.lines, box, max(0, (width - cells) // 2), max(0, (height - len(box)) // 2))
    return frame


def _drawn(state: State, width: int, height: int, now_s: float) -> DrawnScreen:
    lines, hits = _top(state, width, height, now_s)
    if state.snapshot is None:
        middle = waiting(state, width, height - len(lines) - 1, "waiting for the daemon")
        bottom, _cursor = footer(state, None, width, now_s)
        return DrawnScreen([*lines, *middle, bottom], [])
    most = 1 if height < _DETAIL_LINES else 3
    lines += warning_lines(state, width, most)
    rows = state.reselect()
    bottom, cursor = footer(state, rows, width, now_s)
    room = height - len(lines) - 1
    if state.opened and rows is not None and rows.order:
        lines += detail.pane(state, width, room)
    else:
        below = _detail_lines(state, height, room)
        hits += _table(state, lines, width, room - below)
        if below:
            lines += detail.pane(state, width, below)
    at = None if cursor is None else (cursor, height - 1)
    return DrawnScreen([*lines, bottom], hits, at)


def _top(state: State, width: int, height: int, now_s: float) -> tuple[list[Line], list[Hit]]:
    """Draw the header, of the present or of the past with its timeline."""
    state.width = width
    graphs = height >= _GRAPHS_LINES
    past, shown = state.past, state.past_shown
    if past is None or shown is None:
        return header(state, width, now_s, graphs=graphs), []
    room = 2 if height < _TIMELINE_LINES else height
    lines, at = past_header(state, past, shown, width, graphs=graphs, room=room)
    return lines, [] if at is None else [
        Hit(line, 0, width, "time", None) for line in range(at, len(lines))
    ]


def _detail_lines(state: State, height: int, room: int) -> int:
    """Return the lines for the pane: a third of a small screen, more of a large one."""
    if not state.settings.detail or height < _DETAIL_LINES:
        return 0
    lines = 7 if height < 32 else 9 if height < 40 else (room * 2) // 5
    if not state.position.view.has_flows:
        lines = min(lines, _LONE_LINES)
    return min(room - 10, lines)


def _table(state: State, lines: list[Line], width: int, room: int) -> list[Hit]:
    """Add the views' names, the titles and the rows; return what can be clicked."""
    tabs, hits = grid.tabs(state, width, len(lines))
    lines.append(tabs)
    columns = grid.columns_of(state, width)
    state.width = width
    titles, more = grid.titles(state, columns, width, len(lines))
    hits += more
    lines.append(titles)
    first = len(lines)
    space = max(0, room - 2)
    state.page = max(1, space)
    rows = state.rows()
    if rows is None:
        lines += _coming(state, width, space)
        return hits
    body, shown = grid.body(state, rows, columns, width, space)
    lines += body
    hits += [Hit(line, 0, width, "row", rows.key_at(at)) for line, at in enumerate(shown, first)]
    return hits


def _coming(state: State, width: int, space: int) -> Sequence[Line]:
    blank: Line = fill([], width)
    words = f"{state.position.view.table} arrive with the next snapshot"
    if state.past_shown is not None:
        words = f"{state.position.view.table} are being read"
    elif state.frozen is not None:
        words = f"paused before {state.position.view.table} arrived (Space resumes)"
    lines = [blank] * (space // 3) + [centre(words, width)]
    return [*lines, *[blank] * (space - len(lines))][:space]
