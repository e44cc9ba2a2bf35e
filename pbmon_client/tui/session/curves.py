"""The rates of rows over the last snapshots, for their graphs.

Each snapshot adds one point to the curves, only for the rows that moved. The daemon's own history
of the host and of a process reaches further back, and is shown instead once it has arrived.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import compress
from math import isnan, nan
from operator import add
from typing import Final

from pbmon_client.data.model import Snapshot
from pbmon_client.present.arrange import table_of
from pbmon_client.present.listing import Listing, RowKey, listing_of
from pbmon_client.present.views import PROCESSES, PROGRAMS, UNITS, USERS, View
from pbmond.fields import HISTORY, rate_columns
from pbmond.wire import Pause

LENGTH: Final = 60
#: Bytes/s; None is unknown.
Sample = float | None
#: A snapshot adds points only for this many rows of a view, the busiest ones.
_MOST: Final = 1000
#: Views whose curves are cheap enough to keep while they are not on the screen.
_ALWAYS: Final = (PROCESSES, PROGRAMS, USERS, UNITS)
_HOST: Final = ""


def curve_names(table: str) -> tuple[str, ...]:
    """Name the rates that rows of a table have curves of."""
    return HISTORY if table == "processes" else rate_columns(table)


@dataclass(frozen=True, slots=True)
class _ViewPoints:
    rates: Mapping[RowKey, tuple[Sample, ...]]
    whole: bool  # whether a row that is missing stood still


CurvePoints = Mapping[str, _ViewPoints]


def points_of(snapshot: Snapshot, view: View, pause: Pause = lambda: None) -> CurvePoints:
    """Take the rates of a snapshot, for the view on the screen and those always kept.

    ``pause`` is called between pieces of work.
    """
    if not snapshot.message.interval_ns:
        return {}  # the first of a run: no rates are known yet
    points: dict[str, _ViewPoints] = {}
    for each in (*_ALWAYS, *(() if view in _ALWAYS or view.tree else (view,))):
        pause()
        listing = _listing(snapshot, each)
        if listing is not None:
            points[each.name] = _points_of_view(listing, curve_names(each.table))
    host = tuple(snapshot.totals.get(name) for name in HISTORY)
    points[_HOST] = _ViewPoints({_HOST: host}, whole=True)
    return points


class Curves:
    """Keeps the last points; ``key``s are those of the views' listings."""

    centre: Final = None  # they end now

    def __init__(self) -> None:
        self._points: deque[CurvePoints] = deque(maxlen=LENGTH)

    def record(self, points: CurvePoints) -> None:
        """Keep a snapshot's points."""
        if points:
            self._points.append(points)

    def copy(self) -> Curves:
        """Return a copy that stays as it is now."""
        copied = Curves()
        copied._points = self._points.copy()
        return copied

    def host(self) -> list[list[Sample]]:
        """Return the curves of the host's totals."""
        return self._curves(_HOST, _HOST, len(HISTORY))

    def of(self, view: View, key: RowKey) -> list[list[Sample]]:
        """Return a row's curves in the order of ``curve_names``, oldest sample first."""
        name = PROCESSES.name if view.tree else view.name
        return self._curves(name, key, len(curve_names(view.table)))

    def _curves(self, name: str, key: RowKey, count: int) -> list[list[Sample]]:
        curves: list[list[Sample]] = [[] for _ in range(count)]
        for points in self._points:
            of_view = points.get(name)
            rates = None if of_view is None else of_view.rates.get(key)
            still = 0.0 if of_view is not None and of_view.whole else None
            for at, curve in enumerate(curves):
                curve.append(still if rates is None else rates[at])
        return curves


def _listing(snapshot: Snapshot, view: View) -> Listing | None:
    rows = table_of(snapshot, view.table)
    if rows is None:
        return None
    return listing_of(rows, view.grouping, None)


def _points_of_view(listing: Listing, names: tuple[str, ...]) -> _ViewPoints:
    columns = [_with_nan(listing.raw(name) or ()) for name in names]
    sums = _sums(columns)
    # An unknown rate makes the sum NaN, which counts as moved here.
    moved = list(compress(range(len(sums)), sums))
    whole = len(moved) <= _MOST
    if not whole:
        moved = nlargest(_MOST, moved, key=lambda row: _known(sums[row]) or 0.0)
    rates = {listing.key(row): tuple(_known(column[row]) for column in columns) for row in moved}
    return _ViewPoints(rates, whole)


def _with_nan(values: Sequence[Sample]) -> Sequence[float]:
    # Columns of a table are arrays with NaN for unknown; those of groups are lists with None.
    if isinstance(values, list) and None in values:
        return [nan if value is None else value for value in values]
    return values  # type: ignore[return-value]  # without None, as was seen


def _sums(columns: Sequence[Sequence[float]]) -> list[float]:
    # Without a Python-level step per row: most rows of a large host stand still.
    return list(map(add, *columns) if len(columns) == 2 else map(sum, zip(*columns, strict=True)))


def _known(value: Sample) -> Sample:
    return None if value is None or isnan(value) else value
