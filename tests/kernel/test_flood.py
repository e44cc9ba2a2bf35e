"""More events than the ring buffer holds: names are missing, which is reported, and no byte is.

PBMON_FLOOD=20000 packaging/check tests/kernel/test_flood.py runs so many processes.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from conservation import assert_conserved
from processes import Row, run_python
from waiting import snapshot_when

from pbmond import wire
from pbmond.fields import STATES
from pbmond.selftest.private_daemon import Daemon
from pbmond.selftest.workloads.programs import elf
from pbmond.selftest.workloads.programs.elf import Call

PROCESSES = int(os.environ.get("PBMON_FLOOD", "2000"))
#: With this command line, an event of a process takes so much: together, twice the ring buffer.
ARGUMENT = 4_000
SIZE = 641

EXITED = STATES.index("exited")

_SPAWN = """
import json, os, sys
program, count, argument = sys.argv[1], int(sys.argv[2]), "x" * int(sys.argv[3])
output = os.open("/dev/null", os.O_WRONLY)
pids = []
for _ in range(count):
    pids.append(os.posix_spawn(program, ["mover", argument], {},
                               file_actions=[(os.POSIX_SPAWN_DUP2, output, 7)]))
    assert os.waitpid(pids[-1], 0)[1] == 0
print(json.dumps(pids))
"""


def mover(directory: Path) -> Path:
    """Make the program: it writes SIZE bytes to its descriptor 7."""
    program = directory / "mover"
    program.write_bytes(elf.build([Call("write", (7, elf.BUFFER, SIZE), SIZE)]))
    program.chmod(0o755)
    return program


def rows_of(message: wire.Message, pids: set[int], since_ns: int) -> dict[int, Row]:
    """The row of each of ``pids``, which is the only one of that PID that began since then."""
    every = message.processes.rows()
    rows = [row for row in every if row["pid"] in pids and row["start_ns"] > since_ns]
    found = {row["pid"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def running(message: wire.Message, pids: set[int], since_ns: int) -> str:
    """What is missing while some of them have not ended."""
    rows = rows_of(message, pids, since_ns)
    left = sum(row["state"] != EXITED for row in rows.values())
    return f"{len(pids) - len(rows)} rows and the end of {left}" if left else ""


def test_events_that_do_not_fit_are_reported_and_take_neither_rows_nor_bytes(
    tmp_path: Path,
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    program = mover(tmp_path)
    with Daemon(run_dir) as daemon:
        before = daemon.snapshot()
        os.kill(daemon.process.pid, signal.SIGSTOP)
        pids = set(run_python(_SPAWN, program, PROCESSES, ARGUMENT))
        os.kill(daemon.process.pid, signal.SIGCONT)
        first = daemon.snapshot(before.now_ns)
        while not first.health["lost"]["events"]:  # it was read before the daemon stopped
            first = daemon.snapshot(first.now_ns)
        # The end of those whose event was lost is found by the next scan of /proc.
        last = snapshot_when(daemon, lambda message: running(message, pids, before.now_ns))
    assert len(pids) == PROCESSES
    assert first.health["status"] == "incomplete"
    assert "lost: events" in first.health["reasons"]
    assert first.health["lost"]["events"] > PROCESSES // 4
    for message in (first, last):
        assert_conserved(message)
        assert message.health["lost"]["bytes"] == 0
        rows = rows_of(message, pids, before.now_ns)
        # Of more exited processes than the store keeps, the oldest have gone into ``retired``.
        assert message is last or rows.keys() == pids
        assert len(rows) >= min(PROCESSES, 5_000)
        assert {row["device_write_bytes"] for row in rows.values()} == {SIZE}
        assert {row["device_write_calls"] for row in rows.values()} == {1}
        moved = message.totals["device_write_bytes"] - before.totals["device_write_bytes"]
        assert moved >= SIZE * PROCESSES
