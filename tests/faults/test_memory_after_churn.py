"""However many processes and viewers have come and gone: the collector has no more memory.

``tests/bench/churn_memory.py`` measures the attack of the issue: ten minutes, in each second
of which 200 processes and 50 viewers come and go.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from waiting import wait_until

from pbmond.patience import patient
from pbmond.selftest.private_daemon import Daemon
from tests.churn import Visitors, memory_mb

#: The second stage has so many processes more than the first that 400 bytes for each would show.
FIRST, SECOND = 2_000, 10_000
SPARE_MB = 4.0
VIEWERS = 200

#: So many processes, each of which is a row.
_CHURN = """
import os, sys
null = os.open("/dev/null", os.O_WRONLY)
for _ in range(int(sys.argv[1])):
    pid = os.fork()
    if not pid:
        os.write(null, b"x")
        os._exit(0)
    os.waitpid(pid, 0)
"""


def churn(daemon: Daemon, processes: int) -> None:
    """Let processes and viewers come and go, and see that the daemon has counted each process."""
    before = retired(daemon)
    command = [sys.executable, "-I", "-S", "-c", _CHURN, str(processes)]
    visitors = Visitors(daemon)
    with subprocess.Popen(command) as made:
        visitors.come_and_go(VIEWERS / 50, 50)
        assert made.wait(patient(300)) == 0
    visitors.leave()
    wait_until(lambda: retired(daemon) < before + processes)


def retired(daemon: Daemon) -> int:
    """Return how many processes are no longer rows."""
    return sum(daemon.snapshot().retired.columns["processes"])


def test_memory_does_not_grow_with_the_number_of_processes_that_have_been(tmp_path: Path) -> None:
    with Daemon(tmp_path, exited_linger_s=1, topic=b"all/processes") as daemon:
        pid = daemon.process.pid
        churn(daemon, FIRST)
        after_few = memory_mb(pid)["own"]
        churn(daemon, SECOND)
        # Others on this host have processes, too: what they need is given back when they end.
        wait_until(lambda: memory_mb(pid)["own"] > after_few + SPARE_MB)
