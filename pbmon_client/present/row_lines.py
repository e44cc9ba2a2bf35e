"""A table of rows as lines: the columns that have room, their titles, and the rows.

Each line begins with a cell for the mark of a pinned row.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

from pbmon_client.present.arrange import Arranged
from pbmon_client.present.cells import Line, cell, fill
from pbmon_client.present.fields import Field, Style, fitting, known_sum
from pbmon_client.present.numbers import Units, magnitude
from pbmon_client.present.views import View
from pbmond.fields import rate_name

Columns = Sequence[tuple[Field, int]]
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
    fields: Sequence[Field] = view.fields
    if full_command:  # the name column shows it instead, as wide as possible
        hidden = {*hidden, "cmdline"}
        wide: dict[str, Any] = {"stretch": 6, "ideal": _COMMAND_CELLS, "most": 1000}
        fields = [replace(f, **wide) if f.name == "name" else f for f in fields]
    return fitting(fields, width - 1, units, hidden)


def field_of(view: View, name: str) -> Field | None:
    """Find the field of a view that shows a column of the contract."""
    counter = name.removesuffix("_per_s")
    return next((f for f in view.fields if counter in (f.counter, f.name, f.sort)), None)


def title_line(
    columns: Columns, width: int, sort: str | None = None, *, reverse: bool = False
) -> Line:
    """Write the titles; an arrow marks the column that sorts and its direction."""
    runs: Line = [("title", " ")]
    for field, cells in columns:
        sorts = field.name == sort
        text = field.title
        if sorts:
            text = _with_arrow(field, cells, "▲" if field.rises != reverse else "▼")
        role = "title on" if sorts else "title"
        runs += [(role, cell(text, cells, right=field.right)), ("title", " ")]
    return fill(runs, width, "title")


def _with_arrow(field: Field, cells: int, arrow: str) -> str:
    text, room = field.title, cells - 1
    if len(text) > room and " " in text:
        return text.replace(" ", arrow, 1)
    return f"{arrow}{text[-room:]}" if field.right else f"{text[:room]}{arrow}"


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
    texts = [field.write(values_of, style, cells) for field, cells in columns]
    roles = [_roles(field, rows, shown, style) for field, _cells in columns]
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


def _roles(field: Field, rows: Arranged, shown: Sequence[int], style: Style) -> list[str]:
    counters = field.others or ((field.counter,) if field.counter else ())
    if not counters:
        return ["text"] * len(shown)
    totals = style.units.totals
    columns = [rows.listing.raw(each if totals else rate_name(each)) or () for each in counters]
    return [magnitude(known_sum(column[row] for column in columns), totals=totals) for row in shown]


def _indent(cells_of_row: list[tuple[str, str]], columns: Columns, lead: str) -> None:
    for at, (field, cells) in enumerate(columns):
        if field.name == "name":
            role, text = cells_of_row[at]
            cells_of_row[at] = (role, lead[-max(0, cells - _NAME_CELLS) :] + text)


def _line(
    cells: Sequence[tuple[str, str]], columns: Columns, mark: str, width: int, whole: str | None
) -> Line:
    """Write a row, in one role as a whole or in the roles of its cells."""
    runs: Line = [(whole or "pin", mark)]
    for at, ((role, text), (field, size)) in enumerate(zip(cells, columns, strict=True)):
        before = " " if at else ""
        shown = before + cell(text, size, right=field.right, keep_end=field.keep_end)
        if runs[-1][0] == (whole or role):
            runs[-1] = (runs[-1][0], runs[-1][1] + shown)
        else:
            runs.append((whole or role, shown))
    line = fill(runs, width, whole or "text")
    return line if whole is None else [(whole, "".join(text for _role, text in line))]
