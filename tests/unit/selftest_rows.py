"""Rows and expectations for the tests of the self-test."""

from __future__ import annotations

import socket
from typing import Any

from pbmond import wire
from pbmond.fields import CLASSES
from pbmond.selftest.moved import Row, SnapshotDelta
from pbmond.selftest.workloads import ExpectedConnection, ExpectedFile

PID = 4711
START_NS = 1_000_000_123
DEVICE = (8 << 20) | 1  # as the kernel keeps it
INODE = 77


def file_row(read: int = 0, written: int = 0, **changes: Any) -> Row:
    """Make a file's row, with one call in each direction that has bytes."""
    row: Row = dict.fromkeys(wire.TABLES["files"], 0)
    row |= {"pid": PID, "start_ns": START_NS, "class": CLASSES.index("file")}
    row |= {"device": DEVICE, "inode": INODE, "path": b"/srv/data"}
    row |= {"read_bytes": read, "read_calls": int(bool(read))}
    row |= {"write_bytes": written, "write_calls": int(bool(written))}
    return row | changes


def connection_row(received: int = 0, sent: int = 0, **changes: Any) -> Row:
    """Make a unix connection's row, with one call in each direction that has bytes."""
    row: Row = dict.fromkeys(wire.TABLES["connections"], 0)
    row |= {"pid": PID, "start_ns": START_NS, "class": CLASSES.index("unix")}
    row |= {"family": int(socket.AF_UNIX), "type": int(socket.SOCK_STREAM), "inode": INODE}
    row |= {"local": bytes(16), "remote": bytes(16), "local_name": None, "remote_name": None}
    row |= {"rx_bytes": received, "rx_calls": int(bool(received))}
    row |= {"tx_bytes": sent, "tx_calls": int(bool(sent))}
    return row | changes


def process_row(**counters: Any) -> Row:
    """Make a process's row."""
    row: Row = dict.fromkeys(wire.TABLES["processes"], 0)
    row |= {"pid": PID, "start_ns": START_NS, "name": b"mover", "cmdline": b"mover\0"}
    return row | counters


def moved(*, connections: Any = (), files: Any = (), processes: Any = ()) -> SnapshotDelta:
    """Make a delta from rows."""

    def by_pid(rows: Any) -> dict[int, list[Row]]:
        found: dict[int, list[Row]] = {}
        for row in rows:
            found.setdefault(row["pid"], []).append(row)
        return found

    return SnapshotDelta(by_pid(connections), by_pid(files), by_pid(processes))


def message(health: dict[str, Any] | None = None, **rows: list[Row]) -> wire.Message:
    """Make a snapshot from rows by kind."""
    tables: dict[str, Any] = {
        kind: wire.Table(
            len(rows.get(kind, [])),
            {name: [row[name] for row in rows.get(kind, [])] for name in schema},
        )
        for kind, schema in wire.TABLES.items()
    }
    return wire.Message("host", "boot", "epoch", 1, 0, 0, 0, health or {}, {}, {}, {}, **tables)


def expected_file(read: int = 0, written: int = 0, **changes: Any) -> ExpectedFile:
    """Make what a program reports about the file of file_row()."""
    facts: dict[str, Any] = {
        "pid": PID,
        "byte_class": "file",
        "path": b"/srv/data",
        "device": (8 << 8) | 1,  # as stat gives it
        "inode": INODE,
        "unlinked": False,
        "read_bytes": read,
        "write_bytes": written,
        "read_calls": int(bool(read)),
        "write_calls": int(bool(written)),
    }
    return ExpectedFile(**(facts | changes))


def expected_connection(received: int = 0, sent: int = 0, **changes: Any) -> ExpectedConnection:
    """Make what a program reports about the socket of connection_row()."""
    facts: dict[str, Any] = {
        "pid": PID,
        "byte_class": "unix",
        "direction": "unknown",
        "family": int(socket.AF_UNIX),
        "type": int(socket.SOCK_STREAM),
        "protocol": 0,
        "inode": INODE,
        "netns": 0,
        "read_bytes": received,
        "write_bytes": sent,
        "read_calls": int(bool(received)),
        "write_calls": int(bool(sent)),
    }
    return ExpectedConnection(**(facts | changes))
