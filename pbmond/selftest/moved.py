"""What moved between two snapshots: rows by process, with differences for counters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pbmond import wire
from pbmond.fields import COUNTERS
from pbmond.kernel.records import START_TICK_NS

Row = dict[str, Any]
_CONNECTION_KEY = (
    *("class", "family", "type", "protocol", "local", "remote", "local_port", "remote_port"),
    *("netns", "inode", "first_ns"),
)
_FILE_KEY = ("class", "device", "inode", "first_ns")
_CONNECTION_COUNTERS = ("rx_bytes", "tx_bytes", "rx_calls", "tx_calls")
_FILE_COUNTERS = ("read_bytes", "write_bytes", "read_calls", "write_calls")


@dataclass(frozen=True, slots=True)
class Moved:
    """Rows as on the wire, by process id; their counters are what was added in between."""

    connections: Mapping[int, Sequence[Row]]
    files: Mapping[int, Sequence[Row]]
    processes: Mapping[int, Sequence[Row]]


def moved(earlier: wire.Message, later: wire.Message) -> Moved:
    """Return what ``later`` has more than ``earlier``; both are of kind ``flows``, in one epoch."""
    return Moved(
        _added(earlier.connections, later.connections, _CONNECTION_KEY, _CONNECTION_COUNTERS),
        _added(earlier.files, later.files, _FILE_KEY, _FILE_COUNTERS),
        _added(earlier.processes, later.processes, (), COUNTERS),
    )


def _added(
    earlier: wire.Table | None,
    later: wire.Table | None,
    key: tuple[str, ...],
    counters: tuple[str, ...],
) -> dict[int, list[Row]]:
    before = {_identity(row, key): row for row in earlier.rows()} if earlier else {}
    added: dict[int, list[Row]] = defaultdict(list)
    for row in later.rows() if later else ():
        base = before.get(_identity(row, key))
        if base is not None:
            row.update((name, row[name] - base[name]) for name in counters)
        if not key or any(row[name] for name in counters):
            added[row["pid"]].append(row)
    return added


def _identity(row: Row, key: tuple[str, ...]) -> tuple[Any, ...]:
    # The start of a process becomes exact only when it moves its first byte.
    return (row["pid"], row["start_ns"] // START_TICK_NS, *(row[name] for name in key))
