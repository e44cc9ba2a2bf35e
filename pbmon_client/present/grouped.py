"""The groups of a view as columns of values: their labels, and the sums of their members."""

from __future__ import annotations

import math
from typing import Any, Final

from pbmon_client.data.model import Selection, Snapshot
from pbmon_client.present.arrange import ViewQuery, arrange
from pbmon_client.present.search import Search
from pbmon_client.present.views import BUSIEST, View
from pbmond.fields import SHOWN

_COUNTS: Final = {"processes": ("members",), "connections": ("members", "processes")}


def group_fields(view: View) -> tuple[str, ...]:
    """Name the fields of a group: its labels, counts, and the fields of members that combine."""
    labels = () if view.grouping is None else tuple(view.grouping.labels)
    combined = (name for name, field in SHOWN[view.table].items() if field.combined)
    return tuple(dict.fromkeys((*labels, *_COUNTS[view.table], *combined)))


def grouped(snapshot: Snapshot, view: View, selection: Selection) -> dict[str, list[Any]]:
    """Return the values of the selected groups by field, None where not known; busiest first.

    ValueError if the view's table is not in the snapshot.
    """
    fields = group_fields(view)
    query = ViewQuery(
        view,
        search=Search(filter=selection.filter),
        active=selection.active,
        sort=selection.sort if selection.sort in fields else BUSIEST,
        reverse=selection.reverse,
    )
    found = arrange(snapshot, query)
    if found is None:
        raise ValueError(f"no {view.table} in this snapshot")
    shown = found.order[: selection.top]
    values_of = found.listing.window(shown)
    return {
        name: [known(value) for value in values_of(name) or [None] * len(shown)] for name in fields
    }


def known(value: Any) -> Any:  # noqa: ANN401 - text or a number
    """Return a value of a group, None if it is a number that is not known."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
