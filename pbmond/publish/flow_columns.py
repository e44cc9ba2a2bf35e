"""The wire columns of connections and files, made from the rows of the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pbmond.fields import CODES, CONNECTIONS, DIRECTIONS, FILES, Field
from pbmond.kernel.records import FLAG_ACCEPTED, FLAG_CONNECTED, FLAG_UNLINKED, UnixSeen
from pbmond.store.before import Before
from pbmond.store.rows import CLOSED, RowView

_AF_INET, _AF_INET6 = 2, 10
#: Protocols in which one side opens a connection: TCP, SCTP, MPTCP.
_CONNECTING = (6, 132, 262)
_UNIX = CODES["unix"]
_UNKNOWN, _IN, _OUT = (DIRECTIONS.index(name) for name in ("unknown", "in", "out"))


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """The rows ``index`` of ``view``.

    ``exited`` and ``starts_ns`` are by process slot. ``listening`` has (netns, port).
    """

    view: RowView
    index: NDArray[np.intp]
    exited: NDArray[np.bool_]
    starts_ns: NDArray[np.uint64]
    interval_ns: int
    listening: frozenset[tuple[int, int]]
    before: Before


Make = Callable[[ChosenRows], Any]


def _key(name: str) -> Make:
    return lambda rows: rows.view.state.keys[name][rows.index]


def _counter(name: str) -> Make:
    return lambda rows: rows.view.state.counters[name][rows.index]


def _sum(name: str) -> Make:
    # The kernel's own counter may be narrower than the wire's.
    return lambda rows: _counter(name)(rows).astype(np.uint64, copy=False)


def _address(name: str) -> Make:
    # As bytes, because consumers do not understand the buffer format of a void array.
    return lambda rows: rows.view.state.keys[name][rows.index].view(np.uint8)


def _rate(column: int) -> Make:
    def make(rows: ChosenRows) -> NDArray[np.float64]:
        if not rows.interval_ns:
            return np.full(len(rows.index), np.nan)
        return np.asarray(rows.view.state.deltas[column, rows.index] / (rows.interval_ns / 1e9))

    return make


def _start_ns(rows: ChosenRows) -> NDArray[np.uint64]:
    return rows.starts_ns[rows.view.state.slots[rows.index]]


def _last_ns(rows: ChosenRows) -> NDArray[np.uint64]:
    return rows.view.state.last_ns[rows.index]


def _open(rows: ChosenRows) -> NDArray[np.uint8]:
    state = rows.view.state
    closed = rows.exited[state.slots[rows.index]]
    return np.where(closed, np.uint8(CLOSED), state.open[rows.index])


def _before(way: int) -> Make:
    def make(rows: ChosenRows) -> NDArray[np.uint64]:
        state = rows.view.state
        moved = rows.before.of(state.keys[rows.index], state.counters[rows.index])
        return np.asarray(moved[way])

    return make


def _unlinked(rows: ChosenRows) -> NDArray[np.uint8]:
    flags = rows.view.state.counters["flags"][rows.index]
    return np.asarray((flags & FLAG_UNLINKED) != 0).astype(np.uint8)


def _path(rows: ChosenRows) -> list[bytes | None]:
    return list(map(rows.view.names.get, _counter("id")(rows).tolist()))


def _unix_names(rows: ChosenRows) -> list[tuple[int, UnixSeen]]:
    """Return (position, names) of the selected unix sockets that have names."""
    positions = np.flatnonzero(_counter("class")(rows) == _UNIX)
    ids = rows.view.state.counters["id"][rows.index[positions]]
    pairs = zip(positions.tolist(), map(rows.view.names.get, ids.tolist()), strict=True)
    return [(position, names) for position, names in pairs if names is not None]


def _unix_name(end: str) -> Make:
    def make(rows: ChosenRows) -> list[bytes | None]:
        column: list[bytes | None] = [None] * len(rows.index)
        for position, names in _unix_names(rows):
            column[position] = getattr(names, end)
        return column

    return make


def _remote(rows: ChosenRows) -> NDArray[np.uint8]:
    remote: NDArray[np.uint8] = _address("remote")(rows)
    for position, names in _unix_names(rows):
        if names.remote_inode is not None:
            inode = names.remote_inode.to_bytes(16, "little")
            remote[16 * position : 16 * position + 16] = np.frombuffer(inode, np.uint8)
    return remote


def _direction(rows: ChosenRows) -> NDArray[np.uint8]:
    counters = rows.view.state.counters[rows.index]
    keys = rows.view.state.keys[rows.index]
    inet = np.isin(keys["family"], (_AF_INET, _AF_INET6))
    # Protocol numbers mean something else in other families.
    connecting = inet & np.isin(keys["protocol"], _CONNECTING)
    out = (counters["flags"] & FLAG_CONNECTED) != 0
    into = (counters["flags"] & FLAG_ACCEPTED) != 0
    if rows.listening:
        known = np.array([netns << 16 | port for netns, port in rows.listening], np.uint64)
        ports = counters["netns"].astype(np.uint64) << np.uint64(16) | keys["local_port"]
        into |= ~out & np.isin(ports, known)
    direction = np.where(into, _IN, np.where(out, _OUT, _UNKNOWN))
    return np.where(connecting, direction, _UNKNOWN).astype(np.uint8)


_MADE: Final[dict[str, Make]] = {
    "start_ns": _start_ns,
    "local": _address("local"),
    "remote": _remote,
    "local_name": _unix_name("local"),
    "remote_name": _unix_name("remote"),
    "direction": _direction,
    "path": _path,
    "unlinked": _unlinked,
    "before_rx_bytes": _before(0),
    "before_tx_bytes": _before(1),
    "last_ns": _last_ns,
    "open": _open,
}


def _maker(field: Field) -> Make:
    if field.name in _MADE:
        return _MADE[field.name]
    if field.rate_of is not None:
        return _rate(0 if field.direction == "in" else 1)
    part, _, name = field.store.partition(".")
    if field.kind == "counter":
        return _sum(name)
    return _key(name) if part == "key" else _counter(name)


CONNECTION_COLUMNS, FILE_COLUMNS = (
    {field.name: _maker(field) for field in table if field.wire is not None}
    for table in (CONNECTIONS, FILES)
)
