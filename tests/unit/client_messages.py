"""Makes wire messages for the client's tests: rows are dicts of the fields that matter."""

from __future__ import annotations

import array
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pbmond import wire
from pbmond.fields import COUNTERS, FIELDS, NO_COUNT, RATES

_CODES = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "f8": "d"}
_UNKNOWN = {name: NO_COUNT for name, field in FIELDS.items() if field.null == NO_COUNT}
_NUMBERS = {"u1": 0, "u2": 0, "u4": 0, "u8": 0, "f8": math.nan, "16s": bytes(16), "text": None}
HEALTH: dict[str, Any] = {
    "status": "complete",
    "lost": {},
    "modes": {"sockets": "tracepoint", "files": "syscall-exit"},
    "unseen": [],
    "maps": {"flows": {"used": 3, "capacity": 10}},
    "cost": {
        "daemon_cpu_percent": 0.1,
        "daemon_rss_bytes": 1,
        "processes": [{"role": "collector", "pid": 7, "cpu_percent": 0.1, "rss_bytes": 1}],
        "probe_ns_per_call": None,
        "probe_calls_per_s": None,
    },
    "reasons": [],
}


def counts(names: Sequence[str], total: Any = None, interval: Any = None) -> dict[str, Any]:
    """Make counters of coverage: each of ``total`` and ``interval`` is by name, or for all."""
    values = {}
    for name in names:
        for key, value in ((name, total), (wire.interval_name(name), interval)):
            values[key] = value.get(name, 0) if isinstance(value, Mapping) else value
    return values


def interface(
    name: bytes, total: Any = 0, interval: Any = 0, *, addresses: int | None = 1
) -> dict[str, Any]:
    """Make an interface of coverage."""
    names = (*wire.INTERFACE_COUNTERS, *wire.PAYLOAD_COUNTERS)
    counters = counts(names, total, interval)
    return {"name": name, "present": True, "addresses": addresses, **counters}


def disk(
    name: bytes, total: Any = 0, interval: Any = 0, *, stacked: bool = False
) -> dict[str, Any]:
    """Make a disk of coverage."""
    counters = counts(wire.DISK_COUNTERS, total, interval)
    return {"name": name, "present": True, "stacked": stacked, **counters}


def coverage(**parts: Any) -> dict[str, Any]:
    """Make a coverage of a host without anything; what is not given is 0."""
    return {
        "interfaces": [],
        "elsewhere": counts(wire.PAYLOAD_COUNTERS, 0, 0),
        "disks": [],
        "attributed": counts(wire.ATTRIBUTED_COUNTERS, 0, 0),
        **counts(wire.HOST_COUNTERS, 0, 0),
        **parts,
    }


def table(kind: str, rows: Sequence[Mapping[str, Any]]) -> wire.Table:
    """Make a table; a field that a row does not name is zero, NaN, None or not known."""
    columns: dict[str, Any] = {}
    for name, code in wire.TABLES[kind].items():
        values = [row.get(name, _UNKNOWN.get(name, _NUMBERS[code])) for row in rows]
        if code == "text":
            columns[name] = values
        elif code == "16s":
            columns[name] = b"".join(struct.pack("16s", value) for value in values)
        else:
            columns[name] = array.array(_CODES[code], values)
    return wire.Table(len(rows), columns)


def process(pid: int, name: bytes = b"worker", **fields: Any) -> dict[str, Any]:
    """Make a process row; its rates are 0 unless given."""
    return {
        "pid": pid,
        "start_ns": pid * 1000,
        "ppid": 1,
        "uid": 1000,
        "name": name,
        **dict.fromkeys(RATES, 0.0),
        **fields,
    }


def flow(pid: int, **fields: Any) -> dict[str, Any]:
    """Make a connection or file row of the process that ``process(pid)`` makes."""
    return {"pid": pid, "start_ns": pid * 1000, "first_ns": 1, "last_ns": 2, **fields}


def _totals(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    rows = list(rows)
    totals: dict[str, Any] = {name: sum(row.get(name, 0) for row in rows) for name in COUNTERS}
    for name in RATES:
        total = sum((row.get(name, math.nan) for row in rows), 0.0)
        totals[name] = None if math.isnan(total) else total
    return totals


def message(
    processes: Sequence[Mapping[str, Any]] = (),
    connections: Sequence[Mapping[str, Any]] | None = None,
    files: Sequence[Mapping[str, Any]] | None = None,
    retired: Sequence[Mapping[str, Any]] = (),
    *,
    seq: int = 1,
    **fields: Any,
) -> wire.Message:
    """Make a message, one second of boot time for each ``seq``; ready for ``wire.encode``."""
    values: dict[str, Any] = {
        "host": "host",
        "boot_id": "boot",
        "epoch": "epoch-1",
        "seq": seq,
        "time_ns": 1_700_000_000_123_456_789 + seq * 10**9,
        "now_ns": seq * 10**9,
        "interval_ns": 0 if seq == 1 else 10**9,
        "health": HEALTH,
        "coverage": coverage(),
        "totals": _totals([*processes, *retired]),
        "history": {},
        "retired": table("retired", retired),
        "processes": table("processes", processes),
        "connections": None if connections is None else table("connections", connections),
        "files": None if files is None else table("files", files),
    }
    return wire.Message(**(values | fields))


def received(sent: wire.Message) -> wire.Message:
    """Return a message as a client gets it: encoded and decoded."""
    return wire.decode(wire.encode(wire.Topic(None, "processes"), sent))[1]
