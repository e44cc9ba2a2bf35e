"""A table of rows as lines: the columns that have room, their titles, and the rows.

Each line begins with a cell for the mark of a pinned row.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

from pbmon_client.present.arrange import Arranged
from pbmon_client.present.cells import Line, cell, fill
from pbmon_client.present.numbers import Units, magnitude
from pbmon_client.present.view_columns import Style, ViewColumn, fitting, known_sum
from pbmon_client.present.views import View
from pbmond.fields import rate_name

Columns = Sequence[tuple[ViewColumn, int]]
_COMMAND_CELLS: Final = 72
#: The indentation of a tree leaves at least this many cells for the name.
_NAME_CELLS: Final = 10


def columns_of(
    view: View,
    width: int,
    units: Units,
    hidden: Collection[str] = (),
    *,
    full_command: bool = False,
) -> Columns:
    """Choose the columns of a view that have room, and their widths.

    ``hidden`` names columns, and for processes classes too.
    """
    columns: Sequence[ViewColumn] = view.columns
    if full_command:  # the name column shows it instead, as wide as possible
        hidden = {*hidden, "cmdline"}
        wide: dict[str, Any] = {"stretch": 6, "ideal": _COMMAND_CELLS, "most": 1000}
        columns = [replace(c, **wide) if c.name == "name" else c for c in columns]
    return fitting(columns, width - 1, units, hidden)


def column_for(view: View, name: str) -> ViewColumn | None:
    """Find the column of a view that shows a column of the contract."""
    counter = name.removesuffix("_per_s")
    return next((f for f in view.columns if counter in (f.counter, f.name, f.sort)), None)


def title_line(
    columns: Columns, width: int, sort: str | None = None, *, reverse: bool = False
) -> Line:
    """Write the titles; an arrow marks the column that sorts and its direction."""
    runs: Line = [("title", " ")]
    for column, cells in columns:
        sorts = column.name == sort
        text = column.title
        if sorts:
            text = _with_arrow(column, cells, "▲" if column.rises != reverse else "▼")
        role = "title on" if sorts else "title"
        runs += [(role, cell(text, cells, right=column.right)), ("title", " ")]
    return fill(runs, width, "title")


def _with_arrow(column: ViewColumn, cells: int, arrow: str) -> str:
    text, room = column.title, cells - 1
    if len(text) > room and " " in text:
        return text.replace(" ", arrow, 1)
    return f"{arrow}{text[-room:]}" if column.right else f"{text[:room]}{arrow}"


def row_lines(
    rows: Arranged,
    indexes: range,
    columns: Columns,
    style: Style,
    width: int,
    *,
    selected: int | None = None,
) -> list[Line]:
    """Write the rows at these indexes of the order; ``selected`` is the index of one of them."""
    shown = [rows.order[at] for at in indexes]
    values_of = rows.listing.window(shown)
    texts = [column.write(values_of, style, cells) for column, cells in columns]
    roles = [_roles(column, rows, shown, style) for column, _cells in columns]
    exited = [state == "exited" for state in values_of("state") or [None] * len(shown)]
    lines = []
    for at, index in enumerate(indexes):
        cells = [(each[at], text[at]) for each, text in zip(roles, texts, strict=True)]
        if rows.tree is not None:
            _indent(cells, columns, rows.tree.lead(shown[at]))
        whole = "exited" if exited[at] or _is_ancestor(rows, shown[at]) else None
        mark = "•" if index < rows.pinned else " "
        lines.append(_line(cells, columns, mark, width, "selected" if index == selected else whole))
    return lines


def _is_ancestor(rows: Arranged, row: int) -> bool:
    """Whether a row of a tree is shown only as an ancestor of matching rows."""
    return rows.tree is not None and row not in rows.tree.wanted


def _roles(column: ViewColumn, rows: Arranged, shown: Sequence[int], style: Style) -> list[str]:
    counters = column.others or ((column.counter,) if column.counter else ())
    if not counters:
        return ["text"] * len(shown)
    totals = style.units.totals
    counted = [rows.listing.raw(each if totals else rate_name(each)) or () for each in counters]
    return [magnitude(known_sum(values[row] for values in counted), totals=totals) for row in shown]


def _indent(cells_of_row: list[tuple[str, str]], columns: Columns, lead: str) -> None:
    for at, (column, cells) in enumerate(columns):
        if column.name == "name":
            role, text = cells_of_row[at]
            cells_of_row[at] = (role, lead[-max(0, cells - _NAME_CELLS) :] + text)


def _line(
    cells: Sequence[tuple[str, str]], columns: Columns, mark: str, width: int, whole: str | None
) -> Line:
    """Write a row, in one role as a whole or in the roles of its cells."""
    runs: Line = [(whole or "pin", mark)]
    for at, ((role, text), (column, size)) in enumerate(zip(cells, columns, strict=True)):
        before = " " if at else ""
        shown = before + cell(text, size, right=column.right, keep_end=column.keep_end)
        if runs[-1][0] == (whole or role):
            runs[-1] = (runs[-1][0], runs[-1][1] + shown)
        else:
            runs.append((whole or role, shown))
    line = fill(runs, width, whole or "text")
    return line if whole is None else [(whole, "".join(text for _role, text in line))]
