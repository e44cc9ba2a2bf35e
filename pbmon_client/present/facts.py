"""What a row is, in words: the attributes of a process, a connection, a file or a group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pbmon_client.present.numbers import duration, moment
from pbmon_client.present.view_columns import Style, written
from pbmon_client.present.views import View
from pbmond.fields import FIELDS

ValueOf = Callable[[str], Any]
_RETRANSMITTED: Final = ("retransmitted_segments", "retransmitted_bytes")
_BEFORE: Final = tuple(
    f"before_{what}_bytes" for what in ("read", "write", "disk_read", "disk_write")
)
_CONTAINER: Final = ("container", "container_name", "image", "pod", "namespace")
_PROCESS: Final = (
    *("cmdline", "user", "unit", *_CONTAINER, "exe", "cgroup", "ppid"),
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


def facts_of(value: ValueOf, style: Style, view: View) -> list[tuple[str, str]]:
    """Return what is known of a row of a view as (label, text); ``value`` gives a field's value."""
    names: tuple[str, ...] = _FIELDS[view.table]
    if view.grouping is not None:
        counted = "members" if view.table == "processes" else "processes"
        names = (counted, "uid", "exe", "unit", *_CONTAINER, "class")
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
