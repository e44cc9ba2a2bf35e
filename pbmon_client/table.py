"""A view as a table of text that fits a width, for terminals and files; pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pbmon_client import coverage
from pbmon_client.columns import TABLES
from pbmon_client.format import fit, human, safe_text
from pbmon_client.model import Rows, View


@dataclass(frozen=True, slots=True)
class _Field:
    """A table column: ``cells`` wide; ``stretch`` shares what is left of the line."""

    title: str
    values: Callable[[Rows], Sequence[str]]
    cells: int
    right: bool = False
    stretch: bool = False
    keep_end: bool = False


def _text(name: str, cells: int, *, stretch: bool = False, keep_end: bool = False) -> _Field:
    def values(rows: Rows) -> list[str]:
        return ["" if value is None else str(value) for value in rows.find(name) or ()]

    title = name.upper()
    return _Field(title, values, cells, stretch=stretch, keep_end=keep_end)


def _rate(table: str, name: str) -> _Field:
    title = TABLES[table][name].title

    def values(rows: Rows) -> list[str]:
        return [human(value) for value in rows.column(name)]

    return _Field(title, values, max(6, len(title)), right=True)


def _rates(table: str, *pairs: str) -> tuple[_Field, ...]:
    return tuple(_rate(table, f"{pair}_bytes_per_s") for pair in pairs)


def _pids(rows: Rows) -> list[str]:
    return [str(pid) for pid in rows.column("pid")]


def _states(rows: Rows) -> list[str]:
    return ["X" if state == "exited" else "" for state in rows.column("state")]


def _ends(side: str) -> Callable[[Rows], list[str]]:
    return lambda rows: list(map(_end, rows.column(f"{side}_address"), rows.column(f"{side}_port")))


def _end(address: str | None, port: int | None) -> str:
    host = "?" if address is None else address
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


_PID: Final = _Field("PID", _pids, 7, right=True)
_PROCESSES: Final = (
    _PID,
    _text("user", 8),
    _Field("", _states, 1),
    _text("name", 15, stretch=True),
    *_rates("processes", "net_rx", "net_tx", "file_read", "file_write", "disk_read", "disk_write"),
)
#: Shown where the line has room for a whole group more.
_WIDER: Final = (
    _rates("processes", "loopback_rx", "loopback_tx"),
    _rates("processes", "unix_rx", "unix_tx"),
    _rates("processes", "pipe_read", "pipe_write"),
    (_text("unit", 24),),
    (_text("cmdline", 24, stretch=True),),
)
_ARROWS: Final = {"in": "<-", "out": "->"}
_CONNECTIONS: Final = (
    _PID,
    _text("name", 10),
    _text("protocol", 6),
    _Field("LOCAL", _ends("local"), 15, stretch=True),
    _Field("", lambda rows: [_ARROWS.get(v, "--") for v in rows.column("direction")], 2),
    _Field("REMOTE", _ends("remote"), 15, stretch=True),
    *_rates("connections", "rx", "tx"),
)
_FILES: Final = (
    _PID,
    _text("name", 15),
    _text("path", 20, stretch=True, keep_end=True),
    *_rates("files", "read", "write"),
)


def render(view: View, width: int, height: int | None = None, notice: str = "") -> str:
    """Write a view as lines of at most ``width`` cells; ``height`` bounds their number.

    ``notice`` is a line that must be seen, such as that the daemon is silent.
    """
    lines = _heading(view, width, notice)
    sections = [(_processes_fields(width), view.processes, "processes")]
    if view.connections is not None and view.files is not None:
        sections.append((_CONNECTIONS, view.connections, "connections"))
        sections.append((_FILES, view.files, "files"))
    for number, (fields, rows, name) in enumerate(sections):
        room = None
        if height is not None:
            room = max(2, (height - len(lines)) // (len(sections) - number))
        lines += _section(fields, rows, name, width, room)
    return "\n".join(lines[:height]) + "\n"


def heading(view: View, width: int) -> str:
    """Write the lines above the rows: host, time, scope, warnings, totals, coverage."""
    return "\n".join(_heading(view, width, "")) + "\n"


def _heading(view: View, width: int, notice: str) -> list[str]:
    lines = [_title(view, width)]
    lines += [fit(line, width).rstrip() for line in (notice, *_warnings(view.health)) if line]
    covered = coverage.line(view.coverage, view.message.interval_ns, width)
    return [*lines, _total(view, width), *([covered] if covered else [])]


def _title(view: View, width: int) -> str:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(view.message.time_ns // 10**9))
    every = f"{view.message.interval_ns / 1e9:.1f} s"
    scope = "every user" if view.scope == "all" else "only your processes"
    status = safe_text(str(view.health.get("status", "?")))
    return fit(f"pbmon  {view.host}  {stamp}  last {every}  {scope}  {status}", width).rstrip()


def _warnings(health: Mapping[str, Any]) -> list[str]:
    """Say what the numbers leave out."""
    lines = []
    lost = health.get("lost")
    counts = lost.items() if isinstance(lost, dict) else ()
    missing = ", ".join(f"{reason} {count}" for reason, count in counts if count)
    if missing:
        lines.append(f"LOST since the daemon started: {missing}")
    if health.get("status") != "complete":
        reasons = health.get("reasons")
        words = "; ".join(map(str, reasons)) if isinstance(reasons, list) else ""
        lines.append(f"INCOMPLETE: {words or 'some bytes are missing from the rows'}")
    unseen = health.get("unseen")
    if isinstance(unseen, list) and unseen:
        lines.append(f"unseen here: {', '.join(map(str, unseen))}")
    return lines


def _total(view: View, width: int) -> str:
    def pair(into: str, out: str) -> str:
        rates = (view.totals.get(f"{name}_bytes_per_s") for name in (into, out))
        return "/".join(human(rate) for rate in rates)

    text = (
        f"total/s  net {pair('net_rx', 'net_tx')}  lo {pair('loopback_rx', 'loopback_tx')}"
        f"  unix {pair('unix_rx', 'unix_tx')}  file {pair('file_read', 'file_write')}"
        f"  disk {pair('disk_read', 'disk_write')}"
    )
    return fit(text, width).rstrip()


def _processes_fields(width: int) -> tuple[_Field, ...]:
    fields = _PROCESSES
    for group in _WIDER:
        if _least((*fields, *group)) > width:
            break
        fields = (*fields, *group)
    return fields


def _least(fields: Sequence[_Field]) -> int:
    return sum(field.cells + 1 for field in fields) - 1


def _section(
    fields: Sequence[_Field], rows: Rows, name: str, width: int, room: int | None
) -> list[str]:
    """Write a heading and the rows that fit, the last line saying how many did not."""
    shown = rows
    rest = 0
    if room is not None and len(rows) > room - 1:
        shown = rows.take(range(max(0, room - 2)))
        rest = len(rows) - len(shown)
    cells = _spread(fields, width)
    columns = [field.values(shown) for field in fields]
    texts = [[field.title for field in fields], *zip(*columns, strict=True)]
    lines = [fit(_line(fields, row, cells), width).rstrip() for row in texts]
    if rest:
        lines.append(f"… and {rest} more {name}")
    return lines


def _spread(fields: Sequence[_Field], width: int) -> list[int]:
    """Give the stretching fields what the line has left."""
    spare = max(0, width - _least(fields))
    stretching = sum(field.stretch for field in fields) or 1
    share, left = divmod(spare, stretching)
    cells = []
    for field in fields:
        extra = share + (1 if left > 0 else 0) if field.stretch else 0
        left -= field.stretch
        cells.append(field.cells + extra)
    return cells


def _line(fields: Sequence[_Field], row: Sequence[str], cells: Sequence[int]) -> str:
    parts = []
    for field, text, room in zip(fields, row, cells, strict=True):
        cut = fit(text, room, keep_end=field.keep_end)
        parts.append(cut.rstrip().rjust(room) if field.right else cut)
    return " ".join(parts).rstrip()
