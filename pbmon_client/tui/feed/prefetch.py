"""What a key press may ask of a snapshot, made while nobody waits for it; pure.

Whatever is made here the rows keep, and would make themselves when they were asked.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from pbmon_client.data.model import View as Snapshot
from pbmon_client.present import search
from pbmon_client.present.arrange import Wish, arrange, table_of, traffic
from pbmon_client.present.listing import group_keys, listing_of, table_sums
from pbmon_client.present.numbers import Units
from pbmon_client.present.views import CONNECTIONS, FILES, HOSTS, PORTS, View
from pbmond.fields import SHOWN
from pbmond.wire import Pause

#: Views whose rows are so many that a change to them would be felt.
_LARGE: Final = (CONNECTIONS, FILES, HOSTS, PORTS)
#: So many rows are on a screen at once.
_SCREEN: Final = 60


def work(snapshot: Snapshot, wish: Wish, typed: Collection[str] | None, pause: Pause) -> None:
    """Make what the view on the screen is narrowed and put in order by.

    ``typed`` are the fields named in a filter while it is typed. ``pause`` is called between two
    pieces of work, here and below: the shorter they are, the sooner a key press that comes
    meanwhile is drawn.
    """
    if typed is not None or wish.search.words:
        find(snapshot, typed or (), pause)
    _sum(snapshot, wish.view, wish, pause)
    pause()


def look(snapshot: Snapshot, wish: Wish, pause: Pause) -> None:
    """Make what the other views of connections and files are drawn from."""
    for view in _LARGE:
        _sum(snapshot, view, wish, pause)
    units = Units(totals=wish.totals)
    for view in _LARGE:
        for totals in (True, wish.totals):  # the order by rates begins with that by totals
            pause()
            made = arrange(snapshot, Wish(view, hidden=wish.hidden, totals=totals))
        if made is not None and view.grouping is not None:
            shown = made.listing.window(made.order[:_SCREEN])
            for field in view.fields:
                pause()
                shown(field.source(units))


def _sum(snapshot: Snapshot, view: View, wish: Wish, pause: Pause) -> None:
    rows = table_of(snapshot, view.table)
    if rows is None:
        return
    if view.grouping is not None:
        pause()
        group_keys(rows, view.grouping)
    pause()
    listing = listing_of(rows, view.grouping, None)
    for rates in (False, True):
        names = traffic(view.table, wish.hidden, rates=rates)
        pause()
        table_sums(rows, names)
        pause()
        listing.sums(names)


def find(snapshot: Snapshot, named: Collection[str], pause: Pause) -> None:
    """Make what words are looked for in, and the fields that an expression names."""
    for rows in (snapshot.processes, snapshot.connections, snapshot.files):
        if rows is not None:
            for make in search.makers(rows):
                pause()
                make()
            for name in SHOWN[rows.kind].keys() & named:
                pause()
                rows.column(name)
