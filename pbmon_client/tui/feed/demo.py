"""A recorded stream (``--ndjson`` output) in place of the daemon: read, and played at its pace."""

from __future__ import annotations

import array
import json
import math
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pbmon_client.data import model, network
from pbmon_client.data.text import safe_text
from pbmon_client.data.users import user_name
from pbmon_client.tui.feed.receiver import (
    MAIN,
    Crashed,
    Failed,
    Mailbox,
    News,
    Stream,
    Want,
    narrowing,
    prepared,
)
from pbmon_client.tui.feed.render_priority import Turn
from pbmond import wire
from pbmond.fields import NO_UID, Field
from pbmond.fields import TABLES as FIELDS

_CODES: Final = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "f8": "d"}
_LEAST_S: Final = 0.05
_MOST_S: Final = 10.0
_NOTHING: Final = bytes(16)


class DemoError(Exception):
    """A file that is no recorded stream; the message says where."""


# --- reading --------------------------------------------------------------------------------------


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
    """Yield the snapshots of a file; DemoError if it is none."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _snapshot(line, f"{path}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise DemoError(f"{path}: {reason}") from None


def first_known(path: Path, selection: model.Selection) -> model.View:
    """Return the first snapshot whose rates are known, else the first; DemoError without any."""
    first: Recorded | None = None
    for recorded in read(path):
        first = first if first is not None else recorded
        if recorded.message.interval_ns:
            first = recorded
            break
    if first is None:
        raise DemoError(f"{path} holds no snapshot")
    return model.view(first.message, selection, os.geteuid(), first.scope, first.user)


def _snapshot(line: str, where: str) -> Recorded:
    try:
        value = json.loads(line)
        users = {
            row["uid"]: safe_text(str(row["user"]))
            for table in ("processes", "retired")
            for row in value[table]
            if row["uid"] is not None
        }
        return Recorded(_message(value), safe_text(str(value["viewer"]["scope"])), users)
    except (ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise DemoError(f"{where} is no snapshot of pbmon-client --ndjson ({what})") from None


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
    return wire.Message(
        host=value["host"],
        boot_id=value["boot_id"],
        epoch=value["epoch"],
        seq=value["seq"],
        time_ns=value["time_ns"],
        # The contract's JSON has no CLOCK_BOOTTIME: the newest moment in it is near enough.
        now_ns=now_ns,
        interval_ns=value["interval_ns"],
        health=value["health"],
        coverage=_coverage(value["coverage"]),
        totals=value["totals"],
        history={},
        **tables,
    )


def _coverage(value: Mapping[str, Any]) -> dict[str, Any]:
    lists = {
        part: [{**row, "name": row["name"].encode()} for row in rows]
        for part, rows in value.items()
        if isinstance(rows, list)
    }
    found = {**value, **lists}
    wire.check_coverage(found)
    return found


def _table(kind: str, rows: list[Mapping[str, Any]]) -> wire.Table:
    columns: dict[str, Any] = {}
    for name, code in wire.TABLES[kind].items():
        make = _BACK.get(name) or _plain(FIELDS[kind][name])
        values = [make(row) for row in rows]
        columns[name] = values if code in ("text", "16s") else array.array(_CODES[code], values)
    return wire.Table(len(rows), columns)


def _plain(field: Field) -> Callable[[Mapping[str, Any]], Any]:
    name, code = field.name, field.wire
    if field.choices:
        return lambda row: field.choices.index(row[name])
    if code == "text":
        return lambda row: None if row[name] is None else row[name].encode()
    if code == "f8":
        return lambda row: math.nan if row[name] is None else float(row[name])
    return lambda row: row[name] or 0


def _uid(row: Mapping[str, Any]) -> int:
    return NO_UID if row["uid"] is None else row["uid"]


def _family(row: Mapping[str, Any]) -> int:
    """Return the family that the addresses or else the protocol are of."""
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


# --- playing --------------------------------------------------------------------------------------


class Demo:
    """Plays a file as a feed does, over and over; ``path`` was read once already."""

    def __init__(self, path: Path, selection: model.Selection, turn: Turn | None = None) -> None:
        self.mailbox: Final = Mailbox()
        self._turn = turn or Turn()
        self._path = path
        self._users: dict[int, str] = {}
        self._stream = Stream(narrowing(selection), os.geteuid(), self._user)
        self._want = Want()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo", daemon=True)
        self._thread.start()

    @property
    def fd(self) -> int:
        """The descriptor that becomes readable when there are news."""
        return self.mailbox.fd

    def news(self) -> list[News]:
        """Take the news."""
        return self.mailbox.take()

    def wake(self) -> None:
        """Make ``fd`` readable; may be called from any thread."""
        self.mailbox.wake()

    def want(self, want: Want) -> None:
        """Note the interval of display; everything else is in the file."""
        self._want = want

    def close(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join(timeout=2)

    def _user(self, uid: int) -> str:
        return self._users.get(uid) or user_name(uid)

    def _run(self) -> None:
        try:
            shift = (0, 0)
            while not self._stopped.is_set():
                shift = self._play(*shift)
                if shift == (0, 0):  # one snapshot stays on the screen
                    return
        except DemoError as error:
            self.mailbox.put(Failed(str(error)))
        except Exception as error:  # noqa: BLE001 - raised again where the terminal is restored
            self.mailbox.put(Crashed(error))

    def _play(self, shift: int, shift_ns: int) -> tuple[int, int]:
        """Play the file once, its numbers and clocks going on where they were.

        Returns the next turn's shift of ``seq`` and of the clocks.
        """
        first: wire.Message | None = None
        before: int | None = None
        for recorded in read(self._path):
            message = recorded.message
            if before is not None:
                pause_s = (message.time_ns - before) / 1e9
                if self._stopped.wait(min(_MOST_S, max(_LEAST_S, pause_s))):
                    break
            before = message.time_ns
            self._users.update(recorded.users)
            first = first or message
            played = replace(
                message,
                seq=message.seq + shift,
                time_ns=message.time_ns + shift_ns,
                now_ns=message.now_ns + shift_ns,
            )
            snapshot = self._stream.take(played, recorded.scope, self._want.interval_s)
            if snapshot is not None:
                self.mailbox.put(prepared(MAIN, snapshot, self._want, self._turn.give_way))
        if first is None or first is message:
            return 0, 0
        step_ns = message.interval_ns or 10**9
        return (
            shift + message.seq - first.seq + 1,
            shift_ns + message.time_ns - first.time_ns + step_ns,
        )
