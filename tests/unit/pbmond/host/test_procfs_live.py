"""The same reads on this kernel's own /proc."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_proc import gone, identity_of

from pbmond.host import proc_formats
from pbmond.host.procfs import Procfs
from pbmond.patience import patient

# --- this kernel's own /proc --------------------------------------------------------------------


@contextlib.contextmanager
def child(program: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that has run ``program`` and waits for its standard input to close."""
    command = [sys.executable, "-I", "-c", program + "; print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def test_this_process_reads_itself(tmp_path: Path) -> None:
    root, pid = Procfs(), os.getpid()
    with (tmp_path / "data").open("wb") as data, socket.socket() as connection:
        seen = root.process(pid)
        assert seen is not None
        sample = root.sample(pid, seen.start_ns)
        for number in (data.fileno(), connection.fileno()):
            stat = os.fstat(number)
            assert sample.open_inodes is not None
            assert identity_of(stat) in sample.open_inodes
    assert (seen.ppid, seen.uid) == (os.getppid(), os.geteuid())
    assert seen.exe == bytes(Path("/proc/self/exe").readlink())
    assert seen.netns == Path("/proc/self/ns/net").stat().st_ino
    assert seen.start_ns <= seen.time_ns
    assert pid in root.pids()
    assert root.owner(pid) == seen.uid


def test_a_listening_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = (Path("/proc/self/ns/net").stat().st_ino, server.getsockname()[1])
        assert found in Procfs().listening()
    assert found not in Procfs().listening()


def test_a_real_zombie_is_gone() -> None:
    with child("pass") as process:
        seen = Procfs().process(process.pid)
        assert seen is not None
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, not reaped
        assert Procfs().sample(process.pid, seen.start_ns) == gone(process.pid, seen.start_ns)


def test_a_real_process_is_alive_after_its_main_thread_ended() -> None:
    program = (
        "import ctypes, threading; "
        "threading.Thread(target=lambda: (print(flush=True), input())).start(); "
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    with child(program) as process:
        stat = Path(f"/proc/{process.pid}/stat")
        for _ in range(round(100 * patient(60))):
            if proc_formats.parse_stat(stat.read_bytes()).state == b"Z":
                break
            time.sleep(0.01)
        else:
            pytest.fail("the main thread did not end")
        seen = Procfs().process(process.pid)
        assert seen is not None
        sample = Procfs().sample(process.pid, seen.start_ns)
    assert (seen.exe, seen.ppid) == (bytes(Path("/proc/self/exe").readlink()), os.getpid())
    assert seen.cmdline is not None
    assert b"pthread_exit" in seen.cmdline
    assert not sample.gone
    assert sample.open_inodes


def test_a_reaped_child_adds_nothing_to_its_parents_disk_bytes(
    tmp_path: Path,
) -> None:
    """The kernel adds a reaped child's I/O to the parent's /proc/PID/io; ours must not show it."""
    program = f"import os; f = open({str(tmp_path / 'data')!r}, 'wb'); f.write(bytes(5_000_000)); "
    program += "f.flush(); os.fsync(f.fileno())"
    seen = Procfs().process(os.getpid())
    assert seen is not None
    before = Procfs().sample(os.getpid(), seen.start_ns).disk
    io = Path("/proc/self/io")
    shown_before = proc_formats.parse_io(io.read_bytes())[1]
    subprocess.run([sys.executable, "-I", "-c", program], check=True)
    if proc_formats.parse_io(io.read_bytes())[1] - shown_before < 5_000_000:
        pytest.skip("the temporary directory is in memory: nothing reached storage")
    after = Procfs().sample(os.getpid(), seen.start_ns).disk
    assert before is not None
    assert after is not None
    assert after.written - before.written < 5_000_000
