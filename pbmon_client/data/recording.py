"""A recorded stream (``--ndjson`` output), read back as messages.

A recording may be older or newer than this program. Fields that it does not have are unknown (a
counter that cannot be unknown is 0), and fields that are not known here are left out.
"""

from __future__ import annotations

import array
import json
import math
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

from pbmon_client.data import model, network
from pbmon_client.data.text import safe_text
from pbmon_client.data.users import user_name
from pbmond import wire
from pbmond.fields import COUNTERS, IDENTITY, NO_UID, RATES, Field
from pbmond.fields import TABLES as FIELDS
from pbmond.given_file import open_given

_CODES: Final = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "f8": "d"}
_NOTHING: Final = bytes(16)
_LINE_BYTES: Final = wire.FRAME_BYTES
_WORD: Final = 255
_TOPIC: Final = wire.Topic(None, "flows")
_NO_CHOICE: Final = 255  # a number that stands for none of a field's choices


class RecordingError(Exception):
    """The file is not a recorded stream; the message says where."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A snapshot of a file: its message, its viewer's scope, and its users' names by uid."""

    message: wire.Message
    scope: str
    users: Mapping[int, str]

    def user(self, uid: int) -> str:
        """Name a user as the recording host did."""
        return self.users.get(uid) or user_name(uid)


