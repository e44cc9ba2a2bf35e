"""What ``all/moved`` costs the daemon and a reader in a tick, beside ``all/flows``.

A host of 10,000 processes and 30,000 rows, of which 300 processes are active: two thirds of them
in every tick, the others take turns. Run it as ``python tests/bench/bench_moved.py``.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from bench_store import META, SECOND, STARTED_NS, FakeKernel, FakeTable, Stopwatch
from numpy.typing import NDArray

from pbmon_client.data.moved import COLUMNS, MovedReader
from pbmond import wire
from pbmond.kernel.records import COUNTER
from pbmond.moved_wire import decode_moved
from pbmond.publish.moved_log import MovedLog
from pbmond.publish.topic_messages import Messages
from pbmond.store.store import Store, StoreOptions

FLOWS = wire.Topic(None, "flows")
HEALTH = {"lost": {"events": 0, "bytes": 0}}


def move(table: FakeTable, pids: NDArray[np.uint32], random: np.random.Generator) -> None:
    """Let every row of some processes move bytes."""
    index = np.flatnonzero(np.isin(table.keys["pid"], pids) & (table.counters["first_ns"] != 0))
    for name in ("rx_bytes", "tx_bytes", "rx_calls", "tx_calls"):
        table.counters[name][index] += random.integers(1, 99_999, len(index), dtype=np.uint64)


def run(options: argparse.Namespace) -> Stopwatch:
    """Return CPU times and sizes by name, without those of the first ticks."""
    random = np.random.default_rng(2)
    kernel = FakeKernel(options.processes, options.flows, options.files)
    limits = StoreOptions(10 * SECOND, 300 * SECOND, 60, lambda _pid, _name, _uid: True)
    store, log, reader = Store(limits, STARTED_NS), MovedLog(), MovedReader(COLUMNS)
    steady = random.choice(kernel.pids, options.active * 2 // 3, replace=False)
    watch = Stopwatch()
    for number in range(options.ticks):
        now_ns = STARTED_NS + (number + 1) * SECOND
        retire = store.apply(kernel.read(now_ns))
        finals = (kernel.flows.delete(retire.flows), kernel.files.delete(retire.files))
        store.fold(*finals, np.zeros(0, COUNTER))
        if number == 10:
            watch = Stopwatch()
        with watch.measure("daemon: snapshot, ms"):
            snapshot = store.snapshot()
        messages = Messages(snapshot, replace(META, seq=number + 1, health=HEALTH))
        with watch.measure("daemon: all/moved, ms"):
            frame = log.frame(messages)
        with watch.measure("reader: all/moved, ms"):
            told = list(reader.take(decode_moved(frame)))
        with watch.measure("daemon: all/flows, ms"):
            flows = wire.encode(FLOWS, messages.of(FLOWS))
        with watch.measure("reader: all/flows, ms"):
            wire.decode(flows)
        ticks = decode_moved(frame).ticks
        for name, value in (
            ("all/moved, kB", len(frame) / 1e3),
            ("newest tick of it, kB", len(ticks[-1]) / 1e3),
            ("all/flows, kB", len(flows) / 1e3),
            ("processes that moved", len(told[-1].tables["processes"].ids)),
            ("rows that moved", sum(len(each.ids) for each in told[-1].tables.values())),
        ):
            watch.samples[name].append(value)
        turns = random.choice(kernel.pids, options.active - len(steady), replace=False)
        for table in (kernel.flows, kernel.files):
            move(table, np.concatenate((steady, turns)), random)
        kernel.start(options.new, options.new, options.new, now_ns)
        kernel.exit(options.new, now_ns)
    return watch


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=10_000)
    parser.add_argument("--flows", type=int, default=20_000)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--active", type=int, default=300, help="processes that move in a tick")
    parser.add_argument("--new", type=int, default=5, help="processes that begin and end in a tick")
    parser.add_argument("--ticks", type=int, default=60)
    watch = run(parser.parse_args())
    print(f"{'':26}{'median':>10}{'max':>10}")
    for name, samples in watch.samples.items():
        ordered = sorted(samples)
        print(f"{name:26}{ordered[len(ordered) // 2]:10.2f}{ordered[-1]:10.2f}")


if __name__ == "__main__":
    main()
