"""What a row is, drawn: its attributes in lines of cells."""

from __future__ import annotations

from typing import Final

from pbmon_client.present.cells import Line, cell, cells_of, fill, wrap
from pbmon_client.present.facts import ValueOf, facts_of
from pbmon_client.present.view_columns import Style
from pbmon_client.present.views import View


def facts(value: ValueOf, style: Style, view: View, width: int, most: int) -> list[Line]:
    """Draw a row's attributes one after another, in at most ``most`` lines."""
    lines: list[Line] = []
    line: Line = [("text", " ")]
    used = 1
    for name, text in facts_of(value, style, view):
        size = len(name) + 1 + cells_of(text)
        if used > 1 and used + 2 + size > width:
            lines.append(fill(line, width))
            line, used = [("text", " ")], 1
        if used > 1:
            line.append(("text", "  "))
            used += 2
        room = max(1, width - used - len(name) - 1)
        line += [("dim", f"{name} "), ("text", text if size <= room else cell(text, room))]
        used += size
    if used > 1:
        lines.append(fill(line, width))
    return lines[:most]


def listed(value: ValueOf, style: Style, view: View, width: int, most: int) -> list[Line]:
    """Draw a row's attributes in full, each starting on a line of its own."""
    lines: list[Line] = []
    found = facts_of(value, style, view)
    label_cells = max([_LABEL_CELLS, *(len(name) + 2 for name, _ in found)])
    for name, text in found:
        rows = wrap(text, max(2, width - label_cells)) or [""]
        for at, row in enumerate(rows):
            label = f" {name}" if not at else ""
            line: Line = [("dim", cell(label, label_cells)), ("text", row)]
            lines.append(fill(line, width))
    return lines[:most]


_LABEL_CELLS: Final = 13
