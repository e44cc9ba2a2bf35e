"""The one query engine: from a snapshot to the rows of a view, narrowed, grouped and in order."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress, repeat
from math import isnan
from operator import eq, not_
from typing import Any, Final

from pbmon_client.data.model import Rows, Snapshot
from pbmon_client.present.busy_first import BusyFirst
from pbmon_client.present.listing import Listing, RowKey, TableListing, listing_of
from pbmon_client.present.search import EVERYTHING, Search, owners_of, rows_of
from pbmon_client.present.tree import Tree, grow
from pbmon_client.present.views import BUSIEST, View
from pbmond.fields import CLASSES, byte_columns, rate_columns

#: Fewer than one row in this many counts as few.
_FEW: Final = 8
#: This many rows are sorted at a time, in a few milliseconds.
_RUN: Final = 16384


@dataclass(frozen=True, slots=True)
class GroupScope:
    """One group of a view, or one row of it: only what belongs to it is listed.

    ``label`` names it for people.
    """

    view: View
    key: RowKey
    label: str


@dataclass(frozen=True, slots=True)
class ViewQuery:
    """What to list, and in which order. ``hidden`` names classes; ``sort`` is a column.

    ``sort`` may also be BUSIEST, or None for the order of the wire.
    """

    view: View
    within: tuple[GroupScope, ...] = ()
    search: Search = EVERYTHING
    active: bool = False
    hidden: frozenset[str] = frozenset()
    sort: str | None = BUSIEST
    reverse: bool = False
    totals: bool = False
    pinned: tuple[RowKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Arranged:
    """Rows of a listing in order. ``count`` is their number before narrowing."""

    rows: Rows  # the listing holds only a weak reference
    listing: Listing
    order: Sequence[int]
    count: int
    pinned: int = 0
    tree: Tree | None = None

    def key_at(self, index: int) -> RowKey:
        """Return the key of a row by its index in the order."""
        return self.listing.key(self.order[index])

    def index_of(self, key: RowKey) -> int | None:
        """Return the index of a key in the order, None if its row is not listed."""
        row = self.listing.position(key)
        if row is None:
            return None
        try:
            return self.order.index(row)
        except ValueError:
            return None


def table_of(snapshot: Snapshot, name: str) -> Rows | None:
    """Return a table of a snapshot, None while it is not subscribed to."""
    rows: Rows | None = getattr(snapshot, name)
    return rows


def arrange(snapshot: Snapshot, query: ViewQuery) -> Arranged | None:
    """List what a query asks for; None while the snapshot has no such table."""
    rows = table_of(snapshot, query.view.table)
    if rows is None:
        return None
    chosen = _chosen(snapshot, rows, query)
    grouping = query.view.grouping
    listing = listing_of(rows, grouping, chosen)
    indexes: Sequence[int] = range(len(listing))
    if grouping is None and chosen is not None:
        indexes = chosen
    if query.active:
        moved = _sums(listing, query.view.table, query.hidden, rates=_rates_known(listing, query))
        indexes = [row for row in indexes if moved[row]]
    return _put_in_order(rows, listing, indexes, query)


def _put_in_order(
    rows: Rows, listing: Listing, indexes: Sequence[int], query: ViewQuery
) -> Arranged:
    count = len(listing)
    if query.view.tree and isinstance(listing, TableListing):
        weights = _weights(listing, query)
        tree = grow(rows, indexes, weights, reverse=query.reverse)
        return Arranged(rows, listing, tree.order, count, 0, tree)
    order = _order(listing, indexes, query)
    pinned = [row for key in query.pinned if (row := listing.position(key)) is not None]
    if pinned:
        first = set(pinned)
        order = [*pinned, *(row for row in order if row not in first)]
    return Arranged(rows, listing, order, count, len(pinned))


# --- narrowing ------------------------------------------------------------------------------------


def _chosen(snapshot: Snapshot, rows: Rows, query: ViewQuery) -> Sequence[int] | None:
    """Return the rows of the table that the query keeps; None is all of them."""
    flows = [table for table in (snapshot.connections, snapshot.files) if table is not None]
    chosen: Sequence[int] | None = query.search.rows(rows, flows)
    for within in query.within:
        chosen = _both(chosen, _within(snapshot, rows, within))
    if query.hidden and rows.kind != "processes":
        classes = rows.table.columns["class"]
        hidden = {number for number, name in enumerate(CLASSES) if name in query.hidden}
        if hidden.intersection(classes):
            every = range(len(rows)) if chosen is None else chosen
            chosen = [row for row in every if classes[row] not in hidden]
    return chosen


def _both(one: Sequence[int] | None, other: Sequence[int]) -> Sequence[int]:
    if one is None:
        return other
    kept = set(other)
    return [row for row in one if row in kept]


def _within(snapshot: Snapshot, rows: Rows, within: GroupScope) -> Sequence[int]:
    """Return the rows of a table that belong to a group or to one of its processes."""
    # The owners of rows may be more than the processes that are shown.
    of_owners = within.view.table == "processes" and rows.kind != "processes"
    table = rows.owners if of_owners else table_of(snapshot, within.view.table)
    if table is None:
        return ()
    if of_owners and within.view.grouping is None and isinstance(within.key, tuple):
        return _of_process(rows, *within.key)
    if within.view.grouping is not None:
        groups = listing_of(table, within.view.grouping, None)
        group = groups.position(within.key)
        members: Sequence[int] = () if group is None else groups.members(group)
    else:
        row = listing_of(table, None, None).position(within.key)
        members = () if row is None else (row,)
    if table.kind == rows.kind:
        return members
    if rows.kind == "processes":
        return owners_of(rows, table, members)
    return rows_of(rows, table, members)


def _of_process(rows: Rows, pid: int, start_ns: int) -> list[int]:
    starts = rows.table.columns["start_ns"]
    same = map(eq, rows.table.columns["pid"], repeat(pid))
    return [row for row in compress(range(len(rows)), same) if starts[row] == start_ns]


# --- order ----------------------------------------------------------------------------------------


def _order(listing: Listing, indexes: Sequence[int], query: ViewQuery) -> Sequence[int]:
    if query.sort is None:
        return list(reversed(indexes)) if query.reverse else list(indexes)
    if not isinstance(listing, TableListing) or _few(indexes, listing):
        return _sorted(listing, indexes, query)
    # All rows are sorted once, and a key press that narrows them picks from that order: sorting
    # the remaining rows would take longer. The members of a group are sorted on their own,
    # because the next key press rarely needs that order again.
    key = ("order", query.sort, query.reverse, query.totals, query.hidden)
    if query.within and not listing.rows.has(key):
        return _sorted(listing, indexes, query)
    whole = listing.rows.derived(key, lambda: _sorted(listing, range(len(listing)), query))
    if len(indexes) == len(listing):
        return whole
    chosen = {*indexes}
    return (
        whole.among(chosen)
        if isinstance(whole, BusyFirst)
        else [*filter(chosen.__contains__, whole)]
    )


def _few(indexes: Sequence[int], listing: Listing) -> bool:
    """Whether handling these rows one by one costs less than handling all rows at once."""
    return len(indexes) * _FEW < len(listing)


def _sorted(listing: Listing, indexes: Sequence[int], query: ViewQuery) -> Sequence[int]:
    values = _sort_values(listing, query)
    if values is None:
        return _busiest(listing, indexes, query)
    return ordered(indexes, values, reverse=query.reverse)


def _sort_values(listing: Listing, query: ViewQuery) -> Sequence[Any] | None:
    """Return the values of the column to sort by, None for the busiest first."""
    return None if query.sort in (BUSIEST, None) else listing.raw(str(query.sort))


def ordered(indexes: Iterable[int], values: Sequence[Any], *, reverse: bool) -> list[int]:
    """Sort indexes by their values: numbers from the largest, text from A, unknown ones last.

    Rows with equal values keep their order.
    """
    known: Sequence[int] = list(indexes)
    unknown: list[int] = []
    if not _all_known(values):
        unknown = [row for row in known if _is_unknown(values[row])]
        known = [row for row in known if not _is_unknown(values[row])]
    first = values[known[0]] if known else 0
    big_first = isinstance(first, (int, float))
    return _in_order(known, values.__getitem__, reverse=big_first != reverse) + unknown


def _is_unknown(value: Any) -> bool:  # noqa: ANN401 - whatever a column holds
    return value is None or (isinstance(value, float) and isnan(value))


def _all_known(values: Sequence[Any]) -> bool:
    """Whether all values are known, found without a Python-level step per value."""
    if not isinstance(values, array) and None in values:
        return False
    return not (len(values) and isinstance(values[0], float) and isnan(sum(values)))


def _busiest(listing: Listing, indexes: Sequence[int], query: ViewQuery) -> Sequence[int]:
    names = traffic(query.view.table, query.hidden, rates=not query.totals)
    if isinstance(listing, TableListing) and _few(indexes, listing):
        weigh = listing.weigher(names)
    else:
        weigh = listing.sums(names).__getitem__
    if query.totals:
        return _in_order(indexes, weigh, reverse=not query.reverse)

    def by_totals(rows: Sequence[int]) -> Sequence[int]:
        return _order(listing, rows, replace(query, totals=True))

    # Equal rates, most of which are 0, are ordered by what was moved so far.
    if query.reverse:
        return _in_order(by_totals(indexes), weigh, reverse=False)
    weights = list(map(weigh, indexes))
    busy: Sequence[int] = list(compress(indexes, weights))
    often = Counter(filter(None, weights))
    if len(often) < len(busy):
        alike = [row for row in busy if often[weigh(row)] > 1]
        busy = [*by_totals(alike), *(row for row in busy if often[weigh(row)] == 1)]
    return BusyFirst(
        _in_order(busy, weigh, reverse=True),
        len(indexes),
        lambda: [*by_totals([*compress(indexes, map(not_, weights))])],
    )


def _in_order(rows: Sequence[int], key: Callable[[int], Any], *, reverse: bool) -> list[int]:
    """Sort as ``sorted()`` does, but in runs that are then merged.

    That takes no longer, and a key press need not wait for all of it: no other thread of this
    process runs until a call of sorted() returns.
    """
    runs = [
        sorted(rows[first : first + _RUN], key=key, reverse=reverse)
        for first in range(0, len(rows), _RUN)
    ]
    return runs[0] if len(runs) == 1 else sorted(chain(*runs), key=key, reverse=reverse)


def _weights(listing: Listing, query: ViewQuery) -> Sequence[Any]:
    """Return the values that order the branches of a tree."""
    values = _sort_values(listing, query)
    return (
        values
        if values is not None
        else _sums(listing, query.view.table, query.hidden, rates=not query.totals)
    )


def _sums(listing: Listing, table: str, hidden: Collection[str], *, rates: bool) -> Sequence[float]:
    """Return each row's sum of traffic in the visible classes; unknown counts as 0."""
    return listing.sums(traffic(table, hidden, rates=rates))


def traffic(table: str, hidden: Collection[str], *, rates: bool) -> tuple[str, ...]:
    """Name the columns of traffic in the visible classes."""
    names = (rate_columns if rates else byte_columns)(table)
    if table != "processes" or not hidden:
        return names
    return tuple(name for name in names if name.split("_")[0] not in hidden)


def _rates_known(listing: Listing, query: ViewQuery) -> bool:
    columns = [listing.raw(name) or () for name in rate_columns(query.view.table)]
    return any(value is not None and not isnan(value) for column in columns for value in column)
