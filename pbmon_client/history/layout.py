"""What is kept of a row: its columns and counters, by the table of fields."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Any, Final

from pbmond.fields import COUNTERS, DESCRIPTION, IDENTITY, TABLES, Field

#: Columns that change while a row lives: the newest value is kept, and the row stays the same.
_CHANGING: Final = frozenset(("state", "exited_ns", "tcp_state", "rtt_us"))
_WORDS: Final = ("unit", "name", "container", "container_name", "image", "pod", "namespace")
#: What is left of a process that was folded. The container goes with the unit.
_FOLDED: Final = tuple(tuple(sorted(("uid", "viewer", *more))) for more in (_WORDS, ("unit",), ()))
#: An address that is not known.
NO_ADDRESS: Final = bytes(16)
#: No column: the port that a connection was made to, or the lower one where that is not known.
PORT: Final = "port"
_MOST_VALUES: Final = 16
#: A row: the values of its columns, as the wire has them.
KeptRow = tuple[Any, ...]


@dataclass(frozen=True)
class Layout:
    """The columns of one table that are kept.

    ``key`` tells rows apart; ``latest`` are the columns that change. ``identity`` are those of the
    key by which rows of several blocks are joined. A connection or file has the ``uid`` of its
    process, so that a reader can tell whose it is. ``viewer`` of a row is who may see what it
    moved: rows of one process with different ones are never added up where they are kept.
    """

    table: str
    key: tuple[str, ...]
    latest: tuple[str, ...]
    identity: tuple[str, ...]
    counters: tuple[str, ...]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Every column of a row, in the order of its values."""
        return self.key + self.latest

    @cached_property
    def place(self) -> dict[str, int]:
        """Where each column is in a row."""
        return {name: place for place, name in enumerate(self.columns)}

    @cached_property
    def texts(self) -> frozenset[str]:
        """The columns that are bytes or None."""
        return frozenset(name for name in self.columns if _field(self.table, name).wire in _TEXTS)

    @cached_property
    def blank(self) -> KeptRow:
        """A row of which nothing is known."""
        return tuple(blank_value(self.table, name) for name in self.columns)

    def can_choose(self, name: str, value: object) -> bool:
        """Whether rows can be chosen by a value of a column: of numbers, also by a few of them.

        Connections can be chosen by the service's ``PORT`` too.
        """
        if name in self.texts:
            return value is None or isinstance(value, bytes)
        if name not in self.place and (name, self.table) != (PORT, "connections"):
            return False
        values = value if isinstance(value, (list, tuple)) else (value,)
        return 0 < len(values) <= _MOST_VALUES and all(
            type(each) is int and 0 <= each < 1 << 64 for each in values
        )

    @cached_property
    def traffic(self) -> tuple[bool, ...]:
        """For each counter, whether it counts bytes of traffic."""
        return tuple(TABLES[self.table][name].is_traffic for name in self.counters)


_TEXTS: Final = ("text", "16s")


def _field(table: str, name: str) -> Field:
    return DESCRIPTION[table].get(name) or TABLES[table][name]


def blank_value(table: str, name: str) -> Any:  # noqa: ANN401 - a number or bytes
    """Return what a column of the wire says when nothing is known."""
    field = _field(table, name)
    if field.wire in _TEXTS:
        return NO_ADDRESS if field.wire == "16s" else None
    return field.null or 0


def _layout(table: str) -> Layout:
    named = TABLES[table]
    changing = tuple(name for name in named if name in _CHANGING)
    more = ("uid",) if table == "processes" else ("uid", "class")
    return Layout(
        table,
        tuple(name for name in DESCRIPTION[table] if name not in changing),
        changing,
        (*IDENTITY[table], *more),
        tuple(name for name, field in named.items() if field.kind == "counter"),
    )


PROCESSES: Final = "processes"
FLOWS: Final = ("connections", "files")
#: By table. The counters of a table are numbered in the order of its layout.
LAYOUTS: Final = {table: _layout(table) for table in (PROCESSES, *FLOWS)}
#: The columns that say which process a row is, or is of, to a reader. Every identity begins so.
OWNER_NAMES: Final = ("pid", "start_ns")
_OWNER: Final = ("pid", "start_ns", "uid", "viewer")
#: What says which process a row is, or is of, as places in the row.
OWNER: Final = {
    table: tuple(layout.place[name] for name in _OWNER) for table, layout in LAYOUTS.items()
}
#: What is left of a row that was folded, by table and level, as places in the row; all are columns
#: of the key. Of a connection or file it is ``OWNER`` and the class.
LEFT: Final = {
    table: tuple(tuple(layout.place[name] for name in names) for names in levels)
    for table, layout in LAYOUTS.items()
    for levels in (_FOLDED if table == PROCESSES else ((*_OWNER, "class"),),)
}
#: The host's totals are the counters of a process.
TOTALS: Final = COUNTERS
#: How often rows can be folded: a process to user, unit and name; to user and unit; to its user.
LEVELS: Final = {table: len(levels) for table, levels in LEFT.items()}


@lru_cache(1024)
def folded_start(left: KeptRow, level: int) -> int:
    """Return the start time of the row that stands for processes of which this is ``LEFT``.

    Its process id is 0, and process id and start time together say whose a connection is. So the
    start time is a number made from what is left, 40 bits that differ for different rows: as a
    time, the first 18 minutes of a boot.
    """
    row = list(LAYOUTS[PROCESSES].blank)
    for place, value in zip(LEFT[PROCESSES][level], left, strict=True):
        row[place] = value
    text = b"\0".join(b"" if value is None else str(value).encode() for value in row)
    return int.from_bytes(blake2b(text, digest_size=5).digest(), "little")
