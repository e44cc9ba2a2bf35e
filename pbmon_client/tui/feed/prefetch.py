"""Prepares what a screen needs from a snapshot, and what the next key press may need.

The rows cache what is made here; without it they would make it on demand.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from pbmon_client.data.model import Snapshot
from pbmon_client.present import search
from pbmon_client.present.arrange import ViewQuery, arrange, table_of, traffic
from pbmon_client.present.listing import group_keys, listing_of, table_sums
from pbmon_client.present.numbers import Units
from pbmon_client.present.views import CONNECTIONS, FILES, HOSTS, PORTS, View
from pbmon_client.tui.feed.messages import FeedRequest, SnapshotReady
from pbmon_client.tui.session.curves import points_of
from pbmond.fields import SHOWN
from pbmond.wire import Pause

#: Views with so many rows that switching to them would otherwise be slow.
_LARGE: Final = (CONNECTIONS, FILES, HOSTS, PORTS)
#: About as many rows as a screen shows.
_SCREEN: Final = 60


def prepared(
    snapshot: Snapshot, request: FeedRequest, pause: Pause = lambda: None
) -> SnapshotReady:
    """Prepare what a screen that made this request will need from a snapshot."""
    query = request.query
    if query is None:
        return SnapshotReady(snapshot)
    prepare_view(snapshot, query, request.typed, pause)
    rows = arrange(snapshot, query)
    return SnapshotReady(snapshot, query, rows, points_of(snapshot, query.view, pause))


def prepare_view(
    snapshot: Snapshot, query: ViewQuery, typed: Collection[str] | None, pause: Pause
) -> None:
    """Prepare filtering and sorting of the view on the screen.

    ``typed`` are the fields named in a filter while it is being typed. ``pause`` is called between
    pieces of work, here and below: the shorter they are, the sooner a key press is drawn.
    """
    if typed is not None or query.search.words:
        prepare_search(snapshot, typed or (), pause)
    _sum(snapshot, query.view, query, pause)
    pause()


def prepare_other_views(snapshot: Snapshot, query: ViewQuery, pause: Pause) -> None:
    """Prepare the other views of connections and files."""
    for view in _LARGE:
        _sum(snapshot, view, query, pause)
    units = Units(totals=query.totals)
    for view in _LARGE:
        for totals in (True, query.totals):  # ordering by rates starts from the order by totals
            pause()
            made = arrange(snapshot, ViewQuery(view, hidden=query.hidden, totals=totals))
        if made is not None and view.grouping is not None:
            shown = made.listing.window(made.order[:_SCREEN])
            for column in view.columns:
                pause()
                shown(column.source(units))


def _sum(snapshot: Snapshot, view: View, query: ViewQuery, pause: Pause) -> None:
    rows = table_of(snapshot, view.table)
    if rows is None:
        return
    if view.grouping is not None:
        pause()
        group_keys(rows, view.grouping)
    pause()
    listing = listing_of(rows, view.grouping, None)
    for rates in (False, True):
        names = traffic(view.table, query.hidden, rates=rates)
        pause()
        table_sums(rows, names)
        pause()
        listing.sums(names)


def prepare_search(snapshot: Snapshot, named: Collection[str], pause: Pause) -> None:
    """Prepare the texts in which words are searched, and the fields of an expression."""
    for rows in (snapshot.processes, snapshot.connections, snapshot.files):
        if rows is not None:
            for make in search.preparations(rows):
                pause()
                make()
            for name in SHOWN[rows.kind].keys() & named:
                pause()
                rows.column(name)
