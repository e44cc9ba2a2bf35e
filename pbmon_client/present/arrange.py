"""From a snapshot to the rows of a view: narrowed, grouped and put in order; pure."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress, repeat
from math import isnan
from operator import eq
from typing import Any, Final

from pbmon_client.data.model import Rows
from pbmon_client.data.model import View as Snapshot
from pbmon_client.present.listing import Key, Listing, TableListing, listing_of
from pbmon_client.present.search import EVERYTHING, Search, owners_of, rows_of
from pbmon_client.present.tree import Tree, grow
from pbmon_client.present.views import BUSIEST, View
from pbmond.fields import CLASSES, byte_columns, rate_columns

#: Less than one of so many rows are few.
_FEW: Final = 8
#: So many rows are sorted at once, in about a millisecond.
_RUN: Final = 8192


@dataclass(frozen=True, slots=True)
class Within:
    """Only the members of one group: ``view`` is the groups' view, ``label`` for people."""

    view: View
    key: Key
    label: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be listed, and in which order."""

    view: View
    within: tuple[Within, ...] = ()
    search: Search = EVERYTHING
    active: bool = False
    hidden: frozenset[str] = frozenset()  # classes
    sort: str = BUSIEST  # a field's column
    reverse: bool = False
    totals: bool = False
    pinned: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class Arranged:
    """Rows of a listing in order. ``count`` is how many there are before narrowing."""

    rows: Rows  # which the listing does not keep
    listing: Listing
    order: Sequence[int]
    count: int
    pinned: int = 0
    tree: Tree | None = None

    def key(self, place: int) -> Key:
        """Return the key of the row at a place of the order."""
        return self.listing.key(self.order[place])

    def place(self, key: Key) -> int | None:
        """Return the place of a key."""
        row = self.listing.position(key)
        if row is None:
            return None
        try:
            return self.order.index(row)
        except ValueError:
            return None


def table_of(snapshot: Snapshot, name: str) -> Rows | None:
    """Return a snapshot's table, None while it is not subscribed to."""
    rows: Rows | None = getattr(snapshot, name)
    return rows


def arrange(snapshot: Snapshot, wish: Wish) -> Arranged | None:
    """List what is wished for; None while the snapshot has no such table."""
    rows = table_of(snapshot, wish.view.table)
    if rows is None:
        return None
    chosen = _chosen(snapshot, rows, wish)
    grouping = wish.view.grouping
    listing = listing_of(rows, grouping, chosen)
    indexes: Sequence[int] = range(len(listing))
    if grouping is None and chosen is not None:
        indexes = chosen
    if wish.active:
        moved = _sums(listing, wish.view.table, wish.hidden, rates=_rates_known(listing, wish))
        indexes = [row for row in indexes if moved[row]]
    return _put_in_order(rows, listing, indexes, wish)


def _put_in_order(rows: Rows, listing: Listing, indexes: Sequence[int], wish: Wish) -> Arranged:
    count = len(listing)
    if wish.view.tree and isinstance(listing, TableListing):
        weights = _weights(listing, wish)
        tree = grow(rows, indexes, weights, reverse=wish.reverse)
        return Arranged(rows, listing, tree.order, count, 0, tree)
    order = _order(listing, indexes, wish)
    pinned = [row for key in wish.pinned if (row := listing.position(key)) is not None]
    if pinned:
        first = set(pinned)
        order = [*pinned, *(row for row in order if row not in first)]
    return Arranged(rows, listing, order, count, len(pinned))


# --- narrowing ------------------------------------------------------------------------------------


def _chosen(snapshot: Snapshot, rows: Rows, wish: Wish) -> Sequence[int] | None:
    """Return the rows of the table that are wanted at all; None is all of them."""
    flows = [table for table in (snapshot.connections, snapshot.files) if table is not None]
    chosen: Sequence[int] | None = wish.search.rows(rows, flows)
    for within in wish.within:
        chosen = _both(chosen, _within(snapshot, rows, within))
    if wish.hidden and rows.kind != "processes":
        classes = rows.table.columns["class"]
        hidden = {number for number, name in enumerate(CLASSES) if name in wish.hidden}
        if hidden.intersection(classes):
            every = range(len(rows)) if chosen is None else chosen
            chosen = [row for row in every if classes[row] not in hidden]
    return chosen


