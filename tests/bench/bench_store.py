"""What the store costs in CPU and memory with 10,000 processes and 100,000 flows.

Run it as ``python tests/bench/bench_store.py``; it needs no root and touches no kernel map.
"""

from __future__ import annotations

import argparse
import gc
import mmap
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pbmond import wire
from pbmond.kernel.records import (
    COUNTER,
    FILE_KEY,
    FLOW_KEY,
    OVERFLOW_KEY,
    DiskBytes,
    Event,
    FileSeen,
    HostReading,
    KernelRows,
    ProcessExited,
    ProcessSeen,
    ProcSample,
    Reading,
)
from pbmond.publish.topic_messages import Messages, Meta
from pbmond.store.store import Store, StoreOptions

SECOND = 1_000_000_000
STARTED_NS = 1_000 * SECOND
META = Meta("host", "boot", "epoch", 1, {})
TOPICS = ("all/processes", "all/flows", "uid/1000/processes")


_NETNS = 4026531840
#: Connections have four local addresses, three of them the host's.
_HOST = HostReading(
    netns=_NETNS,
    interfaces=dict.fromkeys((b"lo", b"eth0", b"eth1"), (0, 0, 0, 0)),
    addresses={
        b"lo": frozenset({bytes(10) + b"\xff\xff\x7f\0\0\1"}),
        b"eth0": frozenset(bytes(10) + b"\xff\xff\xc0\0\2" + bytes([at]) for at in range(3)),
    },
    disks={b"vda": (0, 0)},
    stacked=frozenset(),
    retransmitted_segments=0,
    forwarded_packets=0,
)


class FakeTable:
    """Slots of keys and counters in shared memory, as the kernel's tables are."""

    def __init__(self, key: np.dtype[np.void], capacity: int) -> None:
        slot = np.dtype([("key", key), ("counter", COUNTER)])
        # Shared, so that the process's anonymous memory is the store's.
        self._memory = mmap.mmap(-1, slot.itemsize * max(capacity, 1))
        self._slots = np.frombuffer(self._memory, slot)
        self.keys, self.counters = self._slots["key"], self._slots["counter"]

    def __len__(self) -> int:
        return int(np.count_nonzero(self.counters["first_ns"]))

    def take(self, count: int) -> NDArray[np.intp]:
        """Return free slots."""
        return np.flatnonzero(self.counters["first_ns"] == 0)[:count]

    def read(self) -> KernelRows:
        """Copy the used slots, as pbmond.kernel.maps does."""
        used = self._slots[self.counters["first_ns"] != 0]
        return KernelRows(used["key"], used["counter"])

    def delete(self, ids: NDArray[np.uint64]) -> NDArray[np.void]:
        """Free slots by row id and return their final values."""
        index = np.flatnonzero(np.isin(self.counters["id"], ids)) if len(ids) else ids[:0]
        finals = self.counters[index.astype(np.intp)]
        self._slots[index.astype(np.intp)] = np.zeros((), self._slots.dtype)
        return finals


class FakeKernel:
    """Tables whose rows grow, appear and leave as those of a busy host do."""

    def __init__(self, processes: int, flows: int, files: int) -> None:
        self._random = np.random.default_rng(1)
        self._next_pid = 1
        self._next_id = 1
        self._names: list[Event] = []
        self.flows = FakeTable(FLOW_KEY, 2 * flows)
        self.files = FakeTable(FILE_KEY, 2 * files)
        self.pids = np.zeros(0, np.uint32)
        self.start(processes, flows, files, STARTED_NS)

    def start(self, processes: int, flows: int, files: int, now_ns: int) -> None:
        """Add processes, and rows that belong to any process."""
        new = np.arange(self._next_pid, self._next_pid + processes, dtype=np.uint32)
        self._next_pid += processes
        self.pids = np.append(self.pids, new)
        self._names += [_seen(pid, now_ns) for pid in new.tolist()]
        slots = self._add(self.flows, flows, now_ns, 0)
        self.flows.keys["family"][slots], self.flows.keys["protocol"][slots] = 2, 6
        words = self.flows.keys["local"][slots].view("<u4").reshape(-1, 4)
        words[:, 0] = 0xC0 | 2 << 16 | self._random.integers(0, 4, len(slots)) << 24
        self.flows.keys["local"][slots] = words.view("V16")[:, 0]
        self.flows.counters["netns"][slots] = _NETNS
        slots = self._add(self.files, files, now_ns, 4)
        self._names += [
            FileSeen(row, b"/var/lib/app/%d/data" % (row % 5000), whole=True)
            for row in self.files.counters["id"][slots].tolist()
        ]

    def _add(self, table: FakeTable, count: int, now_ns: int, kind: int) -> NDArray[np.intp]:
        slots = table.take(count)
        pids = self._random.choice(self.pids, count)
        table.keys["pid"][slots], table.keys["start_ns"][slots] = pids, _start_ns(pids)
        counters = table.counters
        counters["id"][slots] = np.arange(self._next_id, self._next_id + count)
        self._next_id += count
        counters["first_ns"][slots], counters["class"][slots] = now_ns, kind
        counters["rx_bytes"][slots] = counters["rx_calls"][slots] = 1
        return slots

    def move(self, share: float) -> None:
        """Let ``share`` of the rows move bytes."""
        for table in (self.flows, self.files):
            used = np.flatnonzero(table.counters["first_ns"])
            index = used[self._random.random(len(used)) < share]
            for name in ("rx_bytes", "tx_bytes", "rx_calls", "tx_calls"):
                table.counters[name][index] += self._random.integers(1, 9999, dtype=np.uint64)

    def exit(self, count: int, now_ns: int) -> None:
        """End ``count`` processes; their rows stay."""
        leaving, self.pids = self.pids[:count], self.pids[count:]
        self._names += [
            ProcessExited(pid, int(_start_ns(np.uint32(pid))), now_ns, 4096, 4096)
            for pid in leaving.tolist()
        ]

    def read(self, now_ns: int) -> Reading:
        """Copy everything, as the collector does."""
        names, self._names = tuple(self._names), []
        return Reading(
            time_ns=now_ns,
            wall_ns=now_ns,
            flows=self.flows.read(),
            files=self.files.read(),
            overflow=KernelRows(np.zeros(0, OVERFLOW_KEY), np.zeros(0, COUNTER)),
            events=names,
            lost={},
            host=_HOST,
        )


