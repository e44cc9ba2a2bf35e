"""More keys than the tables hold: what finds no row is counted exactly, and reported."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conservation import assert_conserved
from processes import row_of
from waiting import snapshot_when

from pbmond import wire
from pbmond.config import Config
from pbmond.fields import CLASSES, SOCKET_CLASSES
from pbmond.kernel.attach import attach
from pbmond.kernel.maps import Kernel
from pbmond.kernel.records import KernelRows
from pbmond.selftest.private_daemon import Daemon, now_ns

CAPACITY = 4096  # what else runs here needs less
KEYS = 2 * CAPACITY
SIZE = 37
LOSSES = {"lost: calls_without_file", "lost: calls_without_connection"}

_MOVE = """
import os, resource, socket, sys
scratch, keys, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, (keys + 100, keys + 100))
files = [os.open(f"{scratch}/{number}", os.O_RDWR | os.O_CREAT) for number in range(keys)]
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number, descriptor in enumerate(files):
    assert os.write(descriptor, b"x" * size) == size
    # A connection is its two ends, so that each peer is another one; nobody need listen.
    assert sender.sendto(b"x" * size, (f"127.1.{number >> 8}.{number & 255}", 9)) == size
print(os.getpid(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    config = Config(flows_capacity=CAPACITY, files_capacity=CAPACITY)
    kernel = attach(config, logging.getLogger("test"))
    try:
        yield kernel
    finally:
        kernel.close()


def overflow_calls(kernel: Kernel) -> tuple[int, int]:
    """The calls of everybody's connections and of everybody's files that have no row."""
    counters = kernel.read()[2].counters
    calls = counters["rx_calls"] + counters["tx_calls"]
    of_sockets = counters["class"] < len(SOCKET_CLASSES)
    return int(calls[of_sockets].sum()), int(calls[~of_sockets].sum())


@contextmanager
def moved(scratch: Path) -> Iterator[int]:
    """Move SIZE bytes by KEYS files and as many connections; the pid, which then stays."""
    command = [sys.executable, "-I", "-S", "-c", _MOVE, str(scratch), str(KEYS), str(SIZE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate()


def snapshots(daemon: Daemon, after_ns: int, until_ns: int | None = None) -> Iterator[wire.Message]:
    """Each snapshot read after ``after_ns``, the last one being the first after ``until_ns``."""
    while until_ns is None or after_ns <= until_ns:
        message = daemon.snapshot(after_ns)
        after_ns = message.now_ns
        yield message


def sums(rows: KernelRows, pid: int, kind: str) -> tuple[int, int, int]:
    """How many rows of ``kind`` a process wrote to, and the bytes and calls that they count."""
    mine = rows.counters[rows.keys["pid"] == pid]
    mine = mine[(mine["class"] == CLASSES.index(kind)) & (mine["tx_calls"] > 0)]
    return len(mine), int(mine["tx_bytes"].sum()), int(mine["tx_calls"].sum())


def test_bytes_and_calls_without_a_row_are_counted_exactly(kernel: Kernel, tmp_path: Path) -> None:
    with moved(tmp_path) as pid:
        tables = dict(zip(("flow", "file", "overflow"), kernel.read(), strict=True))
    for table, kind in (("flow", "loopback"), ("file", "file")):
        rows, row_bytes, row_calls = sums(tables[table], pid, kind)
        _, rest_bytes, rest_calls = sums(tables["overflow"], pid, kind)
        assert len(tables[table]) == CAPACITY
        assert (row_calls, row_bytes) == (rows, rows * SIZE)
        assert (row_calls + rest_calls, row_bytes + rest_bytes) == (KEYS, KEYS * SIZE)
    # Of the whole host: each call without a row is in the overflow. Others go on calling, so that
    # it takes a moment in which none of them is between the two.
    for _ in range(1000):
        lost = kernel.lost()
        reported = lost["calls_without_connection"], lost["calls_without_file"]
        if (counted := overflow_calls(kernel)) == reported:
            break
    assert counted == reported
    assert min(reported) >= KEYS - CAPACITY
    assert lost["bytes"] == 0


def test_overflow_is_reported_while_it_lasts_and_process_totals_stay_exact(tmp_path: Path) -> None:
    run_dir, scratch = tmp_path / "run", tmp_path / "scratch"
    run_dir.mkdir()
    scratch.mkdir()
    with Daemon(run_dir, capacity=CAPACITY, interval_s=1.0, exited_linger_s=1.0) as daemon:
        before = snapshot_when(daemon, lambda message: message.health["reasons"])
        os.kill(daemon.process.pid, signal.SIGSTOP)  # or it would make room meanwhile
        with moved(scratch) as pid:
            os.kill(daemon.process.pid, signal.SIGCONT)
            seen = [before, *snapshots(daemon, before.now_ns, until_ns=now_ns())]
            seen.append(daemon.snapshot(seen[-1].now_ns))
            row = row_of(seen[-1], pid)
        over = next(
            message
            for message in snapshots(daemon, seen[-1].now_ns)
            if message.health["status"] == "complete"
        )
    assert before.health["status"] == "complete"
    assert {reason for message in seen for reason in message.health["reasons"]} >= LOSSES
    for kind in ("file_write", "loopback_tx"):
        assert (row[f"{kind}_bytes"], row[f"{kind}_calls"]) == (KEYS * SIZE, KEYS)
    for message in (*seen, over):
        assert_conserved(message)
        assert message.health["lost"]["bytes"] == 0
    for name in ("calls_without_file", "calls_without_connection"):
        assert over.health["lost"][name] >= seen[-1].health["lost"][name] > 0
