"""The one table of columns: every field of the contract, its title, kind and origin; pure.

The table view, JSON, CSV and the filter all read these tuples; their order is the contract's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, Literal

from pbmon_client.data import network
from pbmon_client.data import text as fmt
from pbmond import wire

Kind = Literal["text", "address", "bool", "integer", "bytes", "rate"]
UserName = Callable[[int], str]
#: Makes a column's values (None: not known) from the wire's columns of the same table.
Source = Callable[[Mapping[str, Any], UserName], Sequence[Any]]

_NO_UID: Final = 0xFFFFFFFF  # what the kernel calls an invalid uid


@dataclass(frozen=True, slots=True)
class Column:
    """One field. ``choices`` holds the only words that its values can be, if they are few."""

    name: str
    title: str
    kind: Kind
    source: Source
    choices: tuple[str, ...] = ()


def _each(convert: Callable[..., Any], *columns: Sequence[Any]) -> list[Any]:
    """Convert rows of columns, those that are the same only once: most are of few kinds."""
    rows = list(zip(*columns, strict=True))
    made = {row: convert(*row) for row in set(rows)}
    return list(map(made.__getitem__, rows))


def _raw(name: str) -> Source:
    return lambda columns, _user: columns[name]


def _known(name: str, unknown: int = 0) -> Source:
    return lambda columns, _user: [None if v == unknown else v for v in columns[name]]


def _text(name: str, convert: Callable[[bytes], str] = fmt.safe) -> Source:
    return lambda columns, _user: [None if v is None else convert(v) for v in columns[name]]


def _rates(name: str) -> Source:
    return lambda columns, _user: [v if isfinite(v) else None for v in columns[name]]


def _pick(name: str, values: Sequence[Any], unknown: object) -> Source:
    # A publisher's mistake must not end the viewer: an index out of range reads as unknown.
    table = [*values, *[unknown] * (256 - len(values))]
    return lambda columns, _user: [table[v] for v in columns[name]]


def _users(columns: Mapping[str, Any], user: UserName) -> Sequence[Any]:
    return [None if uid == _NO_UID else user(uid) for uid in columns["uid"]]


def _end(side: str, convert: Callable[[int, bytes, bytes | None], str | None]) -> Source:
    def source(columns: Mapping[str, Any], _user: UserName) -> Sequence[Any]:
        return _each(convert, columns["family"], columns[side], columns[f"{side}_name"])

    return source


def _protocols(columns: Mapping[str, Any], _user: UserName) -> Sequence[Any]:
    return _each(network.protocol, columns["family"], columns["type"], columns["protocol"])


def _paths(columns: Mapping[str, Any], _user: UserName) -> Sequence[Any]:
    return list(map(_path, columns["path"], columns["unlinked"]))


def _path(raw: bytes | None, unlinked: int) -> str | None:
    if raw is None:
        return None
    path = fmt.safe(raw)
    return f"{path} (deleted)" if unlinked and not path.endswith(" (deleted)") else path


def _devices(columns: Mapping[str, Any], _user: UserName) -> Sequence[Any]:
    return _each(fmt.device, columns["device"])


_SHORT: Final = {"loopback": "lo", "socket": "sock", "device": "dev", "read": "R", "write": "W"}


def _counter(name: str) -> Column:
    words = name.removesuffix("_per_s").split("_")
    title = " ".join(_SHORT.get(word, word) for word in words if word != "bytes").upper()
    if name.endswith("_per_s"):
        return Column(name, title, "rate", _rates(name))
    return Column(name, title, "bytes" if name.endswith("_bytes") else "integer", _raw(name))


def _column(name: str, kind: Kind, source: Source | None = None) -> Column:
    return Column(name, name.upper(), kind, source or _raw(name))


def _word(name: str, values: tuple[str, ...], unknown: str | None = None) -> Column:
    return Column(name, name.upper(), "text", _pick(name, values, unknown), values)


_OPEN: Final = _column("open", "bool", _pick("open", wire.OPEN, None))

PROCESSES: Final = (
    _column("pid", "integer"),
    _column("start_ns", "integer"),
    _column("ppid", "integer"),
    _column("uid", "integer", _known("uid", _NO_UID)),
    _column("user", "text", _users),
    _column("name", "text", _text("name")),
    _column("exe", "text", _text("exe")),
    _column("cmdline", "text", _text("cmdline", fmt.safe_cmdline)),
    _column("cgroup", "text", _text("cgroup")),
    _column("unit", "text", _text("unit")),
    _column("container", "text", _text("container")),
    _column("netns", "integer", _known("netns")),
    _word("state", wire.STATES),
    _column("exited_ns", "integer", _known("exited_ns")),
    _column("connections", "integer"),
    _column("files", "integer"),
    *map(_counter, wire.COUNTERS),
    *map(_counter, wire.RATES),
)
CONNECTIONS: Final = (
    _column("pid", "integer"),
    _column("start_ns", "integer"),
    _word("class", wire.CLASSES),
    _column("protocol", "text", _protocols),
    _column("local_address", "address", _end("local", network.local_address)),
    _column("local_port", "integer", _known("local_port")),
    _column("remote_address", "address", _end("remote", network.remote_address)),
    _column("remote_port", "integer", _known("remote_port")),
    _column("netns", "integer", _known("netns")),
    _column("inode", "integer"),
    _word("direction", wire.DIRECTIONS, wire.DIRECTIONS[0]),
    *map(_counter, ("rx_bytes", "tx_bytes", "rx_calls", "tx_calls")),
    *map(_counter, ("rx_bytes_per_s", "tx_bytes_per_s")),
    _column("first_ns", "integer"),
    _column("last_ns", "integer"),
    _OPEN,
)
FILES: Final = (
    _column("pid", "integer"),
    _column("start_ns", "integer"),
    _word("class", wire.CLASSES),
    _column("path", "text", _paths),
    _column("device", "text", _devices),
    _column("inode", "integer"),
    *map(_counter, ("read_bytes", "write_bytes", "read_calls", "write_calls")),
    *map(_counter, ("read_bytes_per_s", "write_bytes_per_s")),
    _column("first_ns", "integer"),
    _column("last_ns", "integer"),
    _OPEN,
)
RETIRED: Final = (
    _column("unit", "text", _text("unit")),
    _column("uid", "integer", _known("uid", _NO_UID)),
    _column("user", "text", _users),
    _column("processes", "integer"),
    *map(_counter, wire.COUNTERS),
)
TABLES: Final[dict[str, dict[str, Column]]] = {
    "processes": {column.name: column for column in PROCESSES},
    "connections": {column.name: column for column in CONNECTIONS},
    "files": {column.name: column for column in FILES},
    "retired": {column.name: column for column in RETIRED},
}
#: Every field that a row of traffic can have; where two tables share a name, they share its kind.
FIELDS: Final[dict[str, Column]] = {
    name: column
    for table in ("files", "connections", "processes")
    for name, column in TABLES[table].items()
}


def rate_columns(table: str) -> tuple[str, ...]:
    """Name the rates of a table."""
    return tuple(c.name for c in TABLES[table].values() if c.kind == "rate")


def byte_columns(table: str) -> tuple[str, ...]:
    """Name the byte counters of a table."""
    return tuple(c.name for c in TABLES[table].values() if c.kind == "bytes")
