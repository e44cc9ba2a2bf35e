"""Applies the options of the command line to a snapshot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pbmon_client.data.model import Rows, Selection, Snapshot
from pbmon_client.present.arrange import ViewQuery, arrange, table_of
from pbmon_client.present.listing import raw_column
from pbmon_client.present.search import Search
from pbmon_client.present.views import BUSIEST, CONNECTIONS, FILES, PROCESSES


def selected(snapshot: Snapshot, selection: Selection) -> Snapshot:
    """Return a snapshot with only the selected rows, in the selected order.

    Connections and files are None unless they were selected themselves.
    """
    tables: dict[str, Any] = {"connections": None, "files": None}
    for view in (PROCESSES, CONNECTIONS, FILES) if selection.flows else (PROCESSES,):
        rows = table_of(snapshot, view.table)
        if rows is not None:
            query = ViewQuery(
                view,
                search=Search(filter=selection.filter),
                active=selection.active,
                sort=_sort_of(rows, selection),
                reverse=selection.reverse,
            )
            found = arrange(snapshot, query)
            order = [] if found is None else found.order
            tables[view.table] = rows.take(order[: selection.top])
    return replace(snapshot, **tables)


def _sort_of(rows: Rows, selection: Selection) -> str | None:
    """Return the column that sorts a table: not every table has the one in the selection."""
    if selection.sort is not None and raw_column(rows, selection.sort) is not None:
        return selection.sort
    return BUSIEST if selection.busiest_first or selection.top is not None else None
