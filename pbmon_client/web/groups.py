"""Groups of rows as JSON: what they have in common, and the sums of their numbers."""

from __future__ import annotations

import json
import math
from typing import Any

from pbmon_client.data.model import Snapshot
from pbmon_client.output import jsonout
from pbmon_client.present.arrange import ViewQuery
from pbmon_client.present.views import View
from pbmon_client.web import keys
from pbmon_client.web.desk import Desk
from pbmond.fields import SHOWN

_COUNTS = {"processes": ("members",), "connections": ("members", "processes")}


def names_of(view: View) -> tuple[str, ...]:
    """Name the members of a group: its labels, counts, and the fields that have a sum."""
    labels = () if view.grouping is None else tuple(view.grouping.labels)
    sums = (name for name, field in SHOWN[view.table].items() if field.combined)
    return tuple(dict.fromkeys((*labels, *_COUNTS[view.table], *sums)))


def encoded(desk: Desk, snapshot: Snapshot, query: ViewQuery, top: int | None) -> str:
    """Write the groups that a query lists, or the first ``top`` ones; runs at the desk."""
    found = desk.arranged(snapshot, query)
    shown = [] if found is None else list(found.order[:top])
    columns: dict[str, list[Any]] = {}
    if found is not None:
        columns["key"] = [keys.encode(found.listing.key(row)) for row in shown]
        values_of = found.listing.window(shown)
        for name in names_of(query.view):
            columns[name] = list(map(_known, values_of(name) or [None] * len(shown)))
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    document = {**jsonout.identity(snapshot), "view": query.view.name, "groups": rows}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _known(value: Any) -> Any:  # noqa: ANN401 - text or a number
    return None if isinstance(value, float) and not math.isfinite(value) else value
