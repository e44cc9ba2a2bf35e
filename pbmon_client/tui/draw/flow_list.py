"""The connections and files of a process or a group, each with its rates and its total."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pbmon_client.data.model import Rows, Snapshot
from pbmon_client.present.arrange import GroupScope, ViewQuery, table_of
from pbmon_client.present.cells import DASH, Line, cell, cells_of, clean, fill
from pbmon_client.present.numbers import magnitude
from pbmon_client.present.view_columns import ARROWS, Style, endpoint
from pbmon_client.present.views import CONNECTIONS, FILES, View
from pbmon_client.tui.session.state import State
from pbmond.fields import byte_columns, rate_name

#: From this width on connections and files are side by side.
_WIDE_CELLS: Final = 120
#: The pid and name of the owner, shown in front for a group of processes.
_OWNER_CELLS: Final = 23
_OWNER_CELLS_NARROW: Final = 18
#: The two lists, and what their bytes' directions are called.
_NAMES: Final = ("connections", "files")
_WAYS: Final = (("in", "out"), ("read", "write"))

Describe = Callable[[Rows, int, Style], tuple[str, bool]]


@dataclass(frozen=True, slots=True)
class Flow:
    """A connection or a file; ``into`` and ``out`` are as the units say, ``total`` in bytes."""

    owner: str  # its process, if the row is a group
    text: str
    keep_end: bool
    closed: bool
    into: float | None
    out: float | None
    total: int

    @property
    def moved(self) -> tuple[float, int]:
        """The order of connections and files in a common list."""
        return (self.into or 0.0) + (self.out or 0.0), self.total


class _FlowTable:
    """The connections or files of a row, busiest first; only those drawn are described."""

    def __init__(self, snapshot: Snapshot, scope: GroupScope, state: State, view: View) -> None:
        query = ViewQuery(view, (scope,), totals=state.settings.totals)
        found = state.rows_of(snapshot, query)
        self._order = [] if found is None else found.order
        self._table = table_of(snapshot, view.table)
        self._shared = scope.view.grouping is not None
        self._style = state.style
        self._names = byte_columns(view.table)
        self._describe: Describe = _connection if view is CONNECTIONS else _file

    def __len__(self) -> int:
        return len(self._order)

    def first(self, count: int) -> list[Flow]:
        """Describe the busiest ones."""
        if self._table is None or count <= 0:
            return []
        rows = self._table.take(list(self._order[:count]))
        totals = [rows.column(name) for name in self._names]
        shown = totals
        if not self._style.units.totals:
            shown = [rows.column(rate_name(name)) for name in self._names]
        owners = _owners(rows) if self._shared else [""] * len(rows)
        made = []
        for at in range(len(rows)):
            text, keep_end = self._describe(rows, at, self._style)
            closed = rows.column("open")[at] is False
            total = totals[0][at] + totals[1][at]
            made.append(Flow(owners[at], text, keep_end, closed, shown[0][at], shown[1][at], total))
        return made


def flow_list(
    snapshot: Snapshot | None, scope: GroupScope, state: State, width: int, height: int
) -> list[Line]:
    """Draw what belongs to a row, in at most ``height`` lines."""
    if height <= 0:
        return []
    if snapshot is None or snapshot.connections is None:
        waiting = (
            "paused before they arrived" if state.frozen else "waiting for connections and files…"
        )
        return [fill([("dim", f" {waiting}")], width)]
    tables = [_FlowTable(snapshot, scope, state, CONNECTIONS)]
    if scope.view.table == "processes":  # files say nothing of a remote host or a port
        tables.append(_FlowTable(snapshot, scope, state, FILES))
    wide = width >= _WIDE_CELLS and len(tables) > 1
    skip = _skipped(state, tables, height, wide=wide)
    if wide:
        return _side_by_side(tables, state, width, height, skip)
    if not any(map(len, tables)):
        return [fill([("dim", " no connection and no file moved a byte yet")], width)]
    counts = [_counted(len(table), name) for table, name in zip(tables, _NAMES, strict=False)]
    title = _title(", ".join(counts), _WAYS[0], state, width)
    return [title, *_together(tables, state, width, height - 1, skip)]


def _together(
    tables: list[_FlowTable], state: State, width: int, height: int, skip: int
) -> list[Line]:
    """Draw connections and files in one list, the busiest first."""
    both = [flow for table in tables for flow in table.first(skip + height)]
    both.sort(key=lambda flow: flow.moved, reverse=True)
    return [_line(flow, state, width) for flow in both[skip : skip + height]]


def _skipped(state: State, tables: list[_FlowTable], height: int, *, wide: bool) -> int:
    """Return how far the list is scrolled, no further than to its end."""
    if not state.opened:
        return 0
    length = 1 + (max if wide else sum)(map(len, tables))
    state.detail_top = max(0, min(state.detail_top, length - height))
    return state.detail_top


def _side_by_side(
    tables: list[_FlowTable], state: State, width: int, height: int, skip: int
) -> list[Line]:
    half = width // 2
    sides = []
    for table, name, ways, cells in zip(
        tables, _NAMES, _WAYS, (half - 1, width - half), strict=True
    ):
        shown = table.first(skip + height - 1)[skip:]
        lines = [_title(_counted(len(table), name), ways, state, cells)]
        lines += [_line(flow, state, cells) for flow in shown]
        lines += [[("text", " " * cells)]] * (height - len(lines))
        sides.append(lines)
    return [[*left, ("text", " "), *right] for left, right in zip(*sides, strict=True)]


def _owners(rows: Rows) -> list[str]:
    names = rows.values("name") or [None] * len(rows)
    return [
        f"{pid:>7} {clean(name or '?')}"
        for name, pid in zip(names, rows.column("pid"), strict=True)
    ]


def _connection(rows: Rows, at: int, style: Style) -> tuple[str, bool]:
    protocol = rows.column("protocol")[at]
    arrow = ARROWS.get(rows.column("direction")[at], DASH)
    remote, local = (
        endpoint(
            rows.column(f"{side}_address")[at], rows.column(f"{side}_port")[at], protocol, style
        )
        for side in ("remote", "local")
    )
    if rows.column("class")[at] in ("unix", "socket"):
        named = [name for name in (remote, local) if name not in ("?", DASH)]
        return clean(f"{protocol:<6} {arrow} {named[0] if named else '(no name)'}"), False
    return clean(f"{protocol:<6} {arrow} {remote}  local {local}"), False


def _file(rows: Rows, at: int, _style: Style) -> tuple[str, bool]:
    return clean(rows.column("path")[at] or "(path not known)"), True


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}" if count > 1 else f"{'one' if count else 'no'} {name[:-1]}"


def _title(words: str, ways: tuple[str, str], state: State, width: int) -> Line:
    columns = "".join(f" {word:>{state.units.cells}}" for word in (*ways, "total"))
    return [("title", cell(f" {words}", max(0, width - len(columns))) + columns)]


def _line(flow: Flow, state: State, width: int) -> Line:
    units = state.units
    numbers: Line = [
        (magnitude(value, totals=units.totals), " " + units.write(value).rjust(units.cells))
        for value in (flow.into, flow.out)
    ]
    numbers.append(("dim", " " + units.write(flow.total).rjust(units.cells)))
    owner = ""
    if flow.owner:
        owner = cell(flow.owner, _OWNER_CELLS if width >= 80 else _OWNER_CELLS_NARROW) + " "
    room = max(0, width - 1 - 3 * (units.cells + 1) - cells_of(owner))
    role = "exited" if flow.closed else "text"
    return [(role, f" {owner}" + cell(flow.text, room, keep_end=flow.keep_end)), *numbers]
