"""The page's messages: what a wish shows of a snapshot. Runs at the desk, and is pure but for it.

``packaging/doc/web.md`` describes the messages.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, Final

from pbmon_client.data import shares
from pbmon_client.data.model import Snapshot, ValuesOf
from pbmon_client.data.users import user_name
from pbmon_client.present.arrange import Arranged, GroupScope, ViewQuery, table_of
from pbmon_client.present.completeness import status, warnings
from pbmon_client.present.facts import facts_of
from pbmon_client.present.listing import Listing, listing_of
from pbmon_client.present.numbers import Units, magnitudes
from pbmon_client.present.view_columns import Style, ViewColumn, known_sum
from pbmon_client.present.views import CONNECTIONS, FILES, View
from pbmon_client.web import keys
from pbmon_client.web.columns import described
from pbmon_client.web.desk import Desk
from pbmon_client.web.json_text import WrittenJson, json_of
from pbmon_client.web.past import When
from pbmon_client.web.wishes import RowWindow, Wish
from pbmond.fields import HISTORY, RATES, rate_name

Object = dict[str, Any]
#: Text in a cell, in characters. The facts of a selection have all of it.
_CELL: Final = 160
_FACT: Final = 8192
_COVERAGE_CELLS: Final = 400
_TONES: Final = {"text": ".", "dim": "d", "big": "b", "huge": "h"}
#: The four series, by the names of the history.
SERIES: Final = {name.removesuffix("_bytes_per_s"): name for name in HISTORY}
#: Of processes, which are the owners; their own view has them already.
_OWNER_COLUMNS: Final = ("pid", "name", "user", "unit")


def view_message(desk: Desk, snapshot: Snapshot, wish: Wish) -> Object:
    """Make the message ``view``; its columns are always in it."""
    message = snapshot.message
    found = desk.arranged(snapshot, wish.query)
    count = 0 if found is None else len(found.order)
    first = max(0, min(wish.window.first, count - wish.window.count))
    window = RowWindow(first, wish.window.count)
    made: Object = {
        "type": "view",
        "wish": wish.number,
        **head(snapshot),
        "view": wish.view.name,
        "count": count,
        "of": 0 if found is None else found.count,
        "pinned": 0 if found is None else found.pinned,
        "first": first,
        "columns": [described(wish.view, column) for column in wish.columns],
        "rows": _rows(desk, snapshot, wish.query, (wish.columns, wish.units, window)),
        "selected_index": None if found is None or wish.key is None else found.index_of(wish.key),
        "within": [_named(snapshot, scope) for scope in wish.within],
        **desk.once(snapshot, ("host", wish.units), lambda: _host(snapshot, wish.units)),
    }
    made["time_ms"] = message.time_ns // 10**6
    if wish.when is not None:
        made["past"] = _past(snapshot, wish.when)
    return made | ({"waiting": True} if found is None else {})


def _past(snapshot: Snapshot, when: When) -> Object:
    """Say which time is shown, and what moved in it, to the byte."""
    message = snapshot.message
    return {
        "since_ms": (message.time_ns - message.interval_ns) // 10**6,
        "until_ms": message.time_ns // 10**6,
        "range": when.until is not None,
        "sums": {name: snapshot.totals.get(f"{name}_bytes") for name in SERIES},
    }


def head(snapshot: Snapshot) -> Object:
    """Say which snapshot it is, and whose view."""
    message = snapshot.message
    return {
        "epoch": message.epoch,
        "seq": message.seq,
        "time_ms": message.time_ns // 10**6,
        "interval_ms": message.interval_ns // 10**6,
        "host": snapshot.host,
        "user": user_name(snapshot.uid),
        "uid": snapshot.uid,
        "scope": snapshot.scope,
    }


def style_of(snapshot: Snapshot, units: Units) -> Style:
    """Return how the values of a snapshot are written."""
    now_ns = snapshot.message.time_ns
    return Style(units=units, wall_ns=now_ns - snapshot.message.now_ns, now_ns=now_ns)


def _named(snapshot: Snapshot, scope: GroupScope) -> Object:
    """Name a row, as its first column does."""
    label = _label(snapshot, scope.view, scope.key)
    return {"view": scope.view.name, "key": keys.encode(scope.key), "label": label}


def _label(snapshot: Snapshot, view: View, key: Any) -> str:  # noqa: ANN401 - a RowKey
    listing = _listing(snapshot, view)
    row = None if listing is None else listing.position(key)
    if listing is None or row is None:
        return ""
    values_of = listing.window([row])
    named = ("name", "path", "remote_address")
    column = next((f for f in view.columns if f.name in named and not view.grouping), None)
    column = column or view.columns[0]
    texts = column.write(values_of, style_of(snapshot, Units()), _CELL)
    return _cut_one(texts[0], keep_end=column.keep_end) if texts else ""


def _listing(snapshot: Snapshot, view: View) -> Listing | None:
    rows = table_of(snapshot, view.table)
    return None if rows is None else listing_of(rows, view.grouping, None)


# --- rows ---------------------------------------------------------------------------------------


def _rows(
    desk: Desk,
    snapshot: Snapshot,
    query: ViewQuery,
    shown: tuple[tuple[ViewColumn, ...], Units, RowWindow],
) -> WrittenJson:
    """Write the rows in a window of a query's order, once for all who show the same."""
    found = desk.arranged(snapshot, query)
    if found is None:
        return json_of([])
    columns, units, window = shown
    return desk.once(
        snapshot,
        ("rows", query, shown),
        lambda: json_of(_written(found, columns, style_of(snapshot, units), window)),
    )