def _start_ns(pids: NDArray[np.uint32] | np.uint32) -> NDArray[np.uint64]:
    return np.asarray(STARTED_NS + 1 + np.asarray(pids, np.uint64) * np.uint64(1000))


def _seen(pid: int, now_ns: int) -> ProcessSeen:
    return ProcessSeen(
        pid=pid,
        start_ns=int(_start_ns(np.uint32(pid))),
        time_ns=now_ns,
        ppid=1,
        uid=1000 + pid % 50,
        viewer=1000 + pid % 50,
        name=b"worker-%d" % (pid % 100),
        exe=b"/usr/lib/app/bin/worker-%d" % (pid % 100),
        cmdline=b"/usr/lib/app/bin/worker\x00--config\x00/etc/app/%d.conf\x00" % pid,
        cgroup=b"/system.slice/app-%d.service" % (pid % 200),
        netns=4026531840,
    )


class Stopwatch:
    """CPU time by name, in ms."""

    def __init__(self) -> None:
        self.samples: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the CPU time of the block to ``name``."""
        begin = time.process_time_ns()
        yield
        self.samples[name].append((time.process_time_ns() - begin) / 1e6)


def _anonymous_mb() -> float:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def _rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * mmap.PAGESIZE / 2**20


def tick(
    store: Store,
    kernel: FakeKernel,
    now_ns: int,
    watch: Stopwatch,
    *,
    budget: int,
    topics: Sequence[str],
) -> None:
    """Do what the collector does in one tick, and publish ``topics``."""
    reading = kernel.read(now_ns)
    with watch.measure("apply"):
        retire = store.apply(reading)
    finals = (
        kernel.flows.delete(retire.flows),
        kernel.files.delete(retire.files),
        np.zeros(0, COUNTER),
    )
    del reading
    with watch.measure("fold"):
        store.fold(*finals)
    with watch.measure("due"):
        due = store.due(budget).keys
    inodes = frozenset((8, inode) for inode in range(8))
    samples = [
        ProcSample(*each, DiskBytes(now_ns, now_ns), inodes, _seen(each[0], now_ns), gone=False)
        for each in due
    ]
    with watch.measure("apply_proc"):
        store.apply_proc(samples)
    with watch.measure("snapshot"):
        messages = Messages(store.snapshot(), META)
    for name in topics:
        topic = wire.parse_topic(name.encode())
        with watch.measure(f"message {name}"):
            message = messages.of(topic)
        with watch.measure(f"encode {name}"):
            frame = wire.encode(topic, message)
        watch.samples[f"MB {name}"].append(len(frame) / 1e6)
        del message, frame


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=10_000)
    parser.add_argument("--flows", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=0)
    parser.add_argument("--ticks", type=int, default=70)
    parser.add_argument("--budget", type=int, default=256, help="processes sampled in a tick")
    parser.add_argument("--steady", action="store_true", help="no new and no leaving rows")
    parser.add_argument("--topics", nargs="*", default=TOPICS, help="what is published")
    return parser.parse_args()


def run(options: argparse.Namespace) -> tuple[Stopwatch, Stopwatch, list[float]]:
    """Return the times of the first tick and of the others, and the anonymous MB after each."""
    kernel = FakeKernel(options.processes, options.flows, options.files)
    store = Store(
        StoreOptions(10 * SECOND, 300 * SECOND, 60, lambda _pid, _name, _uid: True), STARTED_NS
    )
    gc.collect()
    memory: list[float] = []
    first, others = Stopwatch(), Stopwatch()
    for number in range(options.ticks):
        now_ns = STARTED_NS + (number + 1) * SECOND
        watch = others if number else first
        tick(store, kernel, now_ns, watch, budget=options.budget, topics=options.topics)
        memory.append(_anonymous_mb())
        kernel.move(0.05)
        if not options.steady:
            kernel.start(50, 500, options.files // 200, now_ns)
            kernel.exit(50, now_ns)
    return first, others, memory


def main() -> None:
    """Print the table."""
    options = _options()
    base_mb = _rss_mb()
    first, others, memory = run(options)
    print(f"{'':34}{'first':>8}{'median':>8}{'max':>8}")
    for name, samples in others.samples.items():
        ordered = sorted(samples)
        print(
            f"{name:34}{first.samples[name][0]:8.2f}"
            f"{ordered[len(ordered) // 2]:8.2f}{ordered[-1]:8.2f}"
        )
    print(f"RSS {_rss_mb():.0f} MB, of which {base_mb:.0f} MB are Python and numpy")
    print(
        f"anonymous memory after the first tick {memory[0]:.0f} MB, after the last"
        f" {memory[-1]:.0f}, at most {max(memory):.0f};"
        " the rest is libraries and the fake kernel's shared memory"
    )


if __name__ == "__main__":
    main()