def _both(one: Sequence[int] | None, other: Sequence[int]) -> Sequence[int]:
    if one is None:
        return other
    kept = set(other)
    return [row for row in one if row in kept]


def _within(snapshot: Snapshot, rows: Rows, within: Within) -> Sequence[int]:
    """Return the rows of a table that belong to a group, or to a process of it."""
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


def _order(listing: Listing, indexes: Sequence[int], wish: Wish) -> list[int]:
    if not isinstance(listing, TableListing) or _few(indexes, listing):
        return _sorted(listing, indexes, wish)
    # All rows are put in order once, and that is what a key press which narrows them takes from:
    # it would wait longer for the rest to be sorted anew. The members of a group have an order of
    # their own, which the next key press does not ask for.
    key = ("order", wish.sort, wish.reverse, wish.totals, wish.hidden)
    if wish.within and not listing.rows.has(key):
        return _sorted(listing, indexes, wish)
    whole = listing.rows.derived(key, lambda: _sorted(listing, range(len(listing)), wish))
    if len(indexes) == len(listing):
        return list(whole)
    return list(filter({*indexes}.__contains__, whole))


def _few(indexes: Sequence[int], listing: Listing) -> bool:
    """Tell whether it costs less to look at some rows alone than at all of them at once."""
    return len(indexes) * _FEW < len(listing)


def _sorted(listing: Listing, indexes: Sequence[int], wish: Wish) -> list[int]:
    if wish.sort == BUSIEST:
        return _busiest(listing, indexes, wish)
    values = listing.raw(wish.sort)
    if values is None:
        return _busiest(listing, indexes, wish)
    return ordered(indexes, values, reverse=wish.reverse)


def ordered(indexes: Iterable[int], values: Sequence[Any], *, reverse: bool) -> list[int]:
    """Sort indexes by their values: numbers from the largest, text from A, unknown ones last.

    Equal values stay as they are.
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
    """Tell so without a step of Python for each value."""
    if not isinstance(values, array) and None in values:
        return False
    return not (len(values) and isinstance(values[0], float) and isnan(sum(values)))


def _busiest(listing: Listing, indexes: Sequence[int], wish: Wish) -> list[int]:
    if not wish.totals:  # those that move alike by what they moved
        indexes = _order(listing, indexes, replace(wish, totals=True))
    names = traffic(wish.view.table, wish.hidden, rates=not wish.totals)
    if isinstance(listing, TableListing) and _few(indexes, listing):
        weigh = listing.weigher(names)
    else:
        weigh = listing.sums(names).__getitem__
    return _in_order(indexes, weigh, reverse=not wish.reverse)


def _in_order(rows: Sequence[int], key: Callable[[int], Any], *, reverse: bool) -> list[int]:
    """Sort as ``sorted()`` does, in runs that it then merges.

    That takes no longer, and a key press need not wait for the whole: nothing else runs in this
    process until a call of sorted() returns.
    """
    runs = [
        sorted(rows[first : first + _RUN], key=key, reverse=reverse)
        for first in range(0, len(rows), _RUN)
    ]
    return runs[0] if len(runs) == 1 else sorted(chain(*runs), key=key, reverse=reverse)


def _weights(listing: Listing, wish: Wish) -> Sequence[Any]:
    """Return what the branches of a tree are ordered by."""
    if wish.sort != BUSIEST:
        values = listing.raw(wish.sort)
        if values is not None:
            return values
    return _sums(listing, wish.view.table, wish.hidden, rates=not wish.totals)


def _sums(listing: Listing, table: str, hidden: Collection[str], *, rates: bool) -> Sequence[float]:
    """Return for each row the sum of its traffic in the classes that show; unknown counts as 0."""
    return listing.sums(traffic(table, hidden, rates=rates))


def traffic(table: str, hidden: Collection[str], *, rates: bool) -> tuple[str, ...]:
    """Name the columns that tell what moved in the classes that show."""
    names = (rate_columns if rates else byte_columns)(table)
    if table != "processes" or not hidden:
        return names
    return tuple(name for name in names if name.split("_")[0] not in hidden)


def _rates_known(listing: Listing, wish: Wish) -> bool:
    columns = [listing.raw(name) or () for name in rate_columns(wish.view.table)]
    return any(value is not None and not isnan(value) for column in columns for value in column)
