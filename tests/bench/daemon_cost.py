"""What a running daemon costs: its start, its memory, and its CPU, idle and at full-speed I/O.

Run as root: ``.venv/bin/python tests/bench/daemon_cost.py``. Idle and busy stretches take turns on
one daemon with one subscriber, so that whatever else the machine does meets both alike.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bench
from bench import Verdict

from pbmond.selftest.private_daemon import Daemon


def cpu_ns(daemon: Daemon) -> int:
    """Return the CPU time of all daemon processes so far."""
    pids = (daemon.process.pid, *daemon.children())
    tasks = (task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def pss_bytes(daemon: Daemon) -> int:
    """Return the proportional memory of all daemon processes."""
    total = 0
    for pid in (daemon.process.pid, *daemon.children()):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def cpu_percent(daemon: Daemon, seconds: float) -> float:
    """Return the daemon's CPU use over ``seconds``, in percent of a core, with a viewer reading."""
    before, started = cpu_ns(daemon), time.monotonic()
    while time.monotonic() - started < seconds:
        daemon.snapshot()
    return 100 * (cpu_ns(daemon) - before) / 1e9 / (time.monotonic() - started)


@contextmanager
def reads_at_full_speed() -> Iterator[None]:
    """Read single bytes as fast as one processor can."""
    copy = subprocess.Popen(
        ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=1"], stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        copy.terminate()
        copy.wait()


def start_seconds(directory: Path) -> float:
    """Return the time from the daemon's start to the first snapshot in a subscriber's hands."""
    started = time.monotonic()
    with Daemon(directory, interval_s=1.0, topic=b"all/processes"):
        return time.monotonic() - started


def measure(rounds: int, seconds: float) -> tuple[list[float], list[float], list[float], float]:
    """Return starts in s, idle and busy CPU in percent of a core, and PSS in bytes."""
    with tempfile.TemporaryDirectory() as scratch:
        starts = []
        for number in range(rounds):
            directory = Path(scratch, f"start-{number}")
            directory.mkdir()
            starts.append(start_seconds(directory))
        directory = Path(scratch, "run")
        directory.mkdir()
        idle, busy = [], []
        with Daemon(directory, interval_s=1.0, topic=b"all/processes") as daemon:
            cpu_percent(daemon, 2 * seconds)  # the first look at /proc and other beginnings
            for _ in range(rounds):
                idle.append(cpu_percent(daemon, seconds))
                with reads_at_full_speed():
                    busy.append(cpu_percent(daemon, seconds))
            return starts, idle, busy, pss_bytes(daemon)


def main() -> int:
    """Print the table and the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8, help="of each idle or busy stretch")
    options = parser.parse_args()
    starts, idle, busy, pss = measure(options.rounds, options.seconds)
    extra = [with_io - without for with_io, without in zip(busy, idle, strict=True)]
    rows = [
        ["start to first snapshot, s", *_spread(starts)],
        ["CPU idle, % of a core", *_spread(idle)],
        ["CPU at full-speed 1-byte reads, % of a core", *_spread(busy)],
        ["difference", *_spread(extra)],
        ["memory (PSS) of all daemon processes, MB", *_spread([pss / 1e6])],
    ]
    processes = sum(name.isdigit() for name in os.listdir("/proc"))  # noqa: PTH208 - names only
    text = bench.table(["", "median", "least", "most"], rows)
    verdicts = [
        Verdict("start to first snapshot", bench.median(starts), 1.5, "s"),
        Verdict(f"idle CPU, {processes} processes", bench.median(idle), 0.5, "% of a core"),
        Verdict("CPU at full speed over idle", bench.median(extra), 1.0, "% of a core"),
        Verdict("idle PSS", pss / 1e6, 70, "MB"),
    ]
    return bench.report(text, verdicts)


def _spread(values: list[float]) -> list[str]:
    return [f"{value:.2f}" for value in (bench.median(values), min(values), max(values))]


if __name__ == "__main__":
    sys.exit(main())
