"""Processes that come and go by the thousand, so that every PID is used again and again."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conservation import assert_conserved
from waiting import snapshot_when

from pbmond import wire
from pbmond.fields import CLASSES, STATES, counter_names
from pbmond.kernel.records import START_TICK_NS
from pbmond.patience import patient
from pbmond.selftest.private_daemon import Daemon
from pbmond.selftest.workloads.programs import elf
from pbmond.selftest.workloads.programs.elf import Call

SIZES = 100
PROCESSES = SIZES * SIZES
PIDS = 1_000
#: So many at a time, each batch seen before the next begins: their events fit into the ring buffer
#: and none leaves before it is seen, however seldom daemon and test get to run. What a flood of
#: them loses is for test_flood.
BATCH = 1_000
#: Longer than a batch takes, and longer than the daemon keeps that many: it is their number that
#: makes the oldest go.
LINGER_S = patient(20.0)
#: A user of no other process, so that the retired totals of these are a row of their own.
UID = 64_321
INPUT, OUTPUT = 6, 7

EXITED = STATES.index("exited")
#: What the processes move is exact; what reaches the disk depends on the page cache.
COUNTED = tuple(name for kind in CLASSES for name in counter_names(kind))

Moved = tuple[int, ...]  # by COUNTED
#: A pid and its start in clock ticks: /proc gives no more, and may be the first to show a process.
Process = tuple[int, int]

#: Each process gets the next of the highest PIDs there are, by clone3(2): a smaller pid_max would
#: do as well, but it is the whole machine's.
_SPAWN = """
import ctypes, errno, itertools, os, struct, sys
scratch, (sizes, batch, pids, uid) = sys.argv[1], map(int, sys.argv[2:])
libc = ctypes.PyDLL(None, use_errno=True)
highest = int(open("/proc/sys/kernel/pid_max").read())
numbers = itertools.cycle(range(highest - pids, highest))
os.dup2(os.open(scratch + "/output", os.O_WRONLY), 7)
def fork(number):
    wanted = ctypes.c_int32(number)
    arguments = struct.pack("=11Q", 0, 0, 0, 0, 17, 0, 0, 0, ctypes.addressof(wanted), 1, 0)
    return libc.syscall(ctypes.c_long(435), arguments, ctypes.c_long(len(arguments)))
def execute(ordinal):
    writes, reads = divmod(ordinal, sizes)
    try:
        os.dup2(os.open(f"{scratch}/input-{reads}", os.O_RDONLY), 6)
        os.setresuid(uid, uid, uid)
        os.execve(f"{scratch}/mover-{writes}", ["mover"], {})
    finally:
        os._exit(1)
def spawn(ordinal):
    free = (number for number in numbers if not os.path.exists(f"/proc/{number}"))
    while (pid := fork(next(free))) < 0:  # somebody else has taken it
        assert ctypes.get_errno() == errno.EEXIST, os.strerror(ctypes.get_errno())
    return pid or execute(ordinal)
for start in range(0, sizes * sizes, batch):
    sys.stdin.readline()
    ended = []
    for first in range(start, start + batch, 8):
        eight = [spawn(ordinal) for ordinal in range(first, first + 8)]
        for pid in eight:
            assert os.waitpid(pid, 0)[1] == 0
        ended += eight
    print(*ended, flush=True)
