"""Compares one expectation of a workload with the rows that changed."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from dataclasses import dataclass
from socket import AF_INET, AF_INET6
from typing import Any, Final

from pbmond.fields import CLASSES, DIRECTIONS
from pbmond.kernel.records import START_TICK_NS
from pbmond.selftest.moved import Row, SnapshotDelta
from pbmond.selftest.workloads import (
    Expectation,
    ExpectedConnection,
    ExpectedFile,
    ExpectedProcess,
)

#: Both directions, with the prefixes of their counters in expectations, connections, files.
WAYS: Final = {"in": ("read", "rx", "read"), "out": ("write", "tx", "write")}


@dataclass(frozen=True, slots=True)
class Difference:
    """Something unexpected about the bytes of one direction (``way``), or of both (None).

    ``lacking``: the only fault is that bytes or calls are missing from a row.
    """

    way: str | None
    text: str
    lacking: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """The rows that match one expectation, and how they differ from it."""

    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]


def match(expected: Expectation, moved: SnapshotDelta, *, older: bool) -> Match:
    """Find the rows of ``expected``. ``older``: opened before the daemon started."""
    if isinstance(expected, ExpectedProcess):
        return Match((), tuple(_check_process(expected, moved)))
    if isinstance(expected, ExpectedConnection):
        rows = tuple(_connections(expected, moved))
        ends = (each for row in rows for each in _check_connection(expected, row, older=older))
    else:
        rows = tuple(_files(expected, moved))
        ends = (each for row in rows for each in _check_file(expected, row))
        if len(rows) > 1:
            return Match(rows, (Difference(None, f"{len(rows)} rows of {_name(expected)}"),))
    sums = _check_sums(expected, rows)
    return Match(rows, (*sums, *(Difference(None, text) for text in ends)))


def counted(row: Row, way: str, unit: str) -> int:
    """Return the ``bytes`` or ``calls`` that a row of connections or files has for ``way``."""
    _, connection, file = WAYS[way]
    name = f"{connection}_{unit}" if "family" in row else f"{file}_{unit}"
    return int(row[name])


def stated(expected: ExpectedFile | ExpectedConnection, way: str, unit: str) -> int | None:
    """Return the ``bytes`` or ``calls`` that are expected for ``way``, or None if unknown."""
    value: int | None = getattr(expected, f"{WAYS[way][0]}_{unit}")
    return value


def device_of(row: Row) -> int:
    """Return a file row's device as stat reports it."""
    return os.makedev(row["device"] >> 20, row["device"] & 0xFFFFF)


def _files(expected: ExpectedFile, moved: SnapshotDelta) -> Iterator[Row]:
    for row in moved.files.get(expected.pid, ()):
        ticks = row["start_ns"] // START_TICK_NS
        if expected.start_ticks in (None, ticks) and _is_file(expected, row):
            yield row


def _is_file(expected: ExpectedFile, row: Row) -> bool:
    # Stacked file systems, and those with subvolumes, report another device in stat.
    if expected.path is not None and row["path"] == expected.path:
        return True
    return (device_of(row), row["inode"]) == (expected.device, expected.inode)


def _check_file(expected: ExpectedFile, row: Row) -> Iterator[str]:
    if CLASSES[row["class"]] != expected.byte_class:
        yield f"class {CLASSES[row['class']]}, not {expected.byte_class}"
    if expected.path is not None and row["path"] != expected.path:
        yield f"path {_short(row['path'])}, not {_short(expected.path)}"
    if bool(row["unlinked"]) != expected.unlinked:
        yield f"unlinked {row['unlinked']} of {_short(row['path'])}"


def _short(path: bytes | None) -> str:
    """Quote a path. A very long one is shortened to both ends and its length."""
    if path is None or len(path) <= 80:
        return repr(path)
    return f"{path[:30]!r}...{path[-30:]!r} ({len(path)} bytes)"


def _connections(expected: ExpectedConnection, moved: SnapshotDelta) -> Iterator[Row]:
    remote = _plain(expected.remote_address), expected.remote_port
    for row in moved.connections.get(expected.pid, ()):
        peer = _address(row["family"], row["remote"]), row["remote_port"]
        if row["inode"] == expected.inode and (expected.remote_address is None or peer == remote):
            yield row


def _check_connection(expected: ExpectedConnection, row: Row, *, older: bool) -> Iterator[str]:
    yield from _check_ends(expected, row, older=older)
    yield from _check_tcp(expected, row)


def _check_tcp(expected: ExpectedConnection, row: Row) -> Iterator[str]:
    """Compare with the values of TCP_INFO."""
    for name in ("retransmitted_segments", "retransmitted_bytes"):
        wanted = getattr(expected, name)
        if wanted is not None and row[name] != wanted:
            yield f"{name} {row[name]}, not {wanted}"
    if expected.rtt_us is not None:
        low, high = expected.rtt_us
        if not low <= row["rtt_us"] <= high:
            yield f"rtt_us {row['rtt_us']}, not from {low} to {high}"


def _check_ends(expected: ExpectedConnection, row: Row, *, older: bool) -> Iterator[str]:
    shown = {
        "byte_class": CLASSES[row["class"]],
        "direction": DIRECTIONS[row["direction"]],
        "family": row["family"],
        "type": row["type"],
        "protocol": row["protocol"],
        "netns": row["netns"],
        "local_address": _address(row["family"], row["local"]),
        "local_port": row["local_port"],
        "local_name": row["local_name"],
        "remote_name": row["remote_name"],
    }
    for name, value in shown.items():
        wanted = getattr(expected, name)
        if name == "local_address":
            wanted = _plain(wanted)
        if name == "direction" and older and value == "unknown":
            continue  # a socket does not always show who opened it
        if wanted is not None and value != wanted:
            yield f"{name} {value!r}, not {wanted!r}"


def _address(family: int, packed: bytes) -> str | None:
    if family == AF_INET:
        return str(ipaddress.IPv4Address(packed[:4]))
    return _plain(str(ipaddress.IPv6Address(packed))) if family == AF_INET6 else None


def _plain(address: str | None) -> str | None:
    """Normalize an address: IPv4 mapped into IPv6 becomes IPv4."""
    if address is None:
        return None
    parsed = ipaddress.ip_address(address)
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def _check_sums(
    expected: ExpectedFile | ExpectedConnection, rows: tuple[Row, ...]
) -> Iterator[Difference]:
    for way in WAYS:
        for unit in ("bytes", "calls"):
            number = stated(expected, way, unit)
            total = sum(counted(row, way, unit) for row in rows)
            if number is not None and total != number:
                text = f"{total} {unit}, not {number}, of {_name(expected)}"
                yield Difference(way, text, lacking=total < number)


def _name(expected: ExpectedFile | ExpectedConnection) -> str:
    if isinstance(expected, ExpectedFile) and expected.path is not None:
        return _short(expected.path)
    return f"{expected.byte_class} inode {expected.inode}"


def _check_process(expected: ExpectedProcess, moved: SnapshotDelta) -> Iterator[Difference]:
    found: list[tuple[Any, Any]] = [
        (row["name"], row["cmdline"]) for row in moved.processes.get(expected.pid, ())
    ]
    wanted = expected.name, expected.cmdline
    if wanted not in found:
        yield Difference(None, f"process {expected.pid} is {found}, not {wanted}")
