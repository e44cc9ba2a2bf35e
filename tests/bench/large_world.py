"""Messages of a large host, for the client's benchmarks."""

from __future__ import annotations

import array
import copy
import random
import socket
import struct
from collections.abc import Iterator
from typing import Any

from pbmond import wire
from pbmond.fields import COUNTERS, HISTORY, RATES

_CODES = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "f8": "d"}
SECOND = 10**9
HEALTH = {
    "status": "complete", "reasons": [], "lost": {}, "unseen": [], "maps": {},
    "modes": {"sockets": "tracepoint", "files": "syscall-exit"},
    "cost": {
        "daemon_cpu_percent": 0.4, "daemon_rss_bytes": 1, "processes": [],
        "probe_ns_per_call": None, "probe_calls_per_s": None,
    },
}  # fmt: skip


def _counts(*names: str) -> dict[str, int]:
    return {each: 10**8 for name in names for each in (name, wire.interval_name(name))}


COVERAGE = {
    "interfaces": [
        {"name": b"eth0", "present": True, "addresses": 1,
         **_counts(*wire.INTERFACE_COUNTERS, *wire.PAYLOAD_COUNTERS)},
    ],
    "elsewhere": _counts(*wire.PAYLOAD_COUNTERS),
    "disks": [
        {"name": b"vda", "present": True, "stacked": False, **_counts(*wire.DISK_COUNTERS)},
    ],
    "attributed": _counts(*wire.ATTRIBUTED_COUNTERS),
    **_counts(*wire.HOST_COUNTERS),
}  # fmt: skip


class World:
    """``processes`` rows, ``flows`` connections and files (half each), a share of which moves."""

    def __init__(self, processes: int, flows: int, active: float = 0.2) -> None:
        self._random = random.Random(1)
        self._active = active
        self._seq = 0
        self._processes = self._table("processes", processes, self._process)
        self._connections = self._table("connections", flows // 2, self._connection)
        self._files = self._table("files", flows - flows // 2, self._file)
        self._count = processes

    def message(
        self, *, flows: bool, pid: int | None = None, seq: int | None = None
    ) -> wire.Message:
        """Return the snapshot of now, or as of second ``seq``; ``pid`` narrows it to a process."""
        seq = self._seq if seq is None else seq
        tables: dict[str, Any] = {"processes": self._processes}
        if flows:
            tables |= {"connections": self._connections, "files": self._files}
        if pid is not None:
            tables = {name: _only(table, pid) for name, table in tables.items()}
        totals: dict[str, Any] = dict.fromkeys(COUNTERS, 0)
        for name in RATES:
            totals[name] = sum(self._processes.columns[name])
        history = {name: [self._random.random() * 1e7 for _ in range(60)] for name in HISTORY}
        return wire.Message(
            host="large", boot_id="boot", epoch="epoch", seq=seq,
            time_ns=1_780_000_000 * SECOND + seq * SECOND,
            now_ns=400_000 * SECOND + seq * SECOND, interval_ns=SECOND,
            health=HEALTH, coverage=COVERAGE, totals=totals, history=history,
            retired=self._table("retired", 0, dict), **tables,
        )  # fmt: skip

    def moment(self) -> World:
        """Return what is now; this one goes on."""
        moment = copy.copy(self)
        for kind in ("_processes", "_connections", "_files"):
            table = getattr(self, kind)
            columns = {name: column[:] for name, column in table.columns.items()}
            setattr(moment, kind, wire.Table(table.length, columns))
        return moment

    def tick(self) -> None:
        """Let a second pass: other rows move, and their counters grow."""
        self._seq += 1
        for table in (self._processes, self._connections, self._files):
            columns = table.columns
            moving = [self._random.random() < self._active for _ in range(table.length)]
            for name, column in columns.items():
                if not name.endswith("_per_s"):
                    continue
                counter = columns[name.removesuffix("_per_s")]
                for row, moves in enumerate(moving):
                    rate = self._random.expovariate(1e-5) if moves else 0.0
                    column[row] = rate
                    counter[row] += int(rate)

    def _table(self, kind: str, length: int, make: Any) -> wire.Table:
        rows = [make(row) if kind != "retired" else {} for row in range(length)]
        columns: dict[str, Any] = {}
        for name, code in wire.TABLES[kind].items():
            if code in ("text", "16s"):
                columns[name] = [row.get(name, None if code == "text" else bytes(16))
                                 for row in rows]  # fmt: skip
            else:
                columns[name] = array.array(_CODES[code], [row.get(name, 0) for row in rows])
        return wire.Table(length, columns)

    def _process(self, row: int) -> dict[str, Any]:
        program = b"worker-%d" % (row % 150)
        return {
            "pid": row + 1, "start_ns": SECOND * (row + 1), "ppid": row // 20, "uid": row % 40,
            "name": program[:15], "exe": b"/usr/lib/app/" + program,
            "cmdline": b"/usr/lib/app/%s\0--shard\0%d" % (program, row),
            "unit": b"app-%d.service" % (row % 90), "netns": 1, "connections": 5, "files": 5,
        }  # fmt: skip

    def _connection(self, row: int) -> dict[str, Any]:
        remote = struct.pack(">I", 0xC6120000 + row % 7_000)
        return {
            "pid": row % 10_000 + 1, "start_ns": SECOND * (row % 10_000 + 1),
            "family": int(socket.AF_INET), "type": 1, "protocol": 6,
            "local": b"\xc0\0\2\1".ljust(16, b"\0"), "remote": remote.ljust(16, b"\0"),
            "local_port": 1024 + row % 60_000, "remote_port": (443, 5432, 6379, 80)[row % 4],
            "inode": row, "direction": 2, "first_ns": row + 1, "open": 1,
        }  # fmt: skip

    def _file(self, row: int) -> dict[str, Any]:
        return {
            "pid": row % 10_000 + 1, "start_ns": SECOND * (row % 10_000 + 1), "class": 4,
            "path": b"/srv/data/shard-%d/segment-%06d" % (row % 64, row), "device": 8 << 20,
            "inode": row, "first_ns": row + 1, "open": 1,
        }  # fmt: skip


def _only(table: wire.Table, pid: int) -> wire.Table:
    rows = [row for row, each in enumerate(table.columns["pid"]) if each == pid]
    columns = {
        name: array.array(column.typecode, [column[row] for row in rows])
        if isinstance(column, array.array)
        else [column[row] for row in rows]
        for name, column in table.columns.items()
    }
    return wire.Table(len(rows), columns)


def packed(topic: wire.Topic, message: wire.Message) -> bytes:
    """Return a frame; the tables' addresses become one run of bytes, as the codec wants them."""
    tables = {}
    for name in wire.TABLES:
        table = getattr(message, name)
        if table is not None:
            tables[name] = wire.Table(
                table.length,
                {
                    column: b"".join(values) if wire.TABLES[name][column] == "16s" else values
                    for column, values in table.columns.items()
                },
            )
    fields = {name: getattr(message, name) for name in message.__slots__}
    return wire.encode(topic, wire.Message(**(fields | tables)))


def frames(world: World, count: int, *, flows: bool) -> Iterator[bytes]:
    """Yield encoded snapshots, one for each of ``count`` seconds."""
    topic = wire.Topic(None, "flows" if flows else "processes")
    for _ in range(count):
        world.tick()
        yield packed(topic, world.message(flows=flows))