def _written(
    found: Arranged, columns: Sequence[ViewColumn], style: Style, window: RowWindow
) -> list[Object]:
    shown = found.order[window.first : window.first + window.count]
    values_of = found.listing.window(shown)
    texts = [
        _cut(column.write(values_of, style, _CELL), keep_end=column.keep_end) or [""] * len(shown)
        for column in columns
    ]
    tones = [_tones(column, values_of, style, len(shown)) for column in columns]
    states = _states(found, shown, values_of)
    rows = []
    for row, state, cells, tone in zip(
        shown, states, _by_row(texts, shown), _by_row(tones, shown), strict=True
    ):
        made: Object = {
            "key": keys.encode(found.listing.key(row)),
            "cells": cells,
            "tones": "".join(tone),
        }
        if state:
            made["state"] = state
        if found.tree is not None:
            made["lead"] = found.tree.lead(row)
        rows.append(made)
    return rows


def _by_row(columns: Sequence[Sequence[str]], rows: Sequence[int]) -> Iterable[tuple[str, ...]]:
    return zip(*columns, strict=True) if columns else repeat((), len(rows))


def _cut(texts: list[str], *, keep_end: bool) -> list[str]:
    if max(map(len, texts), default=0) <= _CELL:
        return texts
    return [_cut_one(text, keep_end=keep_end) for text in texts]


def _cut_one(text: str, *, keep_end: bool) -> str:
    if len(text) <= _CELL:
        return text
    return f"…{text[1 - _CELL :]}" if keep_end else f"{text[: _CELL - 1]}…"


def _tones(column: ViewColumn, values_of: ValuesOf, style: Style, count: int) -> str:
    if column.counter is None:
        return "." * count
    totals = style.units.totals
    name = column.counter if totals else rate_name(column.counter)
    values = values_of(name) or [None] * count
    return "".join(map(_TONES.__getitem__, magnitudes(values, totals=totals)))


def _states(found: Arranged, shown: Sequence[int], values_of: ValuesOf) -> list[str | None]:
    tree = found.tree
    if tree is not None and any(row not in tree.wanted for row in shown):
        return ["ancestor" if row not in tree.wanted else None for row in shown]
    if found.rows.kind == "processes":
        states = values_of("state") or [None] * len(shown)
        return ["exited" if state == "exited" else None for state in states]
    opened = values_of("open") or [None] * len(shown)
    return ["closed" if each is False else None for each in opened]


# --- the host -----------------------------------------------------------------------------------


