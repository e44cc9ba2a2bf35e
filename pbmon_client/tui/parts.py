"""The connections and files of a process or a group, each with its rates and its total; pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pbmon_client.model import Rows
from pbmon_client.model import View as Snapshot
from pbmon_client.tui.arrange import Wish, Within, arrange, table_of
from pbmon_client.tui.cells import DASH, Line, cell, clean, fill
from pbmon_client.tui.fields import ARROWS, Look, endpoint
from pbmon_client.tui.numbers import magnitude
from pbmon_client.tui.state import State
from pbmon_client.tui.views import CONNECTIONS, FILES, View

#: From this width on connections and files are side by side.
_WIDE_CELLS: Final = 120
_MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Part:
    """A connection or a file; ``into`` and ``out`` are as the units say, ``total`` in bytes."""

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


def parts(
    snapshot: Snapshot | None, within: Within, state: State, width: int, height: int
) -> list[Line]:
    """Draw what belongs to a row, in at most ``height`` lines."""
    if height <= 0:
        return []
    if snapshot is None or snapshot.connections is None:
        waiting = "paused before they came" if state.frozen else "connections and files come…"
        return [fill([("dim", f" {waiting}")], width)]
    connections = _listed(snapshot, within, state, CONNECTIONS, _connection)
    files = _listed(snapshot, within, state, FILES, _file)
    skip = _skipped(state, connections, files, width, height)
    if width >= _WIDE_CELLS:
        half = width // 2
        left = _column(connections[skip:], "connections", len(connections), state, half - 1)
        right = _column(files[skip:], "files", len(files), state, width - half)
        blank = [("text", " " * (half - 1))], [("text", " " * (width - half))]
        left += [blank[0]] * (height - len(left))
        right += [blank[1]] * (height - len(right))
        return [[*a, ("text", " "), *b] for a, b in zip(left[:height], right[:height], strict=True)]
    if not connections and not files:
        return [fill([("dim", " no connection and no file moved a byte yet")], width)]
    both = sorted([*connections, *files], key=lambda part: part.moved, reverse=True)
    return [_line(part, state, width) for part in both[skip : skip + height]]


def _skipped(
    state: State, connections: list[Part], files: list[Part], width: int, height: int
) -> int:
    """Return how far the list is scrolled, no further than to its end."""
    if not state.opened:
        return 0
    wide = width >= _WIDE_CELLS
    length = max(len(connections), len(files)) + 1 if wide else len(connections) + len(files)
    state.detail_top = max(0, min(state.detail_top, length - height))
    return state.detail_top


Describe = Callable[[Rows, int, Look], tuple[str, bool]]


def _listed(
    snapshot: Snapshot, within: Within, state: State, view: View, describe: Describe
) -> list[Part]:
    """Return the row's connections or files, busiest first."""
    found = arrange(snapshot, Wish(view, (within,), totals=state.settings.totals))
    table = table_of(snapshot, view.table)
    if found is None or table is None:
        return []
    rows = table.take(list(found.order[:_MOST]))
    look = state.look
    names = ("rx", "tx") if view is CONNECTIONS else ("read", "write")
    totals = [rows.column(f"{name}_bytes") for name in names]
    shown = totals if look.units.totals else [rows.column(f"{n}_bytes_per_s") for n in names]
    made = []
    for at in range(len(rows)):
        text, keep_end = describe(rows, at, look)
        closed = rows.column("open")[at] is False
        total = totals[0][at] + totals[1][at]
        made.append(Part(text, keep_end, closed, shown[0][at], shown[1][at], total))
    return made


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


def _column(parts: list[Part], name: str, count: int, state: State, width: int) -> list[Line]:
    cells = state.units.cells
    ways = ("in", "out") if name == "connections" else ("read", "write")
    words = f" {count} {name}" if count else f" no {name}"
    columns = "".join(f" {word:>{cells}}" for word in (*ways, "total"))
    title: Line = [("title", cell(words, max(0, width - len(columns))) + columns)]
    return [title, *(_line(part, state, width) for part in parts)]


def _line(part: Part, state: State, width: int) -> Line:
    units = state.units
    numbers: Line = [
        (magnitude(value, totals=units.totals), " " + units.write(value).rjust(units.cells))
        for value in (part.into, part.out)
    ]
    numbers.append(("dim", " " + units.write(part.total).rjust(units.cells)))
    room = max(0, width - 1 - 3 * (units.cells + 1))
    role = "exited" if part.closed else "text"
    return [(role, " " + cell(part.text, room, keep_end=part.keep_end)), *numbers]
