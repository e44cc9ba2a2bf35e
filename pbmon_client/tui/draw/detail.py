"""The pane of the selected row: its curves, what it is, its connections and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pbmon_client.data.model import Snapshot, ValuesOf
from pbmon_client.present.arrange import GroupScope
from pbmon_client.present.cells import Line, clean, fill, line_cells, spread
from pbmon_client.present.listing import RowKey
from pbmon_client.present.views import PROCESSES, View
from pbmon_client.tui.draw.facts import facts, listed
from pbmon_client.tui.draw.flow_list import flow_list
from pbmon_client.tui.draw.graphs import area, around, marked, peak, spark_line
from pbmon_client.tui.session.curves import Sample, curve_names
from pbmon_client.tui.session.state import State
from pbmond.fields import FIELDS

#: Curves are large from this height on; _CURVE_ROWS has their rows by the height.
_LARGE_LINES: Final = 14
_LARGE_LINES_ALONE: Final = 9  # where there is no list of connections and files
_CURVE_ROWS: Final = ((60, 10), (34, 7), (0, 4))
_CURVE_CELLS: Final = 60
_LABEL_CELLS: Final = len("file write   max  ")


@dataclass(frozen=True, slots=True)
class Subject:
    """The selected row, and what is known about it."""

    view: View
    values_of: ValuesOf  # of this one row
    curves: Sequence[Sequence[Sample]]
    flows: Snapshot | None  # has its connections and files
    scope: GroupScope

    def value(self, name: str) -> Any:  # noqa: ANN401 - whatever the column holds
        """Return a field of the row, None if it has no such field."""
        values = self.values_of(name)
        return values[0] if values else None


def subject(state: State) -> Subject | None:
    """Collect what is known about the selected row."""
    chosen = state.selected()
    if chosen is None:
        return None
    rows, row = chosen
    view = state.position.view
    key = rows.listing.key(row)
    values_of = rows.listing.window([row])
    scope = GroupScope(PROCESSES if view.tree else view, key, row_name(view, values_of))
    return Subject(view, values_of, _curves(state, view, key), _flows(state, view), scope)


def _curves(state: State, view: View, key: RowKey) -> Sequence[Sequence[Sample]]:
    """Return the daemon's curves of a process if they have arrived, else those recorded here."""
    process = state.selected_process() if view.table == "processes" else None
    theirs = None if process is None else state.history_of(*process)
    return theirs or state.curves.of(view, key)


def _flows(state: State, view: View) -> Snapshot | None:
    """Return the snapshot that has the selected row's connections and files."""
    process = state.selected_process() if view.table == "processes" else None
    if process is not None:
        return state.detail_of(process[0])
    snapshot = state.snapshot
    return None if snapshot is None or snapshot.connections is None else snapshot


def row_name(view: View, values_of: ValuesOf) -> str:
    """Name a row for people."""

    def value(name: str) -> Any:  # noqa: ANN401
        return (values_of(name) or [None])[0]

    if view.grouping is None:
        return f"{value('name') or '?'} {value('pid')}"
    if view.name == "ports":
        port = value("port")
        return f"{value('protocol')} {port}" if port is not None else str(value("protocol"))
    return str(value(view.columns[0].name) or "?")


def pane(state: State, width: int, height: int) -> list[Line]:
    """Draw the pane in exactly ``height`` lines."""
    about = subject(state)
    blank: Line = [("text", " " * width)]
    if about is None:
        return [_rule("", width), *[blank] * (height - 1)]
    lines = [_rule(_heading(about), width)]
    alone = not about.view.has_flows
    large = height >= (_LARGE_LINES_ALONE if alone else _LARGE_LINES)
    lines += _large(about, state, width, height) if large else _small(about, state, width)
    if state.opened and large:
        most = height if alone else max(3, (height - len(lines)) // 2)
        lines += listed(about.value, state.style, about.view, width, most)
    else:
        lines += facts(
            about.value, state.style, about.view, width, height if alone else 5 if large else 1
        )
    if not alone:
        lines += flow_list(about.flows, about.scope, state, width, height - len(lines))
    return [*lines, *[blank] * (height - len(lines))][:height]


def _heading(about: Subject) -> str:
    return clean(about.scope.label)


def _rule(title: str, width: int) -> Line:
    if not title:
        return [("rule", "─" * width)]
    runs: Line = [("rule", "── "), ("strong", title), ("rule", " ")]
    runs = fill(runs, min(width, line_cells(runs)))
    return [*runs, ("rule", "─" * max(0, width - line_cells(runs)))]


# --- curves ---------------------------------------------------------------------------------------


def _now(curve: Sequence[Sample], about: Subject, name: str) -> Sample:
    value = about.value(name)  # a row always has it, a group perhaps not
    return value if value is not None else (curve[-1] if curve else None)


def _role(name: str) -> str:
    """Name the colour of a curve, which is that of its direction."""
    return FIELDS[name].title.split()[-1]


def _small(about: Subject, state: State, width: int) -> list[Line]:
    """Draw a line for each pair of curves."""
    names = curve_names(about.view.table)
    label = 15 + state.units.cells
    half = min((width - 2) // 2, label + _CURVE_CELLS)
    lines: list[Line] = []
    for first in range(0, len(names), 2):
        pair = names[first : first + 2]
        top = peak(*about.curves[first : first + 2])
        line: Line = [("text", " ")]
        for name, curve in zip(pair, about.curves[first : first + 2], strict=True):
            words = FIELDS[name].title
            number = state.units.write(_now(curve, about, name)).rjust(state.units.cells)
            run: Line = [("dim", f"{words:<11}"), ("text", number + " ")]
            graph = spark_line(curve, state.curves.centre, max(0, half - label), top, _role(name))
            line += fill([*run, *graph], half)
        lines.append(fill(line, width))
    return lines


def _large(about: Subject, state: State, width: int, height: int) -> list[Line]:
    """Draw the curves side by side, several lines high."""
    names = curve_names(about.view.table)
    each = (width - 1) // len(names)
    cells = min(_CURVE_CELLS, each - 2)
    rows = next(rows for least, rows in _CURVE_ROWS if height >= least)
    lines: list[Line] = [[("text", " ")] for _ in range(rows + 1)]
    for at, (name, curve) in enumerate(zip(names, about.curves, strict=True)):
        pair = about.curves[at - at % 2 : at - at % 2 + 2]
        lines[0].extend(fill(_label(about, state, name, curve, cells), each))
        shown, cursor = around(curve, state.curves.centre, cells)
        drawn = area(shown, cells, rows, peak(*pair), ascii_only=state.ascii_only)
        for line, text in zip(lines[1:], drawn, strict=True):
            line.extend(fill(marked(_role(name), text, cursor), each))
    return [fill(line, width) for line in lines]


def _label(about: Subject, state: State, name: str, curve: Sequence[Sample], cells: int) -> Line:
    """Write a curve's name and last value, and at the right end its highest value."""
    units = state.units
    left: Line = [
        ("dim", f"{FIELDS[name].title} "),
        ("strong", units.write(_now(curve, about, name)).rjust(units.cells)),
    ]
    known = any(value is not None for value in curve)
    if not known or cells < _LABEL_CELLS + 2 * units.cells:
        return left
    return spread(left, [("dim", f"max {units.write(peak(curve)):>{units.cells}}")], cells)
