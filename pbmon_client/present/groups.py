"""What rows are grouped by: program, user, unit or container, remote host, service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pbmon_client.data import network
from pbmon_client.data.model import Rows
from pbmon_client.data.text import safe
from pbmon_client.present.listing import Grouping, RowKey
from pbmon_client.present.view_columns import container_words
from pbmond.fields import CLASSES, CODES, DIRECTIONS, NO_UID

_NET_NUMBERS: Final = (CODES["net"], CODES["loopback"])
_NET: Final = frozenset(_NET_NUMBERS)
_IN: Final = DIRECTIONS.index("in")
_OUT: Final = DIRECTIONS.index("out")
_PLURALS: Final = {"unix": "unix sockets", "socket": "other sockets"}


def _text(value: RowKey) -> str | None:
    return safe(value) if isinstance(value, bytes) else None


# --- programs -----------------------------------------------------------------------------------


def _programs(rows: Rows) -> Iterable[RowKey]:
    columns = rows.table.columns
    return [exe or (name,) for exe, name in zip(columns["exe"], columns["name"], strict=True)]


def _program(_rows: Rows, key: Any, _row: int) -> str | None:  # noqa: ANN401 - one of two kinds
    if isinstance(key, tuple):  # a kernel thread, or a process whose executable is unknown
        return _text(key[0])
    return safe(key.removesuffix(b" (deleted)").rsplit(b"/", 1)[-1])


def _exe(_rows: Rows, key: Any, _row: int) -> str | None:  # noqa: ANN401
    return None if isinstance(key, tuple) else safe(key)


def _of_program(key: Any) -> Mapping[str, Any]:  # noqa: ANN401
    return {"exe": None, "name": key[0]} if isinstance(key, tuple) else {"exe": key}


PROGRAMS: Final = Grouping("processes", _programs, {"program": _program, "exe": _exe}, _of_program)

# --- users, units and containers ----------------------------------------------------------------


def _users(rows: Rows) -> Iterable[RowKey]:
    return list(rows.table.columns["uid"])


def _user(rows: Rows, key: RowKey, row: int) -> str | None:
    # From the contract's own column, which knows how users are named.
    return None if key == NO_UID else rows.take([row]).column("user")[0]


def _uid(_rows: Rows, key: RowKey, _row: int) -> RowKey:
    return None if key == NO_UID else key


USERS: Final = Grouping("processes", _users, {"user": _user, "uid": _uid}, lambda key: {"uid": key})


def _units(rows: Rows) -> Iterable[RowKey]:
    columns = rows.table.columns
    return list(zip(columns["container"], columns["unit"], strict=True))


def _unit(_rows: Rows, key: Any, _row: int) -> str | None:  # noqa: ANN401
    return _text(key[1])


def _container(_rows: Rows, key: Any, _row: int) -> str | None:  # noqa: ANN401
    return _text(key[0])


def _first(name: str) -> Callable[[Rows, Any, int], str | None]:
    """Return the value of a column that is the same in all rows of a container."""

    def value(rows: Rows, _key: Any, row: int) -> str | None:  # noqa: ANN401
        return _text(rows.table.columns[name][row])

    return value


_NAMES: Final = {name: _first(name) for name in ("container_name", "image", "pod", "namespace")}


def _place(rows: Rows, key: Any, row: int) -> str:  # noqa: ANN401
    """Name a container as people do, or by its runtime and the start of its id, else the unit."""
    container = _container(rows, key, row)
    if container is None:
        return _unit(rows, key, row) or "(no unit)"
    words = (_NAMES[name](rows, key, row) for name in ("container_name", "pod", "namespace"))
    return container_words(container, *words)


UNITS: Final = Grouping(
    "processes",
    _units,
    {"unit_or_container": _place, "unit": _unit, "container": _container, **_NAMES},
    lambda key: {"container": key[0], "unit": key[1]},
)

# --- remote hosts and ports ---------------------------------------------------------------------


def _hosts(rows: Rows) -> Iterable[RowKey]:
    columns = rows.table.columns
    return [
        (family, remote) if number in _NET else number
        for family, remote, number in zip(
            columns["family"], columns["remote"], columns["class"], strict=True
        )
    ]


def _host(rows: Rows, key: Any, row: int) -> str | None:  # noqa: ANN401
    if not isinstance(key, tuple):
        return _class_words(rows, row)
    family, remote = key
    return network.remote_address(family, remote, None)


def _class_words(rows: Rows, row: int) -> str:
    number = rows.table.columns["class"][row]
    name = CLASSES[number] if number < len(CLASSES) else "?"
    return _PLURALS.get(name, name)


def _class(rows: Rows, _key: RowKey, row: int) -> str | None:
    number = rows.table.columns["class"][row]
    return CLASSES[number] if number < len(CLASSES) else None


def _of_host(key: Any) -> Mapping[str, Any]:  # noqa: ANN401
    if not isinstance(key, tuple):
        return {"class": key}
    return {"class": _NET_NUMBERS, "family": key[0], "remote": key[1]}


HOSTS: Final = Grouping("connections", _hosts, {"host": _host, "class": _class}, _of_host)


def _ports(rows: Rows) -> Iterable[RowKey]:
    columns = rows.table.columns
    names = ("class", "protocol", "local_port", "remote_port", "direction")
    # The port of the service is the one that was connected to; where it is unknown who opened the
    # connection, the lower one. Inline, because a call per row would cost more than the rest.
    return [
        (
            protocol,
            local
            if direction == _IN
            else remote
            if direction == _OUT
            else min(local or remote, remote or local),
            direction,
        )
        if number in _NET
        else (number, None, 0)
        for number, protocol, local, remote, direction in zip(
            *(columns[name] for name in names), strict=True
        )
    ]


def _port(_rows: Rows, key: Any, _row: int) -> int | None:  # noqa: ANN401
    return key[1] or None


def _protocol(rows: Rows, key: Any, row: int) -> str:  # noqa: ANN401
    if key[1] is None:
        return _class_words(rows, row)
    columns = rows.table.columns
    return network.protocol(columns["family"][row], columns["type"][row], columns["protocol"][row])


def _direction(_rows: Rows, key: Any, _row: int) -> str | None:  # noqa: ANN401
    if key[1] is None:
        return None
    return DIRECTIONS[key[2]] if key[2] < len(DIRECTIONS) else None


def _of_port(key: Any) -> Mapping[str, Any]:  # noqa: ANN401
    if key[1] is None:
        return {"class": key[0]}
    # The store has no such column as the port, and chooses it by the same rule as ``_ports``.
    return {"class": _NET_NUMBERS, "protocol": key[0], "port": key[1], "direction": key[2]}


PORTS: Final = Grouping(
    "connections",
    _ports,
    {"protocol": _protocol, "port": _port, "direction": _direction, "class": _class},
    _of_port,
)
