"""The connections and files of a process or a group, each with its rates and its total; pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pbmon_client.data.model import Rows
from pbmon_client.data.model import View as Snapshot
from pbmon_client.present.arrange import Wish, Within, table_of
from pbmon_client.present.cells import DASH, Line, cell, cells_of, clean, fill
from pbmon_client.present.fields import ARROWS, Look, endpoint
from pbmon_client.present.numbers import magnitude
from pbmon_client.present.views import CONNECTIONS, FILES, View
from pbmon_client.tui.state import State
from pbmond.fields import byte_columns, rate_name

#: From this width on connections and files are side by side.
_WIDE_CELLS: Final = 120
#: A process's number and name before what is its own, in a group of many.
_OWNER_CELLS: Final = 23
_OWNER_CELLS_NARROW: Final = 18

Describe = Callable[[Rows, int, Look], tuple[str, bool]]


@dataclass(frozen=True, slots=True)
class Part:
    """A connection or a file; ``into`` and ``out`` are as the units say, ``total`` in bytes."""

    owner: str  # its process, in a group of many
    text: str
    keep_end: bool
    closed: bool
    into: float | None
    out: float | None
    total: int

    @property
    def moved(self) -> tuple[float, int]:
        """What the parts of both kinds are ordered by."""
        return (self.into or 0.0) + (self.out or 0.0), self.total


class _Kind:
    """The connections, or the files, of a row: busiest first, described only as far as drawn."""

    def __init__(self, snapshot: Snapshot, within: Within, state: State, view: View) -> None:
        found = state.arranged_as(snapshot, Wish(view, (within,), totals=state.settings.totals))
        self._order = [] if found is None else found.order
        self._table = table_of(snapshot, view.table)
        self._shared = within.view.grouping is not None
        self._look = state.look
        self._names = byte_columns(view.table)
        self._describe: Describe = _connection if view is CONNECTIONS else _file

    def __len__(self) -> int:
        return len(self._order)

    def first(self, count: int) -> list[Part]:
        """Describe the busiest ones."""
        if self._table is None or count <= 0:
            return []
        rows = self._table.take(list(self._order[:count]))
        totals = [rows.column(name) for name in self._names]
        shown = totals
        if not self._look.units.totals:
            shown = [rows.column(rate_name(name)) for name in self._names]
        owners = _owners(rows) if self._shared else [""] * len(rows)
        made = []
        for at in range(len(rows)):
            text, keep_end = self._describe(rows, at, self._look)
            closed = rows.column("open")[at] is False
            total = totals[0][at] + totals[1][at]
            made.append(Part(owners[at], text, keep_end, closed, shown[0][at], shown[1][at], total))
        return made


def parts(
    snapshot: Snapshot | None, within: Within, state: State, width: int, height: int
) -> list[Line]:
    """Draw what belongs to a row, in at most ``height`` lines."""
    if height <= 0:
        return []
    if snapshot is None or snapshot.connections is None:
        waiting = "paused before they came" if state.frozen else "connections and files come…"
        return [fill([("dim", f" {waiting}")], width)]
    kinds = [_Kind(snapshot, within, state, CONNECTIONS)]
    if within.view.table == "processes":  # files say nothing of a remote host or a port
        kinds.append(_Kind(snapshot, within, state, FILES))
    wide = width >= _WIDE_CELLS and len(kinds) > 1
    skip = _skipped(state, kinds, height, wide=wide)
    if wide:
        return _side_by_side(kinds, state, width, height, skip)
    if not any(map(len, kinds)):
        return [fill([("dim", " no connection and no file moved a byte yet")], width)]
    both = [part for kind in kinds for part in kind.first(skip + height)]
    both.sort(key=lambda part: part.moved, reverse=True)
    return [_line(part, state, width) for part in both[skip : skip + height]]


def _skipped(state: State, kinds: list[_Kind], height: int, *, wide: bool) -> int:
    """Return how far the list is scrolled, no further than to its end."""
    if not state.opened:
        return 0
    length = max(map(len, kinds)) + 1 if wide else sum(map(len, kinds))
    state.detail_top = max(0, min(state.detail_top, length - height))
    return state.detail_top


def _side_by_side(
    kinds: list[_Kind], state: State, width: int, height: int, skip: int
) -> list[Line]:
    half = width // 2
    sides = []
    for kind, name, cells in zip(
        kinds, ("connections", "files"), (half - 1, width - half), strict=True
    ):
        shown = kind.first(skip + height - 1)[skip:]
        lines = [_title(name, len(kind), state, cells)]
        lines += [_line(part, state, cells) for part in shown]
        lines += [[("text", " " * cells)]] * (height - len(lines))
        sides.append(lines)
    return [[*left, ("text", " "), *right] for left, right in zip(*sides, strict=True)]


def _owners(rows: Rows) -> list[str]:
    names = rows.find("name") or [None] * len(rows)
    return [
        f"{pid:>7} {clean(name or '?')}"
        for name, pid in zip(names, rows.column("pid"), strict=True)
    ]


def _connection(rows: Rows, at: int, look: Look) -> tuple[str, bool]:
    protocol = rows.column("protocol")[at]
    arrow = ARROWS.get(rows.column("direction")[at], DASH)
    remote, local = (
        endpoint(
            rows.column(f"{side}_address")[at], rows.column(f"{side}_port")[at], protocol, look
        )
        for side in ("remote", "local")
    )
    if rows.column("class")[at] in ("unix", "socket"):
        named = [name for name in (remote, local) if name not in ("?", DASH)]
        return clean(f"{protocol:<6} {arrow} {named[0] if named else '(no name)'}"), False
    return clean(f"{protocol:<6} {arrow} {remote}  local {local}"), False


def _file(rows: Rows, at: int, _look: Look) -> tuple[str, bool]:
    return clean(rows.column("path")[at] or "(path not known)"), True


def _title(name: str, count: int, state: State, width: int) -> Line:
    cells = state.units.cells
    ways = ("in", "out") if name == "connections" else ("read", "write")
    words = f" {count:,} {name}" if count > 1 else f" {'one' if count else 'no'} {name[:-1]}"
    columns = "".join(f" {word:>{cells}}" for word in (*ways, "total"))
    return [("title", cell(words, max(0, width - len(columns))) + columns)]


def _line(part: Part, state: State, width: int) -> Line:
    units = state.units
    numbers: Line = [
        (magnitude(value, totals=units.totals), " " + units.write(value).rjust(units.cells))
        for value in (part.into, part.out)
    ]
    numbers.append(("dim", " " + units.write(part.total).rjust(units.cells)))
    owner = ""
    if part.owner:
        owner = cell(part.owner, _OWNER_CELLS if width >= 80 else _OWNER_CELLS_NARROW) + " "
    room = max(0, width - 1 - 3 * (units.cells + 1) - cells_of(owner))
    role = "exited" if part.closed else "text"
    return [(role, f" {owner}" + cell(part.text, room, keep_end=part.keep_end)), *numbers]
