"""Processes that fork and never execute: they cause few events, and no row may be wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from processes import Row, run_python

from pbmond import wire
from pbmond.fields import STATES
from pbmond.patience import patient
from pbmond.selftest.private_daemon import Daemon

_RUNNING, _EXITED = (STATES.index(name) for name in ("running", "exited"))
_INTERVAL_S = 2.5
_RESCAN_S = 10 + 2 * _INTERVAL_S  # the daemon lists /proc every 10 s
#: More than the daemon gets to in that time by its samples of single processes.
_FORKS_EACH = 25


@contextmanager
def quiet_forks(count: int) -> Iterator[dict[int, int]]:
    """Fork processes that move no byte and wait for their end; yield a pidfd for each PID."""
    forks = {}
    for _ in range(count):
        pid = os.fork()
        if not pid:
            signal.pause()
            os._exit(1)
        forks[pid] = os.pidfd_open(pid)
    try:
        yield forks
    finally:
        end(forks)
        reap(forks)
        for pidfd in forks.values():
            os.close(pidfd)


def end(forks: dict[int, int]) -> None:
    for pidfd in forks.values():
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def reap(forks: dict[int, int]) -> None:
    for pidfd in forks.values():
        with suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED)


def states(message: wire.Message, pids: Iterable[int]) -> set[int]:
    return {row["state"] for row in message.processes.rows() if row["pid"] in pids}


def test_forks_that_moved_nothing_end_within_one_scan_reaped_or_not(tmp_path: Path) -> None:
    with (
        quiet_forks(_FORKS_EACH) as zombies,
        quiet_forks(_FORKS_EACH) as reaped,
        quiet_forks(2) as living,
        Daemon(tmp_path, interval_s=_INTERVAL_S) as daemon,
    ):
        assert states(daemon.snapshot(), zombies | reaped | living) == {_RUNNING}
        end(zombies | reaped)
        reap(reaped)
        deadline = time.monotonic() + patient(_RESCAN_S)
        while states(message := daemon.snapshot(), zombies | reaped) != {_EXITED}:
            assert time.monotonic() < deadline
        assert states(message, living) == {_RUNNING}


_FORKS = """
import json, mmap, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(descriptor, 1 << 16)
memory = mmap.mmap(descriptor, 1 << 16)
pids = []
for _ in range(5):
    pid = os.fork()
    if not pid:
        for at in range(0, 1 << 16, mmap.PAGESIZE):
            memory[at] = (memory[at] + 1) % 256
        os._exit(0)
    os.waitpid(pid, 0)
    memory.flush()
    pids.append(pid)
print(json.dumps([os.getpid(), pids]))
"""


def test_a_brief_fork_that_moved_only_disk_bytes_has_name_user_and_parent(
    tmp_path: Path,
) -> None:
    (tmp_path / "run").mkdir()
    with Daemon(tmp_path / "run") as daemon:
        parent, forks = run_python(_FORKS, tmp_path / "data")
        message = daemon.snapshot()
    rows: dict[int, Row] = {row["pid"]: row for row in message.processes.rows()}
    for pid in forks:
        row = rows[pid]
        assert row["disk_write_bytes"] >= 1 << 16
        assert (row["name"], row["uid"], row["ppid"]) == (rows[parent]["name"], 0, parent)


_CROWD = """
import mmap, os, sys, time
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
while True:
    if not os.fork():
        os.pwrite(descriptor, bytes(4096), 0)  # before the daemon counts, with luck
        time.sleep(0.3)
        os._exit(0)
    os.fdatasync(descriptor)
    time.sleep(0.01)
"""


def test_after_a_start_among_forks_every_row_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    command = [sys.executable, "-I", "-S", "-c", _CROWD, str(tmp_path / "data")]
    with subprocess.Popen(command) as crowd:
        try:
            with Daemon(tmp_path / "run") as daemon:
                # One that moves a byte while a tick is read has its name from the next one on.
                nameless = [unnamed(daemon.snapshot()) for _ in range(2)]
        finally:
            crowd.kill()
    assert nameless[0] & nameless[1] == set()


def unnamed(message: wire.Message) -> set[tuple[int, int]]:
    rows = message.processes.rows()
    return {(row["pid"], row["start_ns"]) for row in rows if row["name"] == b"?"}