def _host(snapshot: Snapshot, units: Units) -> dict[str, WrittenJson]:
    """Write what the header and the host's chart show."""
    rates = {
        name.removesuffix("_bytes_per_s"): _number(snapshot.totals.get(name)) for name in RATES
    }
    shown = Units(bits=units.bits, binary=units.binary, exact=units.exact)
    written = rates
    if units.totals:
        written = {name: _number(snapshot.totals.get(f"{name}_bytes")) for name in rates}
    role, text = status(snapshot)
    coverage = shares.line(snapshot.coverage, snapshot.message.interval_ns, _COVERAGE_CELLS)
    made: Object = {
        "totals": rates,
        "totals_text": {name: shown.write(value) for name, value in written.items()},
        "point": {"t_ms": snapshot.message.time_ns // 10**6, **{n: rates[n] for n in SERIES}},
        "health": {
            "tone": role,
            "text": text.strip(),
            "warnings": [
                {"key": each.key, "text": each.text, "tone": each.role}
                for each in warnings(snapshot)
            ],
            "coverage": coverage or "",
        },
    }
    return {name: json_of(value) for name, value in made.items()}


def _number(value: float | None) -> float | None:
    return value if value is None or math.isfinite(value) else None


def history_message(snapshot: Snapshot | None, key: str | None) -> Object:
    """Make the message ``history`` from a topic's samples; the last one is the snapshot's own."""
    samples: Mapping[str, Sequence[float | None]] = snapshot.message.history if snapshot else {}
    made: Object = {"type": "history", "key": key, "t_ms": []}
    count = max((len(samples.get(name) or ()) for name in SERIES.values()), default=0)
    if snapshot is not None:
        message = snapshot.message
        step = message.interval_ns or 10**9
        made["t_ms"] = [(message.time_ns - step * (count - 1 - at)) // 10**6 for at in range(count)]
    for short, name in SERIES.items():
        values = list(map(_number, samples.get(name) or ()))
        made[short] = [None] * (count - len(values)) + values
    return made


# --- the selection ------------------------------------------------------------------------------


def selected_message(desk: Desk, snapshot: Snapshot, wish: Wish, detail: Snapshot | None) -> Object:
    """Make the message ``selected``; ``detail`` is the snapshot of the process's own topic."""
    listing = _listing(snapshot, wish.view)
    row = None if listing is None or wish.key is None else listing.position(wish.key)
    made: Object = {
        "type": "selected",
        "wish": wish.number,
        "key": wish.selected,
        "gone": row is None,
        "title": "" if wish.key is None else _label(snapshot, wish.view, wish.key),
        "facts": [],
        "point": None,
        "connections": None,
        "files": None,
    }
    if listing is not None and row is not None:
        values_of = listing.window([row])
        made["facts"] = _facts(values_of, style_of(snapshot, wish.units), wish.view)
        made["point"] = {
            "t_ms": snapshot.message.time_ns // 10**6,
            **_point(values_of, wish.view.table),
        }
    scope = wish.scope
    if scope is not None and wish.detail is not None:
        holder = snapshot if snapshot.connections is not None or detail is None else detail
        made["connections"] = _flows(desk, holder, CONNECTIONS, scope, wish)
        if scope.view.table == "processes":  # files say nothing of a remote host or a port
            made["files"] = _flows(desk, holder, FILES, scope, wish)
    return made


def _facts(values_of: ValuesOf, style: Style, view: View) -> list[Object]:
    def value(name: str) -> Any:  # noqa: ANN401 - whatever the field holds
        values = values_of(name)
        return values[0] if values else None

    return [
        {"label": label, "text": text.rstrip()[:_FACT]}
        for label, text in facts_of(value, style, view)
    ]


def _point(values_of: ValuesOf, table: str) -> dict[str, float | None]:
    """Return the newest rates of a row in the four series."""
    if table == "processes":
        return {short: _one(values_of, name) for short, name in SERIES.items()}
    kind = (values_of("class") or [None])[0]
    if table == "files":
        pair = ("file_read", "file_write") if kind == "file" else ("", "")
        names = ("read_bytes_per_s", "write_bytes_per_s")
    else:
        pair, names = ("net_rx", "net_tx"), ("rx_bytes_per_s", "tx_bytes_per_s")
    point: dict[str, float | None] = dict.fromkeys(SERIES)
    point |= {
        short: _one(values_of, name) for short, name in zip(pair, names, strict=True) if short
    }
    return point


def _one(values_of: ValuesOf, name: str) -> float | None:
    return known_sum(values_of(name) or ())


def _flows(desk: Desk, snapshot: Snapshot, view: View, scope: GroupScope, wish: Wish) -> Object:
    """List the connections or files of the selection, the busiest first."""
    alone = scope.view.grouping is None
    columns = tuple(f for f in view.columns if not alone or f.name not in _OWNER_COLUMNS)
    window = wish.detail or RowWindow(0, 0)
    query = ViewQuery(view, (scope,), hidden=wish.hidden, totals=wish.units.totals)
    found = desk.arranged(snapshot, query)
    return {
        "count": 0 if found is None else len(found.order),
        "waiting": found is None,
        "columns": [described(view, column) for column in columns],
        "rows": _rows(desk, snapshot, query, (columns, wish.units, window)),
    }
