"""What a row is, in words: the attributes of a process, a connection, a file or a group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pbmon_client.present.cells import Line, cell, cells_of, fill, wrap
from pbmon_client.present.numbers import duration, moment
from pbmon_client.present.view_columns import Style, written
from pbmon_client.present.views import View
from pbmond.fields import FIELDS

ValueOf = Callable[[str], Any]
_RETRANSMITTED: Final = ("retransmitted_segments", "retransmitted_bytes")
_BEFORE: Final = tuple(
    f"before_{what}_bytes" for what in ("read", "write", "disk_read", "disk_write")
)
_PROCESS: Final = (
    *("cmdline", "user", "unit", "container", "exe", "cgroup", "ppid"),
    *_RETRANSMITTED,
)
_FIELDS: Final = {
    "processes": (*_PROCESS, *_BEFORE),
    "connections": (
        *("class", "protocol", "tcp_state", "rtt_us", *_RETRANSMITTED),
        *("before_rx_bytes", "before_tx_bytes", "inode", "netns"),
        *_PROCESS[:3],
    ),
    "files": ("class", "device", "inode", "netns", *_PROCESS[:3]),
}


def facts(value: ValueOf, style: Style, view: View, width: int, most: int) -> list[Line]:
    """Draw a row's attributes one after another, in at most ``most`` lines."""
    lines: list[Line] = []
    line: Line = [("text", " ")]
    used = 1
    for name, text in _found(value, style, view):
        size = len(name) + 1 + cells_of(text)
        if used > 1 and used + 2 + size > width:
            lines.append(fill(line, width))
            line, used = [("text", " ")], 1
        if used > 1:
            line.append(("text", "  "))
            used += 2
        room = max(1, width - used - len(name) - 1)
        line += [("dim", f"{name} "), ("text", text if size <= room else cell(text, room))]
        used += size
    if used > 1:
        lines.append(fill(line, width))
    return lines[:most]


def listed(value: ValueOf, style: Style, view: View, width: int, most: int) -> list[Line]:
    """Draw a row's attributes in full, each starting on a line of its own."""
    lines: list[Line] = []
    found = _found(value, style, view)
    label_cells = max([_LABEL_CELLS, *(len(name) + 2 for name, _ in found)])
    for name, text in found:
        rows = wrap(text, max(2, width - label_cells)) or [""]
        for at, row in enumerate(rows):
            label = f" {name}" if not at else ""
            line: Line = [("dim", cell(label, label_cells)), ("text", row)]
            lines.append(fill(line, width))
    return lines[:most]


_LABEL_CELLS: Final = 13


def _found(value: ValueOf, style: Style, view: View) -> list[tuple[str, str]]:
    names: tuple[str, ...] = _FIELDS[view.table]
    if view.grouping is not None:
        counted = "members" if view.table == "processes" else "processes"
        names = (counted, "uid", "exe", "unit", "container", "class")
    found = []
    for name in names:
        known = value(name)
        nothing = known == 0 and FIELDS[name].unit in ("bytes", "segments")
        if known is not None and known != "" and not nothing:
            found.append((_title(name), written(name, known, style)))
    if view.grouping is None:
        found[1:1] = _moments(value, style, view)
    return found


def _title(name: str) -> str:
    # The number of members of a group is not a field of any row.
    return FIELDS[name].title if name in FIELDS else "processes"


#: An age is padded to this width, so that what follows it does not move every second.
_AGE_CELLS: Final = len("(59 m 59 s)")


def _moments(value: ValueOf, style: Style, view: View) -> list[tuple[str, str]]:
    """Say since when and until when."""
    now_ns = style.now_ns
    if view.table == "processes":
        start, end = value("start_ns"), value("exited_ns")
        state = [] if end is None else [("exited", moment(end + style.wall_ns, now_ns))]
        return [*_since("started", start, style, end), *state]
    first, last = value("first_ns"), value("last_ns")
    open_now = {True: "yes", False: "no"}.get(value("open"), "not known")
    return [
        *_since("first byte", first, style, None),
        *([("last byte", moment(last + style.wall_ns, now_ns))] if last else []),
        ("open", open_now),
    ]


def _since(word: str, start: int | None, style: Style, end: int | None) -> list[tuple[str, str]]:
    if not start:
        return []
    until = style.now_ns - style.wall_ns if end is None else end
    age = duration((until - start) / 1e9)
    return [
        (
            word,
            f"{moment(start + style.wall_ns, style.now_ns)} {f'({age})':<{_AGE_CELLS}}",
        )
    ]