def read(path: Path) -> Iterator[Recorded]:
    """Yield the snapshots of a file; RecordingError if it is not a stream."""
    try:
        with open_given(path) as file:
            for number in count(1):
                line = file.readline(_LINE_BYTES + 1)
                if not line:
                    break
                if len(line) > _LINE_BYTES:
                    raise RecordingError(f"{path}, line {number} is longer than any snapshot")
                if line.strip():
                    yield _snapshot(line.decode(), f"{path}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise RecordingError(f"{path}: {reason}") from None


def first_known(path: Path, selection: model.Selection) -> model.Snapshot:
    """Return the first snapshot whose rates are known, else the first of all.

    RecordingError if there is none.
    """
    first: Recorded | None = None
    for recorded in read(path):
        first = first if first is not None else recorded
        if recorded.message.interval_ns:
            first = recorded
            break
    if first is None:
        raise RecordingError(f"{path} holds no snapshot")
    return model.snapshot_of(first.message, selection, os.geteuid(), first.scope, first.user)


def _snapshot(line: str, where: str) -> Recorded:
    try:
        value = json.loads(line)
        users = {
            row["uid"]: safe_text(str(row["user"])[:_WORD])
            for table in ("processes", "retired")
            for row in value[table]
            if row["uid"] is not None
        }
        return Recorded(_message(value), safe_text(str(value["viewer"]["scope"])), users)
    except RecursionError:
        raise RecordingError(f"{where} is no snapshot (it is nested too deeply)") from None
    except (ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise RecordingError(f"{where} is no snapshot of pbmon-client --ndjson ({what})") from None


def _message(value: Mapping[str, Any]) -> wire.Message:
    if value["schema"] != wire.SCHEMA:
        raise ValueError(f"schema {value['schema']}")
    now_ns = max(
        (row[name] or 0 for table in ("processes", "connections", "files")
         for row in value.get(table) or () for name in ("start_ns", "last_ns", "exited_ns")
         if name in row),
        default=0,
    )  # fmt: skip
    tables: dict[str, Any] = {
        name: _table(name, value[name]) if name in value else None for name in wire.TABLES
    }
    message = wire.Message(
        host=str(value["host"]),
        boot_id=str(value["boot_id"]),
        epoch=str(value["epoch"]),
        seq=int(value["seq"]),
        time_ns=int(value["time_ns"]),
        # The JSON does not have CLOCK_BOOTTIME; the newest time in it is close enough.
        now_ns=now_ns,
        interval_ns=int(value["interval_ns"]),
        health=dict(value["health"]),
        coverage=_coverage(value["coverage"]),
        totals=_totals(value["totals"]),
        history={},
        **tables,
    )
    # A file is believed as little as a socket: the same decoder reads what it says.
    return wire.decode(wire.encode(_TOPIC, message))[1]


def _totals(value: Mapping[str, Any]) -> dict[str, int | float | None]:
    return {
        **{name: int(value.get(name, 0)) for name in COUNTERS},
        **{name: None if value.get(name) is None else float(value[name]) for name in RATES},
    }


def _coverage(value: Mapping[str, Any]) -> dict[str, Any]:
    found = _complete(value, wire.COVERAGE)
    for part, kinds in wire.COVERAGE_PARTS.items():
        rows = found[part]
        if "name" not in kinds:
            found[part] = _complete(rows or {}, kinds)
        elif rows is not None:
            found[part] = [_complete({**row, "name": row["name"].encode()}, kinds) for row in rows]
    return found


def _complete(value: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: value.get(name) for name in names}


def _table(kind: str, rows: list[Mapping[str, Any]]) -> wire.Table:
    columns: dict[str, Any] = {}
    for name, code in wire.TABLES[kind].items():
        make = _BACK.get(name) or _plain(FIELDS[kind][name])
        values = [make(row) for row in rows]
        columns[name] = (
            values if code == "text"
            else b"".join(values) if code == "16s"
            else array.array(_CODES[code], values)
        )  # fmt: skip
    return wire.Table(len(rows), columns)


def _plain(field: Field) -> Callable[[Mapping[str, Any]], Any]:
    name, code = field.name, field.wire
    if name in IDENTITY["processes"]:
        return lambda row: row[name]
    if field.choices:
        numbers = {choice: number for number, choice in enumerate(field.choices)}
        return lambda row: numbers.get(row.get(name), _NO_CHOICE)
    if code == "text":
        return lambda row: None if row.get(name) is None else row[name].encode()
    if code == "f8":
        return lambda row: math.nan if row.get(name) is None else float(row[name])
    unknown = field.null or 0
    return lambda row: unknown if row.get(name) is None else row[name]


def _uid(row: Mapping[str, Any]) -> int:
    return NO_UID if row["uid"] is None else row["uid"]


def _family(row: Mapping[str, Any]) -> int:
    """Return the address family, from the protocol or else from the addresses."""
    if row["class"] == "unix":
        return int(socket.AF_UNIX)
    number = network.family_number(row["protocol"])
    if number is not None:
        return number
    addresses = (row["local_address"], row["remote_address"])
    return int(
        socket.AF_INET6 if any(":" in (text or "") for text in addresses) else socket.AF_INET
    )


def _address(side: str) -> Callable[[Mapping[str, Any]], bytes]:
    def read_address(row: Mapping[str, Any]) -> bytes:
        text = row[f"{side}_address"]
        if text is None or row["class"] == "unix":
            return _NOTHING
        if _family(row) == socket.AF_INET:
            return socket.inet_aton(text) + bytes(12)
        if ":" not in text:
            return bytes(10) + b"\xff\xff" + socket.inet_aton(text)
        return socket.inet_pton(socket.AF_INET6, text)

    return read_address


def _unix_name(side: str) -> Callable[[Mapping[str, Any]], bytes | None]:
    def read_name(row: Mapping[str, Any]) -> bytes | None:
        text = row[f"{side}_address"]
        if text is None or row["class"] != "unix":
            return None
        return b"\0" + text[1:].encode() if text.startswith("@") else str(text).encode()

    return read_name


def _device(row: Mapping[str, Any]) -> int:
    major, _, minor = row["device"].partition(":")
    return int(major) << 20 | int(minor)


_BACK: Final[dict[str, Callable[[Mapping[str, Any]], Any]]] = {
    "uid": _uid,
    "family": _family,
    "type": lambda row: network.unix_type_number(row["protocol"]) or 0,
    "protocol": lambda row: network.inet_protocol_number(row["protocol"]) or 0,
    "local": _address("local"),
    "remote": _address("remote"),
    "local_name": _unix_name("local"),
    "remote_name": _unix_name("remote"),
    "unlinked": lambda _row: 0,
    "device": _device,
}
