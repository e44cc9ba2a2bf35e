"""Holds what a workload expects against the rows of a snapshot, and says where they differ."""

from __future__ import annotations

import ipaddress
import os
from collections import defaultdict
from collections.abc import Iterator
from socket import AF_INET, AF_INET6
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


def check(expected: Expectation, rows: Rows, *, older: bool) -> Iterator[str]:
    """Yield a line for each way in which the rows differ from what is expected.

    ``older``: the descriptors were opened before the daemon started.
    """
    if isinstance(expected, ExpectedFile):
        yield from _check_file(expected, rows)
    elif isinstance(expected, ExpectedConnection):
        yield from _check_connection(expected, rows, older=older)
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


def _check_connection(expected: ExpectedConnection, rows: Rows, *, older: bool) -> Iterator[str]:
    found = [row for row in rows.connections[expected.pid] if row["inode"] == expected.inode]
    if expected.remote_address is not None:
        remote = _plain(expected.remote_address), expected.remote_port
        found = [
            row
            for row in found
            if (_address(row["family"], row["remote"]), row["remote_port"]) == remote
        ]
    yield from _check_sums(expected, found, ("rx", "tx"))
    for row in found:
        yield from _check_ends(expected, row, older=older)


def _check_ends(expected: ExpectedConnection, row: Row, *, older: bool) -> Iterator[str]:
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
        if name == "local_address":
            wanted = _plain(wanted)
        if name == "direction" and older and value == "unknown":
            continue  # who opened it is not always written on a socket
        if wanted is not None and value != wanted:
            yield f"{name} {value!r}, not {wanted!r}"


def _address(family: int, packed: bytes) -> str | None:
    if family == AF_INET:
        return str(ipaddress.IPv4Address(packed[:4]))
    return _plain(str(ipaddress.IPv6Address(packed))) if family == AF_INET6 else None


def _plain(address: str | None) -> str | None:
    """Write an address one way: a v4-mapped one as the IPv4 address that it is."""
    if address is None:
        return None
    parsed = ipaddress.ip_address(address)
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


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
