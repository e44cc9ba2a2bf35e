"""Corners in which counting once went wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest
from processes import row_of, run_python

from pbmond.selftest.private_daemon import Daemon


@pytest.fixture(scope="module", params=["tracepoint", "syscall-exit"])
def daemon(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("run"), sockets=request.param) as running:
        yield running


_SENDMMSG = """
import ctypes, json, os, socket
libc = ctypes.CDLL(None, use_errno=True)
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receivers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
vector = (ctypes.c_uint64 * (8 * 3))()
keep = []
for number, (receiver, size) in enumerate(zip(receivers, (5, 0, 70))):
    receiver.bind(("127.0.0.1", 0))
    port = receiver.getsockname()[1].to_bytes(2, "big")
    family = socket.AF_INET.to_bytes(2, "little")
    name = ctypes.create_string_buffer(family + port + b"\\x7f\\0\\0\\1" + bytes(8))
    data = ctypes.create_string_buffer(size + 1)
    block = (ctypes.c_uint64 * 2)(ctypes.addressof(data), size)
    keep += [name, data, block]
    vector[8 * number : 8 * number + 4] = [
        ctypes.addressof(name), 16, ctypes.addressof(block), 1,
    ]
for _ in range(3):
    assert libc.sendmmsg(sender.fileno(), vector, 3, 0) == 3
print(json.dumps([os.getpid(), [receiver.getsockname()[1] for receiver in receivers]]))
"""


def test_an_empty_datagram_does_not_shift_the_peers_of_the_others(daemon: Daemon) -> None:
    pid, ports = run_python(_SENDMMSG)
    connections = daemon.snapshot().connections
    assert connections is not None
    sent = {row["remote_port"]: row["tx_bytes"] for row in connections.rows() if row["pid"] == pid}
    assert sent == {ports[0]: 15, ports[2]: 210}


_THREADS = """
import json, mmap, os, sys, threading
def write(barrier):
    memory = mmap.mmap(-1, 65536)
    path = sys.argv[1] + str(threading.get_ident())
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    os.ftruncate(descriptor, 65536)
    os.posix_fallocate(descriptor, 0, 65536)
    os.write(descriptor, memory)
    barrier.wait()
    threading.Event().wait()
barrier = threading.Barrier(9)
for _ in range(8):
    threading.Thread(target=write, args=(barrier,), daemon=True).start()
barrier.wait()
os.write(1, json.dumps(os.getpid()).encode())
os._exit(0)
"""


def test_threads_that_end_together_leave_all_their_disk_bytes(
    daemon: Daemon, tmp_path: Path
) -> None:
    pids = [run_python(_THREADS, tmp_path / f"{number}-") for number in range(20)]
    message = daemon.snapshot()
    written = [row_of(message, pid)["disk_write_bytes"] for pid in pids]
    assert min(written) >= 8 * 65536


_DEEP = """
import json, os, sys
os.chdir(sys.argv[1])
for _ in range(int(sys.argv[2])):
    os.mkdir("d" * 250)
    os.chdir("d" * 250)
descriptor = os.open("leaf", os.O_RDWR | os.O_CREAT)
os.write(descriptor, b"x" * 37)
print(json.dumps(os.getpid()))
"""


@pytest.mark.parametrize(("depth", "whole"), [(20, True), (90, False)])
def test_a_path_that_is_too_long_is_marked_as_truncated(
    daemon: Daemon, tmp_path: Path, depth: int, whole: bool
) -> None:
    pid = run_python(_DEEP, tmp_path, depth)
    files = daemon.snapshot().files
    assert files is not None
    (path,) = (row["path"] for row in files.rows() if (row["pid"], row["write_bytes"]) == (pid, 37))
    if whole:
        assert path == bytes(tmp_path) + b"/" + (b"d" * 250 + b"/") * depth + b"leaf"
    else:
        assert path.startswith(b".../d")
        assert path.endswith(b"d/leaf")


_TWO_SHOTS = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from pbmond.selftest.workloads.programs import kernel, ring as uring
ring, pipes = uring.Ring(), [os.pipe(), os.pipe()]
ring.provide_buffers(500, 16)
for read_end, _ in pipes:
    ring.submit(uring.READ_MULTISHOT, read_end, flags=uring.BUFFER_SELECT)
moved = 0
for size in (101, 303, 55):
    for _, write_end in pipes:
        kernel.write(write_end, size)
        moved += ring.result()
print(json.dumps([os.getpid(), moved]))
"""


def test_two_multishot_reads_with_the_same_user_data_count_for_the_process_without_a_file(
    daemon: Daemon,
) -> None:
    before = daemon.snapshot().health["lost"]["calls_without_file"]
    pid, moved = run_python(_TWO_SHOTS, Path(__file__).parents[2])
    message = daemon.snapshot()
    row = row_of(message, pid)
    assert (row["pipe_read_bytes"], row["pipe_read_calls"]) == (moved, 6)
    assert message.health["lost"]["calls_without_file"] - before == 6
    assert message.health["lost"]["bytes"] == 0


_CLOSED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from pbmond.selftest.workloads.programs import aio, kernel
from pbmond.selftest.workloads.programs.program import Run
context, fd = aio.Context(), Run(Path(sys.argv[2])).open("data", 1001)
context.prepare_plain(0, 0, fd, 303)
context.submit()
os.close(fd)
print(flush=True)
input()
print(context.results(), flush=True)
input()
"""


def test_a_result_older_than_the_daemon_whose_file_is_closed_is_reported_as_lost(
    tmp_path: Path,
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    command = [sys.executable, "-I", "-S", "-c", _CLOSED, Path(__file__).parents[2], tmp_path]
    with subprocess.Popen([*map(str, command)], stdin=PIPE, stdout=PIPE, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        with Daemon(run_dir) as daemon:
            process.stdin.write(b"\n")
            assert process.stdout.readline() == b"[303]\n"
            assert daemon.snapshot().health["lost"]["async_results"] == 1
        process.stdin.write(b"\n")
