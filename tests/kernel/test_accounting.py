"""/proc/PID/io, the kernel's own accounting, says what pbmon says where it is defined."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Row, row_of
from waiting import wait_until

from pbmond.fields import CLASSES, counter_names
from pbmond.selftest.private_daemon import Daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("run")) as running:
        yield running


#: What ``rchar`` and ``wchar`` hold: proc(5) says "read(2) and similar", fs/read_write.c that it is
#: the read and write families on whatever they move, sendfile(2) and copy_file_range(2).
DEFINED = {
    "file": "[os.write(file, block), os.pread(file, 301, 0)]",
    "file-vectors": "[os.writev(file, [block, block]), os.preadv(file, [bytearray(77)] * 3, 5)]",
    "short": "[os.pwrite(file, block, 50), os.pread(file, 1 << 20, 0)]",
    "pipe": "[os.write(pipe[1], block), os.read(pipe[0], 4096)]",
    "device": "[os.read(zero, 70_000), os.write(null, bytes(1_000_000))]",
    "socket": "[os.write(left, block), os.writev(right, [block] * 3), os.read(right, 501)]",
    "sendfile-to-socket": "[os.pwrite(file, block, 0), os.sendfile(left, file, 0, 333)]",
    "sendfile-to-file": "[os.pwrite(file, block, 0), os.sendfile(other, file, 0, 444)]",
    "copy": "[os.pwrite(file, block, 0), os.copy_file_range(file, other, 555, 0, 0)]",
}
_CALLS = """
import os, socket, sys
scratch, calls = sys.argv[1:]
file, other = (os.open(scratch + name, os.O_RDWR | os.O_CREAT) for name in ("/file", "/other"))
zero, null = os.open("/dev/zero", os.O_RDONLY), os.open("/dev/null", os.O_WRONLY)
pipe, ends = os.pipe(), socket.socketpair()
left, right = (end.fileno() for end in ends)
block = b"x" * 1003
code = compile(calls, "calls", "eval")
for _ in range(2):
    os.write(1, b".")
    os.read(0, 1)
    eval(code)
"""


def accounting(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return {name: int(value) for name, _, value in (line.partition(": ") for line in lines)}


def waits(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def counted(row: Row) -> dict[str, int]:
    """What pbmon has for each figure of /proc/PID/io: over all classes, but that of the disk."""
    sums = dict.fromkeys(("rchar", "wchar", "syscr", "syscw"), 0)
    for kind in CLASSES:
        for name, counter in zip(sums, counter_names(kind), strict=True):
            sums[name] += row[counter]
    return sums


@pytest.mark.parametrize("calls", DEFINED.values(), ids=DEFINED)
def test_the_kernels_own_accounting(daemon: Daemon, tmp_path: Path, calls: str) -> None:
    """Between two moments at which the process waits; what the exec read is before them."""
    command = [sys.executable, "-I", "-S", "-c", _CALLS, str(tmp_path), calls]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        moments = []
        for _ in range(2):
            assert process.stdout.read(1) == b"."
            # It may still be inside the write.
            wait_until(lambda: "" if waits(process.pid) else "a process that waits for input")
            kernels = accounting(process.pid)
            moments.append((kernels, counted(row_of(daemon.snapshot(), process.pid))))
            process.stdin.write(b".")
    assert process.returncode == 0
    (kernels_before, before), (kernels_after, after) = moments
    for name in before:
        assert after[name] - before[name] == kernels_after[name] - kernels_before[name] > 0
