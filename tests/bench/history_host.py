"""A made-up host for the benchmarks of the store of the past, tick by tick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from pbmon_client.history.buckets import Tick
from pbmon_client.history.layout import LAYOUTS, PROCESSES, KeptRow
from pbmond.fields import CODES

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests import past_host

SECOND = 1_000_000_000
CLASSES = ("net", "loopback", "unix", "file")
PERSISTENT, SLOTS, UNITS = 400, 300, 40
TOOLS = (b"cc1plus", b"as", b"sh", b"g++", b"ld", b"make", b"collect2", b"python3", b"sed", b"rm")


class Host:
    """300 processes of 40 units, about 40 of which move something in a second, and 200 flows.

    Sixty connections and twenty files a second are new and short; every minute a tenth of the
    processes end and others begin. ``build`` adds 200 new processes a second.
    """

    def __init__(self, *, build: bool = False, seed: int = 1) -> None:
        self.random = np.random.default_rng(seed)
        self.build = build
        self.next = 1000
        self.unit = np.minimum(self.random.geometric(0.09, SLOTS) - 1, UNITS - 1)
        self.unit[:UNITS] = np.arange(UNITS)
        self.processes = [self.new_process(int(unit), 0) for unit in self.unit]
        # Fourteen processes have most of the flows.
        busy = self.random.integers(0, 14, PERSISTENT - 40)
        self.owner = np.concatenate([busy, self.random.integers(14, SLOTS, 40)])
        kinds = self.random.choice(len(CLASSES), PERSISTENT, p=[0.33, 0.15, 0.12, 0.4])
        self.kind = [CLASSES[kind] for kind in kinds]
        self.flows = [self.new_flow(flow, 0) for flow in range(PERSISTENT)]
        self.often = np.clip(self.random.beta(0.6, 1.4, PERSISTENT), 0.002, 1)
        self.size = self.random.normal(8.5, 2.2, PERSISTENT)
        self.seconds = 0

    def new_process(self, unit: int, now: int, name: bytes | None = None) -> dict[str, Any]:
        self.next += int(self.random.integers(1, 5))
        name = name or b"service-%02d" % unit
        start = now * SECOND + int(self.random.integers(0, SECOND))
        arguments = b"\0--worker\0--config=/etc/%s/main.conf\0--slot=%d" % (name, self.next % 8)
        return {
            "pid": self.next, "start_ns": start, "ppid": 1, "uid": 900 + unit,
            "viewer": 900 + unit, "name": name,
            "exe": b"/usr/sbin/" + name, "cmdline": b"/usr/sbin/" + name + arguments,
            "cgroup": b"/system.slice/app-%02d.service" % unit,
            "unit": b"app-%02d.service" % unit, "netns": 4026531840,
        }  # fmt: skip

    def new_flow(self, flow: int, now: int) -> tuple[str, KeptRow]:
        owner = self.processes[int(self.owner[flow])]
        return self.flow(owner, self.kind[flow], now, b"/var/lib/data/segment-%05d.db" % flow)

    def flow(self, owner: dict[str, Any], kind: str, now: int, path: bytes) -> tuple[str, KeptRow]:
        numbers = self.random.integers(0, 1 << 30, 4).tolist()
        whose = {name: owner[name] for name in ("pid", "start_ns", "uid", "viewer")}
        whose |= {"class": CODES[kind], "inode": numbers[0]}
        whose["first_ns"] = now * SECOND + numbers[1] % SECOND
        if kind == "file":
            return "files", past_host.row("files", path=path, device=0xFE00001, **whose)
        if kind == "unix":
            name = b"/run/app/%d.sock" % (numbers[2] % 20)
            return "connections", past_host.row("connections", local_name=name, family=1, **whose)
        remote = bytes([10, 0, numbers[2] % 16, numbers[2] // 16 % 250]) + bytes(12)
        return "connections", past_host.row(
            "connections", family=2, type=1, protocol=6, local=bytes([10, 0, 0, 5]) + bytes(12),
            local_port=443, remote=remote, remote_port=1024 + numbers[3] % 60000, direction=1,
            tcp_state=1, rtt_us=numbers[3] % 900, netns=4026531840, **whose,
        )  # fmt: skip

    def tick(self, seconds: int, at: int) -> Tick:
        """Return what moved in some seconds that end at ``at``."""
        self.seconds += seconds
        self.churn(seconds)
        moved = np.flatnonzero(self.random.random(PERSISTENT) < 1 - (1 - self.often) ** seconds)
        flows = [(self.flows[flow], int(self.owner[flow])) for flow in moved.tolist()]
        size = np.exp(self.size[moved] + self.random.normal(0, 0.8, len(moved)))
        bytes_ = [size * np.maximum(1, self.often[moved] * seconds)]
        new = self.random.poisson((60 * seconds, 20 * seconds))
        for count, kind, first in zip(new.tolist(), ("net", "file"), (0, 4), strict=True):
            for number in range(count):
                slot = first + number % 4
                path = b"/var/tmp/job-%08x/part" % int(self.random.integers(0, 1 << 32))
                flows.append((self.flow(self.processes[slot], kind, self.seconds, path), slot))
            bytes_.append(np.exp(self.random.normal(8.5, 1.8, count)))
        return self.counted(flows, np.concatenate(bytes_), seconds, at)

    def churn(self, seconds: int) -> None:
        for slot in self.random.integers(0, SLOTS, self.random.poisson(SLOTS / 600 * seconds)):
            self.processes[slot] = self.new_process(int(self.unit[slot]), self.seconds)
            for flow in np.flatnonzero(self.owner == slot).tolist():
                self.flows[flow] = self.new_flow(flow, self.seconds)

    def counted(self, flows: list[Any], size: np.ndarray[Any, Any], seconds: int, at: int) -> Tick:
        split = self.random.random(len(flows))
        deltas = np.zeros((len(flows), 4), np.int64)
        deltas[:, 0] = size * split * (split > 0.15)
        deltas[:, 1] = size * (1 - split) * (split < 0.85)
        deltas[:, 2:] = deltas[:, :2] // 4096 + (deltas[:, :2] > 0)
        counters = LAYOUTS[PROCESSES].counters
        places = {kind: counters.index(first) for kind, first in FIRST.items()}
        sums = np.zeros((SLOTS, len(counters)), np.int64)
        for ((table, row), slot), delta in zip(flows, deltas, strict=True):
            kind = "file" if table == "files" else KINDS[row[CLASS]]
            sums[slot, places[kind] : places[kind] + 4] += delta
        other = self.random.integers(0, SLOTS, 26 * seconds)
        times = np.bincount(other, minlength=SLOTS)
        sums[:, counters.index("device_read_bytes")] += 24 * times
        sums[:, counters.index("device_read_calls")] += times
        written = sums[:, places["file"] + 1]
        sums[:, counters.index("disk_write_bytes")] = -(-written // 4096) * 4096
        active = np.flatnonzero(sums.any(axis=1))
        processes = [past_host.row(PROCESSES, **self.processes[slot]) for slot in active]
        rows: dict[str, list[KeptRow]] = {"connections": [], "files": []}
        numbers: dict[str, list[int]] = {"connections": [], "files": []}
        for number, ((table, row), _slot) in enumerate(flows):
            rows[table].append(row)
            numbers[table].append(number)
        moved = {table: widened(table, deltas[numbers[table]]) for table in rows}
        moved[PROCESSES] = sums[active]
        rows[PROCESSES] = processes
        if self.build:
            self.compile(rows, moved, seconds)
        return past_host.tick(at * SECOND, rows, moved, interval_ns=seconds * SECOND)

    def compile(self, rows: dict[str, Any], moved: dict[str, Any], seconds: int) -> None:
        """Add 200 processes a second, with three files each."""
        count = int(self.random.poisson(200 * seconds))
        counters = LAYOUTS[PROCESSES].counters
        file = counters.index("file_read_bytes")
        sums = np.zeros((count, len(counters)), np.int64)
        sums[:, file] = np.exp(self.random.normal(12, 1.5, count))
        sums[:, file + 1] = np.exp(self.random.normal(9, 2, count))
        sums[:, file + 2 : file + 4] = sums[:, file : file + 2] // 32768 + 1
        for _ in range(count):
            source = int(self.random.integers(0, 40000))
            process = self.new_process(7, self.seconds, TOOLS[source % 10])
            process["cmdline"] += b"\0-O2\0-Wall\0-Iinclude/lib%d\0src/%d.cc" % (
                source % 40,
                source,
            )
            rows[PROCESSES].append(past_host.row(PROCESSES, **process))
            for place in range(3):
                path = b"/home/dev/project/src/%d/file_%05d.%d" % (source % 200, source, place)
                rows["files"].append(self.flow(process, "file", self.seconds, path)[1])
        each = np.repeat(sums[:, file : file + 4] // 3 + 1, 3, axis=0)
        moved[PROCESSES] = np.concatenate([moved[PROCESSES], sums])
        moved["files"] = np.concatenate([moved["files"], widened("files", each)])


FIRST = {kind: f"{kind}_{'read' if kind == 'file' else 'rx'}_bytes" for kind in CLASSES}
KINDS = {CODES[kind]: kind for kind in CLASSES}
CLASS = LAYOUTS["connections"].place["class"]


def widened(table: str, deltas: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Add the counters of a table that the four of traffic are not."""
    more = len(LAYOUTS[table].counters) - 4
    return np.pad(deltas, ((0, 0), (0, more)))
