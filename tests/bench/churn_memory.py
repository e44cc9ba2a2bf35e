"""What the daemon's memory does while processes and viewers come and go, and afterwards.

Run as root: ``.venv/bin/python tests/bench/churn_memory.py``. By default ten minutes of
200 processes a second with 50 viewers a second, then two of rest; ``--seconds 120`` shows the same
in short.
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

from pbmond.selftest.private_daemon import Daemon
from tests.churn import Visitors, memory_mb

#: Starts processes that move a few bytes and end, at a steady rate, until standard input ends.
_CHURN = """
import os, select, sys, time
pause, due, made = 1 / float(sys.argv[1]), time.monotonic(), 0
while True:
    due = max(due + pause, time.monotonic() - 1)
    if select.select([0], [], [], max(0, due - time.monotonic()))[0]:
        sys.exit(print(made))
    made += 1
    os.waitpid(os.posix_spawn("/bin/head", ["head", "-c", "10", "/dev/zero"], {},
                              file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", 1, 0)]), 0)
"""


@contextmanager
def churn(per_second: float) -> Iterator[None]:
    """Start and end so many processes a second."""
    command = [sys.executable, "-I", "-S", "-c", _CHURN, str(per_second)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as made:
        try:
            yield
        finally:
            said, _ = made.communicate()
            print(f"{int(said)} processes")


def main() -> int:
    """Print the memory of collector and publisher every ten seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rest", type=float, default=120)
    parser.add_argument("--processes", type=float, default=200, help="a second")
    parser.add_argument("--viewers", type=float, default=50, help="a second")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as scratch,
        Daemon(Path(scratch), interval_s=1.0, topic=b"all/processes", exited_linger_s=10) as daemon,
    ):

        def say(what: str) -> None:
            message = daemon.snapshot()
            memory = memory_mb(daemon.process.pid)
            parts = ", ".join(f"{name} {memory[name]:.1f}" for name in ("own", "files", "tables"))
            used = {name: each["used"] for name, each in message.health["maps"].items()}
            print(
                f"{what:9} collector {memory['rss']:6.1f} MB ({parts}),",
                f"publisher {memory_mb(daemon.publisher())['rss']:5.1f} MB,",
                f"{message.processes.length} processes, {used['flows']} flows,",
                f"{used['files']} files",
                flush=True,
            )

        say("start")
        visitors = Visitors(daemon)
        with churn(options.processes):
            for second in range(0, round(options.seconds), 10):
                visitors.come_and_go(10, options.viewers)
                say(f"{second + 10} s")
        visitors.leave()
        for second in range(0, round(options.rest), 10):
            time.sleep(10)
            say(f"rest {second + 10} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
