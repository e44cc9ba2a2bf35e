"""The columns that the page can show: those of the views, and any other field of their table."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from pbmon_client.data.model import ValuesOf
from pbmon_client.present.numbers import moment
from pbmon_client.present.row_lines import column_for
from pbmon_client.present.view_columns import CLASSES as TRAFFIC
from pbmon_client.present.view_columns import Style, ViewColumn, WriteCells, text, written
from pbmon_client.present.views import View
from pbmond.fields import SHOWN, Field

#: Where the page puts fields that no view shows of itself.
_LAST_RANK = 20


@functools.cache
def column_of(view: View, name: str) -> ViewColumn | None:
    """Find a column of a view, or make one of a field of its rows; None if they have no such."""
    found = next((column for column in view.columns if column.name == name), None)
    if found is None and name.endswith(("_bytes", "_bytes_per_s")):
        found = column_for(view, name)
    field = _field(view, name)
    if found is not None or field is None:
        return found
    right = field.type == "number" and field.unit != "ns"
    return text(
        view.table, name, 8, _LAST_RANK, right=right, title=field.short, write=_writer(field)
    )


def _field(view: View, name: str) -> Field | None:
    own = SHOWN[view.table].get(name)
    if view.grouping is not None:
        return own if own is not None and own.combined else None
    return own or SHOWN["processes"].get(name)


def _writer(field: Field) -> WriteCells:
    def write(values_of: ValuesOf, style: Style, _cells: int) -> list[str]:
        values: Sequence[Any] = values_of(field.name) or ()
        return ["" if value is None else _written(field, value, style) for value in values]

    return write


def _written(field: Field, value: Any, style: Style) -> str:  # noqa: ANN401 - what the field holds
    if field.unit == "ns":
        return moment(value + style.wall_ns, style.now_ns)
    if field.type == "bool":
        return "yes" if value else "no"
    if field.is_traffic or field.rate_of:
        return style.units.write(value)
    return written(field.name, value, style)


@functools.cache
def described(view: View, column: ViewColumn) -> dict[str, Any]:
    """Describe a column for the page; the columns of views are few, and last."""
    name = column.counter or column.name
    field = SHOWN[view.table].get(name) or SHOWN["processes"].get(name)
    traffic = column.traffic if column.traffic in TRAFFIC else None
    return {
        "name": column.name,
        "title": column.title,
        "meaning": field.meaning if field else "",
        "align": "right" if column.right else "left",
        "rank": column.rank,
        "stretch": column.stretch,
        "cells": column.cells,
        "sortable": bool(column.sort),
        "rises": column.rises,
        "traffic": traffic,
        "keep_end": column.keep_end,
    }
