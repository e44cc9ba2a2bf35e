"""Holds what a workload expects against the rows of a snapshot, and says where they differ."""

from __future__ import annotations

import ipaddress
import os
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from workloads import Expectation, ExpectedConnection, ExpectedFile, ExpectedProcess

from pbmond import wire

Row = dict[str, Any]
_TICK_NS = 10_000_000


class Rows:
    """The rows of a snapshot by process id."""

    def __init__(self, message: wire.Message) -> None:
        """Index a message of kind ``flows``."""
        assert message.connections is not None
        assert message.files is not None
        self.connections = _by_pid(message.connections)
        self.files = _by_pid(message.files)
        self.processes = _by_pid(message.processes)


def _by_pid(table: wire.Table) -> dict[int, list[Row]]:
    rows: dict[int, list[Row]] = defaultdict(list)
    for row in table.rows():
        rows[row["pid"]].append(row)
    return rows


def check(expected: Expectation, rows: Rows) -> Iterator[str]:
    """Yield a line for each way in which the rows differ from what is expected."""
    if isinstance(expected, ExpectedFile):
        yield from _check_file(expected, rows)
    elif isinstance(expected, ExpectedConnection):
        yield from _check_connection(expected, rows)
    else:
        yield from _check_process(expected, rows)


def _check_file(expected: ExpectedFile, rows: Rows) -> Iterator[str]:
    found = [row for row in rows.files[expected.pid] if _is_file(expected, row)]
    yield from _check_sums(expected, found, ("read", "write"))
    for row in found:
        if wire.CLASSES[row["class"]] != expected.byte_class:
            yield f"class {wire.CLASSES[row['class']]}, not {expected.byte_class}"
        if expected.path is not None and row["path"] != expected.path:
            yield f"path {row['path']!r}, not {expected.path!r}"
        if bool(row["unlinked"]) != expected.unlinked:
            yield f"unlinked {row['unlinked']} of {row['path']!r}"


def _is_file(expected: ExpectedFile, row: Row) -> bool:
    if expected.start_ticks is not None and row["start_ns"] // _TICK_NS != expected.start_ticks:
        return False
    if expected.inode is None:
        return bool(row["path"] == expected.path)
    if expected.device is not None:
        device = os.makedev(row["device"] >> 20, row["device"] & 0xFFFFF)
        if device != expected.device:
            return False
    return bool(row["inode"] == expected.inode)


def _check_connection(expected: ExpectedConnection, rows: Rows) -> Iterator[str]:
    found = [row for row in rows.connections[expected.pid] if row["inode"] == expected.inode]
    if expected.remote_address is not None:
        found = [
            row for row in found if _remote(row) == (expected.remote_address, expected.remote_port)
        ]
    yield from _check_sums(expected, found, ("rx", "tx"))
    for row in found:
        yield from _check_ends(expected, row)


def _check_ends(expected: ExpectedConnection, row: Row) -> Iterator[str]:
    shown = {
        "byte_class": wire.CLASSES[row["class"]],
        "direction": wire.DIRECTIONS[row["direction"]],
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
        if wanted is not None and value != wanted:
            yield f"{name} {value!r}, not {wanted!r}"


def _remote(row: Row) -> tuple[str | None, int]:
    return _address(row["family"], row["remote"]), row["remote_port"]


def _address(family: int, packed: bytes) -> str | None:
    if family == 2:
        return str(ipaddress.IPv4Address(packed[:4]))
    if family == 10:
        address = ipaddress.IPv6Address(packed)
        return str(address.ipv4_mapped or address)
    return None


def _check_sums(
    expected: ExpectedFile | ExpectedConnection, found: list[Row], verbs: tuple[str, str]
) -> Iterator[str]:
    for wanted, verb in zip(("read", "write"), verbs, strict=True):
        for unit in ("bytes", "calls"):
            number = getattr(expected, f"{wanted}_{unit}")
            total = sum(row[f"{verb}_{unit}"] for row in found)
            if number is not None and total != number:
                yield f"{verb}_{unit} {total}, not {number}: {expected}"


def _check_process(expected: ExpectedProcess, rows: Rows) -> Iterator[str]:
    found = rows.processes[expected.pid]
    if not any((row["name"], row["cmdline"]) == (expected.name, expected.cmdline) for row in found):
        shown = [(row["name"], row["cmdline"]) for row in found]
        yield f"process {expected.pid} is {shown}, not {expected.name!r} {expected.cmdline!r}"
