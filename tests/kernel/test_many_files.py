"""More files read than the table holds: it gives its room to what moves, and no call is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from conservation import assert_conserved
from processes import row_of

from pbmond import wire
from pbmond.selftest.private_daemon import Daemon

CAPACITY = 16_384
#: A backup reads more files than the table holds, and not all of them between two ticks.
FILES, BATCH = CAPACITY * 2, CAPACITY // 16
SIZE = 37
#: A table that fills up while others on this machine take a tenth of it.
ROOMY, WAKING = FILES, 1024  # WAKING: see wake_after() in bpf/tables.h

#: Reads as many further files as each line says, and says when it has.
_READ = """
import os, sys
scratch, first = sys.argv[1], int(sys.argv[2])
for line in sys.stdin:
    for number in range(first, first := first + int(line)):
        descriptor = os.open(f"{scratch}/{number}", os.O_RDONLY)
        assert len(os.read(descriptor, 4096)) == int(sys.argv[3])
        os.close(descriptor)
    print(first, flush=True)
"""


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """FILES files of SIZE bytes: names of a few, for inode numbers are what counts."""
    directory = tmp_path / "tree"
    directory.mkdir()
    for number in range(FILES):
        descriptor = os.open(directory / str(number), os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, bytes(SIZE))
        os.close(descriptor)
    return directory


class Reader:
    """A process that reads files when told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def read(self, files: int) -> None:
        """Let it read so many further files, and wait until it has."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{files}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline()


@contextmanager
def reader(scratch: Path, first: int, *, prefix: tuple[str, ...] = ()) -> Iterator[Reader]:
    command = [
        *prefix,
        sys.executable,
        "-I",
        "-S",
        "-c",
        _READ,
        str(scratch),
        str(first),
        str(SIZE),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Reader(process)


def check(message: wire.Message, pids: list[int], before: wire.Message) -> None:
    """All bytes are there, every call found its file, and processes and retired are the totals."""
    parts = [row_of(message, pid) for pid in pids]
    assert sum(row["file_read_calls"] for row in parts) >= FILES
    assert sum(row["file_read_bytes"] for row in parts) >= FILES * SIZE
    assert_conserved(message)
    lost = message.health["lost"]
    assert lost["calls_without_file"] == before.health["lost"]["calls_without_file"]
    assert lost["bytes"] == 0


@pytest.mark.parametrize("readers", [1, 4])
def test_a_table_gives_its_room_to_the_files_that_are_being_read(
    scratch: Path, tmp_path: Path, readers: int
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    with Daemon(run_dir, capacity=CAPACITY) as daemon, ExitStack() as stack:
        before = message = daemon.snapshot()
        part = FILES // readers
        running = [stack.enter_context(reader(scratch, n * part)) for n in range(readers)]
        for _ in range(FILES // BATCH):
            for each in running:
                each.read(BATCH // readers)
            message = daemon.snapshot()
            assert len(named(message, scratch)) >= BATCH  # those that were read last, at least
        check(message, [each.pid for each in running], before)


def named(message: wire.Message, scratch: Path) -> set[bytes]:
    """The paths of the shown files that lie in ``scratch``."""
    assert message.files is not None
    prefix = bytes(scratch) + b"/"
    return {path for path in message.files.columns["path"] if path and path.startswith(prefix)}


def test_a_table_that_fills_up_between_two_ticks_gets_one_early(
    scratch: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    cpu = min(os.sched_getaffinity(0))
    with (
        Daemon(run_dir, capacity=ROOMY, interval_s=3600) as daemon,
        # Each processor wakes the daemon after so many rows, so that it takes but one.
        reader(scratch, 0, prefix=("taskset", "--cpu-list", str(cpu))) as running,
    ):
        # Its first snapshot is the only one for an hour, unless the table fills up. What has never
        # been in a snapshot stays; so it is the second one that makes room.
        running.read(ROOMY * 13 // 16 + WAKING)
        message = daemon.snapshot(0)
        assert message.files is not None
        assert len(message.files.columns["pid"]) > ROOMY * 3 // 4  # it came while they were read,
        assert files_of(message, running.pid) > ROOMY // 2  # which is why
        running.read(2 * WAKING)
        message = daemon.snapshot(message.now_ns)
        assert message.files is not None
        assert len(message.files.columns["path"]) <= ROOMY * 3 // 4
        assert row_of(message, running.pid)["file_read_bytes"] >= (ROOMY * 13 // 16) * SIZE
        assert message.health["lost"]["bytes"] == 0
        assert_conserved(message)


def files_of(message: wire.Message, pid: int) -> int:
    assert message.files is not None
    return int(message.files.columns["pid"].count(pid))
