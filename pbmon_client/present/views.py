"""The views: what each lists, by which fields, and what opening a row of it shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from pbmon_client.present import groups
from pbmon_client.present.listing import Grouping
from pbmon_client.present.view_columns import (
    ViewColumn,
    number,
    text,
    traffic,
    write_container,
    write_direction,
    write_end,
    write_host,
    write_name,
    write_port,
    write_unit,
)
from pbmond.fields import ways

#: Sorts by all traffic shown, and where none is, by what moved since counting began.
BUSIEST: Final = "busiest"


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One way to look at a snapshot. ``table`` is where its rows, or their members, come from."""

    name: str
    table: str
    columns: tuple[ViewColumn, ...]
    grouping: Grouping | None = None
    tree: bool = False

    @property
    def needs_flows(self) -> bool:
        """Whether connections and files are needed."""
        return self.table != "processes"

    @property
    def has_flows(self) -> bool:
        """Whether connections or files belong to its rows, rather than being them."""
        return self.grouping is not None or self.table == "processes"

    @property
    def members(self) -> str:
        """The view that shows the members of a group."""
        return self.table


def _pair(rank: int, name: str) -> tuple[ViewColumn, ...]:
    return tuple(traffic("processes", f"{name}_{way}", rank) for way in ways(name))


#: Every class of a process's bytes; net, file and disk fit into 80 cells.
_TRAFFIC: Final = (
    *_pair(2, "net"),
    *_pair(3, "file"),
    *_pair(5, "disk"),
    *_pair(6, "loopback"),
    *_pair(7, "unix"),
    *_pair(9, "pipe"),
    *_pair(12, "device"),
    *_pair(14, "socket"),
)
_PID: Final = number("processes", "pid", 7, 0)
_PROCESS: Final = text("processes", "name", 15, 1, stretch=2, write=write_name, ideal=18, most=36)
_OWNER: Final = text("processes", "name", 12, 1, stretch=1, write=write_name, ideal=15, most=24)
_COUNTS: Final = (
    number("processes", "connections", 5, 11),
    number("processes", "files", 5, 11),
)

_PROCESS_FIELDS: Final = (
    _PID,
    text("processes", "user", 8, 4),
    _PROCESS,
    *_TRAFFIC,
    *_COUNTS,
    text("processes", "unit", 20, 8),
    text("processes", "container", 19, 13, write=write_container),
    text("processes", "cmdline", 20, 10, stretch=4),
)
PROCESSES: Final = View("processes", "processes", _PROCESS_FIELDS)
#: The indentation takes cells of the name.
_TREE_FIELDS: Final = tuple(
    replace(field, stretch=16, ideal=32, most=48) if field is _PROCESS else field
    for field in _PROCESS_FIELDS
)
TREE: Final = View("tree", "processes", _TREE_FIELDS, tree=True)
_MEMBERS: Final = number("processes", "members", 5, 4, "PROCS")
PROGRAMS: Final = View(
    "programs",
    "processes",
    (
        text("processes", "program", 18, 0, stretch=2, most=32),
        _MEMBERS,
        *_TRAFFIC,
        *_COUNTS,
        text("processes", "exe", 24, 8, stretch=4, keep_end=True),
    ),
    groups.PROGRAMS,
)
USERS: Final = View(
    "users",
    "processes",
    (
        text("processes", "user", 18, 0, stretch=1, most=28),
        number("processes", "uid", 7, 8),
        _MEMBERS,
        *_TRAFFIC,
        *_COUNTS,
    ),
    groups.USERS,
)
UNITS: Final = View(
    "units",
    "processes",
    (
        text(
            "processes", "unit_or_container", 18, 0, stretch=3, title="UNIT OR CONTAINER", most=48
        ),
        _MEMBERS,
        *_TRAFFIC,
        *_COUNTS,
        text("processes", "image", 24, 9, stretch=1),
        text("processes", "unit", 24, 10, stretch=2, title="ITS UNIT", write=write_unit),
    ),
    groups.UNITS,
)
_FLOW: Final = (traffic("connections", "rx", 2), traffic("connections", "tx", 2))
CONNECTIONS: Final = View(
    "connections",
    "connections",
    (
        _PID,
        _OWNER,
        text("connections", "protocol", 6, 3, stretch=1, most=9),
        text("connections", "local_address", 15, 4, stretch=2,
             write=write_end("local"), keep_end=True, ideal=21, most=60),
        text("connections", "direction", 1, 4, title=" ", write=write_direction),
        text("connections", "remote_address", 15, 1, stretch=3,
             write=write_end("remote"), keep_end=True, ideal=24, most=60),
        *_FLOW,
        text("processes", "user", 8, 6),
        text("connections", "class", 8, 7),
        number("connections", "rtt_us", 8, 5),
        number("connections", "retransmitted_segments", 7, 5),
        text("connections", "tcp_state", 11, 10),
        number("connections", "rx_calls", 9, 9),
        number("connections", "tx_calls", 9, 9),
        text("processes", "unit", 20, 8, stretch=1, most=40),
    ),
)  # fmt: skip
_OF_CONNECTIONS: Final = (
    number("connections", "members", 5, 3, "CONNS"),
    number("connections", "processes", 5, 4, "PROCS"),
)
HOSTS: Final = View(
    "hosts",
    "connections",
    (
        text(
            "connections", "host", 24, 0, stretch=1, title="REMOTE HOST", write=write_host, most=56
        ),
        text("connections", "class", 8, 5),
        *_OF_CONNECTIONS,
        *_FLOW,
        number("connections", "rtt_us", 8, 4),
        number("connections", "retransmitted_segments", 7, 4),
    ),
    groups.HOSTS,
)
PORTS: Final = View(
    "ports",
    "connections",
    (
        text("connections", "protocol", 13, 0, title="PROTOCOL"),
        text("connections", "port", 16, 1, stretch=1, title="PORT", write=write_port, most=28),
        text("connections", "direction", 10, 5, title="OPENED"),
        text("connections", "class", 8, 6),
        *_OF_CONNECTIONS,
        *_FLOW,
    ),
    groups.PORTS,
)
FILES: Final = View(
    "files",
    "files",
    (
        _PID,
        _OWNER,
        text("files", "path", 20, 1, stretch=6, keep_end=True, ideal=48),
        traffic("files", "read", 2),
        traffic("files", "write", 2),
        text("processes", "user", 8, 6),
        text("files", "class", 6, 7),
        number("files", "read_calls", 9, 9),
        number("files", "write_calls", 9, 9),
        text("files", "device", 7, 10),
        number("files", "inode", 10, 10),
    ),
)
#: In the order of the keys 1 to 9 and of Tab.
VIEWS: Final = (PROCESSES, PROGRAMS, USERS, UNITS, CONNECTIONS, HOSTS, PORTS, FILES, TREE)
BY_NAME: Final = {view.name: view for view in VIEWS}
