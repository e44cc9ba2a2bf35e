"""One view as plain text, for a mail or a terminal without cursor."""

from __future__ import annotations

from typing import Final

from pbmon_client.data.model import Selection, Snapshot
from pbmon_client.output import table
from pbmon_client.present import row_lines
from pbmon_client.present.arrange import ViewQuery, arrange
from pbmon_client.present.cells import plain
from pbmon_client.present.numbers import Units
from pbmon_client.present.search import Search
from pbmon_client.present.view_columns import ViewColumn
from pbmon_client.present.views import BUSIEST, BY_NAME, PROCESSES, View

#: What of a process are numbers of connections and files.
_COUNTED: Final = ("connections", "files")


def render(
    snapshot: Snapshot, name: str | None, selection: Selection, width: int, *, whole: bool = True
) -> str:
    """Write a heading, the titles, and every row (or the ``top`` ones) of a view.

    The numbers are rates, unless it is the past or ``sort`` says otherwise. If the snapshot is not
    ``whole``, there are more rows than it has.
    """
    view = view_of(name)
    column = None if selection.sort is None else row_lines.column_for(view, selection.sort)
    units = Units(totals=_totals(snapshot, column, selection.sort))
    query = ViewQuery(
        view,
        search=Search(filter=selection.filter),
        active=selection.active,
        sort=BUSIEST if column is None else column.source(units),
        reverse=selection.reverse,
        totals=units.totals,
    )
    rows = arrange(snapshot, query)
    if rows is None:
        raise ValueError(f"no {view.table} in this snapshot")
    shown = range(len(rows.order))[: selection.top]
    columns = row_lines.columns_of(view, width, units)
    sorts = BUSIEST if column is None else column.name
    lines = [row_lines.title_line(columns, width, sorts, reverse=selection.reverse)]
    lines += row_lines.row_lines(rows, shown, columns, table.style_of(snapshot, units), width)
    if len(shown) < len(rows.order):
        number = f"{len(rows.order) - len(shown)} " if whole else ""
        lines.append([("dim", f" … and {number}more")])
    body = "\n".join(map(plain, lines))
    return f"{table.heading(snapshot, width)}{body}\n"


def _totals(snapshot: Snapshot, column: ViewColumn | None, sort: str | None) -> bool:
    """Whether the bytes that moved are shown, rather than rates."""
    if column is None or column.counter is None:
        return snapshot.past
    return sort == column.counter


def view_of(name: str | None) -> View:
    """Return a view by its name; without one, processes."""
    return PROCESSES if name is None else BY_NAME[name]


def needs_counts(name: str | None, selection: Selection, width: int) -> bool:
    """Whether a view, its order or its filter says how many connections and files a process has."""
    named = {selection.sort, *(selection.filter.fields if selection.filter else ())}
    for totals in (True, False):
        columns = row_lines.columns_of(view_of(name), width, Units(totals=totals))
        named |= {column.name for column, _cells in columns}
    return not named.isdisjoint(_COUNTED)


def needs_flows(name: str | None, selection: Selection) -> bool:
    """Whether a view, or the filter of its rows, needs connections and files."""
    return view_of(name).needs_flows or selection.needs_flows
