"""Groups of rows as JSON: what they have in common, and the sums of their numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pbmon_client.data.model import Snapshot
from pbmon_client.present.arrange import ViewQuery
from pbmon_client.present.grouped import group_fields, known
from pbmon_client.web import keys
from pbmon_client.web.desk import Desk


def encoded(
    desk: Desk, snapshot: Snapshot, query: ViewQuery, top: int | None, head: Mapping[str, Any]
) -> str:
    """Write the groups that a query lists, or the first ``top`` ones, after ``head``.

    It runs at the desk.
    """
    found = desk.arranged(snapshot, query)
    shown = [] if found is None else list(found.order[:top])
    columns: dict[str, list[Any]] = {}
    if found is not None:
        columns["key"] = [keys.encode(found.listing.key(row)) for row in shown]
        values_of = found.listing.window(shown)
        for name in group_fields(query.view):
            columns[name] = list(map(known, values_of(name) or [None] * len(shown)))
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    document = {**head, "view": query.view.name, "groups": rows}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
