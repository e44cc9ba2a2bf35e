"""A snapshot as CSV (RFC 4180 quoting, newline endings): one header, then one line per row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pbmon_client.data.model import Rows, Snapshot
from pbmon_client.data.text import iso_time, safe_text
from pbmond.fields import SHOWN

_LEADING: Final = ("time", "epoch", "seq", "health", "table")
_TRAFFIC: Final = ("processes", "connections", "files")
#: A spreadsheet runs a cell that begins with one of these (wide ones too) as a formula, and
#: strangers choose names. Some spreadsheets begin a cell after each semicolon. An apostrophe is
#: marked as well, so that the marks can be taken away again: each apostrophe at the start or after
#: a semicolon is one. Tabs and line ends, which begin cells too, are escaped by ``safe``.
_FORMULA: Final = re.compile("(^|;)(?=[-=+@'\uff1d\uff0b\uff0d\uff20])")


class Writer:
    """Writes snapshots one after another; with ``flows`` the columns of all three tables.

    With ``groups``, the fields of a view's groups, it writes those instead of rows.
    """

    def __init__(self, *, flows: bool, groups: Sequence[str] = ()) -> None:
        names: dict[str, None] = dict.fromkeys(_LEADING)
        names.update(dict.fromkeys(groups))
        for table in () if groups else _TRAFFIC if flows else _TRAFFIC[:1]:
            names.update(dict.fromkeys(SHOWN[table]))
        self.fields: Final = tuple(names)
        self._started = False

    def render(self, view: Snapshot, _notice: str = "") -> bytes:
        """Write the rows of a snapshot, the first time under the header; unknown values are empty.

        Text that a spreadsheet would run as a formula gets a ``'`` before it. Numbers never do.
        """
        tables: list[list[Sequence[Any]]] = []
        for table in _TRAFFIC:
            rows: Rows | None = getattr(view, table)
            if rows is not None:
                tables.append(_columns(rows, self.fields, _leading(view, table)))
        return self._written(tables)

    def render_groups(
        self, view: Snapshot, name: str, groups: Mapping[str, Sequence[Any]]
    ) -> bytes:
        """Write the groups of the view ``name``, which are columns of values, likewise."""
        count = len(next(iter(groups.values())))
        leading = [[value] * count for value in _leading(view, name).values()]
        cells = [
            [_cell(value) if isinstance(value, str) else value for value in column]
            for column in groups.values()
        ]
        return self._written([[*leading, *cells]])

    def _written(self, tables: Sequence[Sequence[Sequence[Any]]]) -> bytes:
        """Write tables of columns."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        if not self._started:
            writer.writerow(self.fields)
            self._started = True
        for columns in tables:
            writer.writerows(zip(*columns, strict=True))
        return out.getvalue().encode()


def _leading(view: Snapshot, table: str) -> dict[str, Any]:
    """Return what is the same in all rows of a table."""
    message = view.message
    status = _cell(str(view.health.get("status", "")))
    moment = (iso_time(message.time_ns), _cell(safe_text(message.epoch)), message.seq, status)
    return dict(zip(_LEADING, (*moment, table), strict=True))


def _columns(rows: Rows, names: Sequence[str], constant: dict[str, Any]) -> list[Sequence[Any]]:
    columns: list[Sequence[Any]] = []
    for name in names:
        field = SHOWN[rows.kind].get(name)
        if field is None:
            columns.append([constant.get(name)] * len(rows))
        elif field.type in ("text", "address"):
            columns.append(list(map(_cell, rows.column(name))))
        elif field.type == "bool":
            columns.append([None if v is None else str(v).lower() for v in rows.column(name)])
        else:
            columns.append(rows.column(name))
    return columns


def _cell(text: str | None) -> str | None:
    return None if text is None else _FORMULA.sub(r"\1'", text)
