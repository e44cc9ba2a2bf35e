"""What the daemon costs with 10,000 living processes and 100,000 flows, all of them real.

Run as root: ``.venv/bin/python tests/bench/scale.py``. Takes about 1 GB of memory for the crowd.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bench
from bench import Verdict
from daemon_cost import cpu_ns, pss_bytes

from pbmond.selftest.private_daemon import Daemon

ACTIVE_EACH = 20  # one process in so many moves bytes in every tick
TOPICS = (b"all/processes", b"all/flows")


@contextmanager
def crowd(processes: int, flows: int) -> Iterator[None]:
    """Keep ``processes`` alive, with ``flows`` each."""
    program = str(Path(__file__).with_name("crowd.py"))
    numbers = (str(number) for number in (processes, flows, ACTIVE_EACH))
    with subprocess.Popen(
        [sys.executable, "-I", "-S", program, *numbers],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        if not running.stdout.readline():
            raise RuntimeError("the crowd did not start")
        yield
        assert running.stdin is not None
        running.stdin.close()


def measure(daemon: Daemon, ticks: int) -> list[float]:
    """Return the daemon's CPU time in ms for each of ``ticks`` snapshots with all flows seen."""
    samples = []
    before = cpu_ns(daemon)
    for _ in range(ticks):
        daemon.snapshot()
        now = cpu_ns(daemon)
        samples.append((now - before) / 1e6)
        before = now
    return samples


def settle(daemon: Daemon, processes: int, seconds: float) -> None:
    """Wait until the daemon knows the crowd, and its first look at all of them is over."""
    end = time.monotonic() + 120
    while daemon.snapshot().processes.length < processes:
        if time.monotonic() > end:
            raise RuntimeError("the daemon does not see the crowd")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        daemon.snapshot()


def main() -> int:
    """Print the table and the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=10_000)
    parser.add_argument("--flows", type=int, default=10, help="of each process")
    parser.add_argument("--ticks", type=int, default=30)
    parser.add_argument("--settle", type=float, default=30, help="s before measuring")
    options = parser.parse_args()
    rows, verdicts = [], []
    for topic in TOPICS:
        with (
            tempfile.TemporaryDirectory() as scratch,
            Daemon(Path(scratch), interval_s=1.0, topic=topic) as daemon,
            crowd(options.processes, options.flows),
        ):
            settle(daemon, options.processes, options.settle)
            samples = measure(daemon, options.ticks)
            pss = pss_bytes(daemon) / 1e6
        name = topic.decode()
        rows.append([name, f"{bench.median(samples):.0f}", f"{max(samples):.0f}", f"{pss:.0f}"])
        if topic == TOPICS[0]:
            verdicts = [
                Verdict("CPU a tick", bench.median(samples), 100, "ms"),
                Verdict("PSS of all daemon processes", pss, 150, "MB"),
            ]
    total = options.processes * options.flows
    header = [f"{options.processes:,} processes, {total:,} flows; a viewer of"]
    header += ["CPU ms a tick: median", "most", "PSS MB"]
    return bench.report(bench.table(header, rows), verdicts)


if __name__ == "__main__":
    sys.exit(main())
