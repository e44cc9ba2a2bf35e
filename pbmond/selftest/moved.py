"""What changed between two snapshots: rows by process, whose counters are the increase."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pbmond import wire
from pbmond.fields import IDENTITY, TABLES
from pbmond.kernel.records import START_TICK_NS

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SnapshotDelta:
    """Rows as on the wire, by process id. Their counters are the increase in between."""

    connections: Mapping[int, Sequence[Row]]
    files: Mapping[int, Sequence[Row]]
    processes: Mapping[int, Sequence[Row]]

    def since(self, started_ns: int) -> SnapshotDelta:
        """Leave out processes that started earlier, because process ids are reused."""
        # Until a process moves its first byte, its start is only known to the tick.
        ticks = started_ns // START_TICK_NS

        def kept(table: Mapping[int, Sequence[Row]]) -> dict[int, list[Row]]:
            return {
                pid: [row for row in rows if row["start_ns"] // START_TICK_NS >= ticks]
                for pid, rows in table.items()
            }

        return SnapshotDelta(kept(self.connections), kept(self.files), kept(self.processes))


def moved(earlier: wire.Message, later: wire.Message) -> SnapshotDelta:
    """Return the increase from ``earlier`` to ``later``: two ``flows`` messages of one epoch."""
    return SnapshotDelta(
        _added("connections", earlier.connections, later.connections),
        _added("files", earlier.files, later.files),
        _added("processes", earlier.processes, later.processes),
    )


def _added(
    table: str, earlier: wire.Table | None, later: wire.Table | None
) -> dict[int, list[Row]]:
    counters = [name for name in TABLES[table] if TABLES[table][name].kind == "counter"]
    before = {_identity(table, row): row for row in earlier.rows()} if earlier else {}
    added: dict[int, list[Row]] = defaultdict(list)
    for row in later.rows() if later else ():
        base = before.get(_identity(table, row))
        if base is not None:
            row.update((name, row[name] - base[name]) for name in counters)
        if table == "processes" or any(row[name] for name in counters):
            added[row["pid"]].append(row)
    return added


def _identity(table: str, row: Row) -> tuple[Any, ...]:
    # The start of a process becomes exact only when it moves its first byte.
    start = row["start_ns"] // START_TICK_NS
    return (start, *(row[name] for name in IDENTITY[table] if name != "start_ns"))