sys.stdin.read()
"""


def moved(ordinal: int) -> Moved:
    """What the process of that ordinal reads and writes: no other moves the same."""
    writes, reads = divmod(ordinal, SIZES)
    counters = dict.fromkeys(COUNTED, 0)
    counters["file_write_bytes"], counters["file_write_calls"] = 2 * writes + 1, 1
    counters["file_read_bytes"], counters["file_read_calls"] = reads + 1, 1
    return tuple(counters.values())


@pytest.fixture
def scratch() -> Iterator[Path]:
    """The programs, each of which writes its own number of bytes, and what they read."""
    # Other users may not enter pytest's own directories.
    with tempfile.TemporaryDirectory(prefix="pbmon-churn-", dir="/var/tmp") as directory:
        _fill(Path(directory))
        yield Path(directory)


def _fill(scratch: Path) -> None:
    scratch.chmod(0o755)
    for number in range(SIZES):
        (scratch / f"input-{number}").write_bytes(bytes(number + 1))
        size = 2 * number + 1
        program = scratch / f"mover-{number}"
        program.write_bytes(
            elf.build(
                [
                    Call("read", (INPUT, elf.BUFFER, 1 << 20), None),
                    Call("write", (OUTPUT, elf.BUFFER, size), size),
                ]
            )
        )
        program.chmod(0o755)
    (scratch / "output").touch()
    (scratch / "output").chmod(0o666)


class Seen:
    """All processes of UID that any snapshot showed."""

    def __init__(self) -> None:
        self.exited: dict[Process, Moved] = {}

    def take(self, message: wire.Message) -> int:
        """Check one snapshot against those before; return how many processes it shows."""
        assert_conserved(message)
        columns = message.processes.columns
        counters = zip(*(columns[name] for name in COUNTED), strict=True)
        names = ("uid", "pid", "start_ns", "state")
        rows = zip(*(columns[name] for name in names), counters, strict=True)
        shown: set[Process] = set()
        for uid, pid, start_ns, state, values in rows:
            if uid == UID:
                process = pid, start_ns // START_TICK_NS
                assert process not in shown
                shown.add(process)
                if not any(values):
                    assert process not in self.exited
                elif state == EXITED:
                    assert self.exited.setdefault(process, values) == values
                else:
                    assert process not in self.exited
        return len(shown)

    def rows_left(self, message: wire.Message) -> str:
        """Take a snapshot; what is missing while it shows any of the processes."""
        left = self.take(message)
        return f"the end of {left} rows" if left else ""

    def by_pid(self) -> dict[int, list[Moved]]:
        """What the processes of each PID moved, oldest first."""
        found: dict[int, list[Moved]] = defaultdict(list)
        for (pid, _), values in sorted(self.exited.items()):
            found[pid].append(values)
        return found


class Spawner:
    """Starts the processes, a batch at a time."""

    def __init__(self, running: subprocess.Popen[bytes]) -> None:
        self._running = running

    def spawn(self) -> list[int]:
        """Start the next batch and wait until all of them have ended; their PIDs in order."""
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        self._running.stdin.write(b"\n")
        self._running.stdin.flush()
        return [int(pid) for pid in self._running.stdout.readline().split()]


@contextmanager
def spawning(scratch: Path) -> Iterator[Spawner]:
    numbers = (str(number) for number in (SIZES, BATCH, PIDS, UID))
    command = [sys.executable, "-I", "-S", "-c", _SPAWN, str(scratch), *numbers]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        yield Spawner(running)


def test_ten_thousand_processes_of_few_pids_are_a_row_each(scratch: Path, tmp_path: Path) -> None:
    pids: list[int] = []
    with (
        Daemon(tmp_path, topic=b"all/processes", exited_linger_s=LINGER_S) as daemon,
        spawning(scratch) as spawner,
    ):
        seen = Seen()
        for _ in range(0, PROCESSES, BATCH):
            pids += spawner.spawn()
            seen.take(daemon.snapshot())
        assert len(pids) == PROCESSES > 4 * len(set(pids))
        message = snapshot_when(
            daemon,
            lambda message: f"the end of {left} rows" if (left := seen.take(message)) else "",
        )
    expected: dict[int, list[Moved]] = defaultdict(list)
    for ordinal, pid in enumerate(pids):
        expected[pid].append(moved(ordinal))
    assert seen.by_pid() == expected
    (row,) = (row for row in message.retired.rows() if row["uid"] == UID)
    everything = zip(*map(moved, range(PROCESSES)), strict=True)
    assert row["processes"] == PROCESSES
    assert tuple(row[name] for name in COUNTED) == tuple(map(sum, everything))
    assert message.health["lost"] == dict.fromkeys(message.health["lost"], 0)
