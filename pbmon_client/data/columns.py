"""The values of fields: what the wire's columns say, as users read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, Final

from pbmon_client.data import network
from pbmon_client.data import text as fmt
from pbmond.fields import NO_UID, SHOWN, Field

UserName = Callable[[int], str]
#: Makes a field's values (None: not known) from the wire's columns of the same table.
ColumnSource = Callable[[Mapping[str, Any], UserName], Sequence[Any]]


def _each(convert: Callable[..., Any], *columns: Sequence[Any]) -> list[Any]:
    """Convert rows of columns, those that are the same only once: most are of few kinds."""
    rows = list(zip(*columns, strict=True))
    made = {row: convert(*row) for row in set(rows)}
    return list(map(made.__getitem__, rows))


# --- by the table of fields -----------------------------------------------------------------------


def _raw(name: str) -> ColumnSource:
    return lambda columns, _user: columns[name]


def _known(name: str, unknown: int) -> ColumnSource:
    return lambda columns, _user: [None if v == unknown else v for v in columns[name]]


def _where(name: str, other: str) -> ColumnSource:
    return lambda columns, _user: [
        value if known else None for value, known in zip(columns[name], columns[other], strict=True)
    ]


def _text(name: str, convert: Callable[[bytes], str] = fmt.safe) -> ColumnSource:
    return lambda columns, _user: [None if v is None else convert(v) for v in columns[name]]


def _rates(name: str) -> ColumnSource:
    def source(columns: Mapping[str, Any], _user: UserName) -> Sequence[Any]:
        values = list(columns[name])
        if isfinite(sum(values)):  # seen at a fraction of the cost of asking each
            return values
        return [value if isfinite(value) else None for value in values]

    return source


def _choices(name: str, choices: Sequence[Any]) -> ColumnSource:
    # A publisher's mistake must not end the viewer: an index out of range reads as unknown.
    unknown = "unknown" if "unknown" in choices else None
    table = [*choices, *[unknown] * (256 - len(choices))]
    return lambda columns, _user: [table[v] for v in columns[name]]


def _source(field: Field) -> ColumnSource:
    if field.name in _MADE:
        return _MADE[field.name]
    if field.choices:
        return _choices(field.name, field.choices)
    if field.needs is not None:
        return _where(field.name, field.needs)
    if field.null is not None:
        return _known(field.name, field.null)
    make = {"text": _text, "f8": _rates}.get(field.wire or "", _raw)
    return make(field.name)


# --- from other columns ---------------------------------------------------------------------------


def _users(columns: Mapping[str, Any], user: UserName) -> Sequence[Any]:
    uids = columns["uid"]
    names = {uid: None if uid == NO_UID else user(uid) for uid in set(uids)}
    return [names[uid] for uid in uids]


def _end(side: str, convert: Callable[[int, bytes, bytes | None], str | None]) -> ColumnSource:
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


_MADE: Final[dict[str, ColumnSource]] = {
    "user": _users,
    "cmdline": _text("cmdline", fmt.safe_cmdline),
    "protocol": _protocols,
    "local_address": _end("local", network.local_address),
    "remote_address": _end("remote", network.remote_address),
    "path": _paths,
    "device": _devices,
}
#: By table and field.
SOURCES: Final = {
    table: {name: _source(field) for name, field in named.items()} for table, named in SHOWN.items()
}
