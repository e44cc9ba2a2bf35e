"""The daemon's life with real programs in a real kernel: start, overflow, deaths, and the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conservation import assert_conserved
from processes import row_of, run_python
from waiting import wait_until

from pbmond.loader import bpf
from pbmond.patience import patient
from pbmond.selftest.private_daemon import Daemon, switches

_PBMOND = str(Path(sys.executable).with_name("pbmond"))
_PATIENCE_S = patient(60.0)


def programs_of(pid: int) -> set[int]:
    """Return the ids of the eBPF programs that process ``pid`` holds."""
    found = set()
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # the daemon reads /proc, so descriptors come and go
            match = re.search(r"^prog_id:\s*(\d+)$", entry.read_text(), re.MULTILINE)
            if match:
                found.add(int(match[1]))
    return found


def assert_gone(programs: set[int]) -> None:
    """Wait until the kernel has none of these programs any more."""
    assert programs
    deadline = time.monotonic() + _PATIENCE_S
    while left := {program for program in programs if bpf.is_loaded(program)}:
        assert time.monotonic() < deadline, f"programs {left} are still loaded"
        time.sleep(0.05)


_MOVE = """
import json, os, socket
one, other = socket.socketpair()
one.send(b"x" * 331)
os.write(os.open("/dev/null", os.O_WRONLY), b"x" * 1237)
print(os.getpid())
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon for all tests that do not end it."""
    with Daemon(tmp_path_factory.mktemp("daemon")) as running:
        yield running


def test_sigterm_ends_all_and_leaves_no_program(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        programs = programs_of(daemon.process.pid)
        assert daemon.stop() == 0
    assert_gone(programs)


def test_ctrl_c_ends_like_sigterm(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.process.wait(_PATIENCE_S) == 0


def test_sighup_neither_ends_it_nor_reloads_anything(daemon: Daemon) -> None:
    before = daemon.snapshot()
    daemon.process.send_signal(signal.SIGHUP)
    pid = run_python(_MOVE)
    after = daemon.snapshot()
    assert after.epoch == before.epoch
    assert row_of(after, pid)["device_write_bytes"] == 1237
    words = "the configuration is read only at the start"
    wait_until(lambda: "" if words in daemon.log.read_text() else words)


def test_a_killed_collector_leaves_neither_program_nor_publisher(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        programs, publisher = programs_of(daemon.process.pid), daemon.publisher()
        daemon.process.kill()
        daemon.process.wait()
        assert_gone(programs)
        deadline = time.monotonic() + _PATIENCE_S
        while Path(f"/proc/{publisher}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_killed_publisher_comes_back_and_nothing_is_lost(daemon: Daemon) -> None:
    before = daemon.snapshot()
    first = daemon.publisher()
    os.kill(first, signal.SIGKILL)
    pid = run_python(_MOVE)
    after = daemon.snapshot()
    assert after.epoch == before.epoch
    assert row_of(after, pid)["device_write_bytes"] == 1237
    assert daemon.publisher() != first


def test_the_frames_that_it_hands_to_the_publisher_are_no_rows_of_its_own(daemon: Daemon) -> None:
    daemon.snapshot()
    message = daemon.snapshot()
    assert message.files is not None
    pids = daemon.process.pid, daemon.publisher()
    own = [row["path"] or b"" for row in message.files.rows() if row["pid"] in pids]
    assert own
    assert not [path for path in own if b"memfd:" in path]


def test_a_second_daemon_names_the_first_and_leaves_it_alone(
    daemon: Daemon, tmp_path: Path
) -> None:
    before = daemon.snapshot()
    second = subprocess.run(
        [
            *(_PBMOND, "--config", f"{daemon.directory}/pbmond.toml", *switches()),
            *("--log-file", f"{tmp_path}/log"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert str(daemon.process.pid) in second.stderr
    assert second.stderr.count("\n") == 1
    assert daemon.snapshot().epoch == before.epoch


def test_the_start_says_in_one_line_what_attached(daemon: Daemon) -> None:
    (line,) = (line for line in daemon.log.read_text().splitlines() if "hooks" in line)
    said = r"attached \d+ hooks: sockets by tracepoint, files by syscall-exit, reads by cast"
    assert re.search(said, line)


def test_files_off_leaves_files_out_and_says_what_is_unseen(tmp_path: Path) -> None:
    with Daemon(tmp_path, files="off") as daemon:
        pid = run_python(_MOVE)
        message = daemon.snapshot()
    row = row_of(message, pid)
    assert (row["unix_tx_bytes"], row["device_write_bytes"]) == (331, 0)
    assert message.health["modes"]["files"] == "off"
    assert any("splice" in line for line in message.health["unseen"])


def test_sockets_off_leaves_sockets_out(tmp_path: Path) -> None:
    with Daemon(tmp_path, sockets="off") as daemon:
        pid = run_python(_MOVE)
        row = row_of(daemon.snapshot(), pid)
    assert (row["unix_tx_bytes"], row["device_write_bytes"]) == (0, 1237)


_DISK = """
import mmap, os, sys, threading
def write(number):
    memory = mmap.mmap(-1, 8192)
    descriptor = os.open(f"{sys.argv[1]}/{number}", os.O_RDWR | os.O_DIRECT)
    for _ in range(3):
        os.write(descriptor, memory)
threads = [threading.Thread(target=write, args=(n,)) for n in range(1, int(sys.argv[2]) + 1)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
write(0)
print(os.getpid())
"""
_DISK_BYTES = 3 * 8192  # of one thread


def written_before(directory: Path, files: int) -> Path:
    """Make the files that _DISK writes, with blocks of their own that lie on the disk.

    Then direct writes are all that the process causes. New blocks would also dirty pages of the
    file system, an unknown number of which counts for the process.
    """
    directory.mkdir()
    for number in range(files):
        with (directory / str(number)).open("wb") as file:
            file.write(b"x" * _DISK_BYTES)
            file.flush()
            os.fsync(file.fileno())
    return directory


@pytest.mark.parametrize("threads", [0, 5])
def test_disk_bytes_of_all_threads_outlive_their_process(
    daemon: Daemon, tmp_path: Path, threads: int
) -> None:
    pid = run_python(_DISK, written_before(tmp_path / "data", threads + 1), threads)
    row = row_of(daemon.snapshot(), pid)
    written = (threads + 1) * _DISK_BYTES
    assert (row["file_write_bytes"], row["disk_write_bytes"]) == (written, written)


_RUN_CHILD = """
import json, os, subprocess, sys
command = [sys.argv[1], "-I", "-S", "-c", *sys.argv[2:]]
child = subprocess.run(command, check=True, capture_output=True).stdout
print(json.dumps([int(child), os.getpid()]))
"""


def test_disk_bytes_are_not_those_of_children_too(daemon: Daemon, tmp_path: Path) -> None:
    directory = written_before(tmp_path / "data", 1)
    child, parent = run_python(_RUN_CHILD, sys.executable, _DISK, directory, 0)
    message = daemon.snapshot()
    assert row_of(message, child)["disk_write_bytes"] == _DISK_BYTES
    assert row_of(message, parent)["disk_write_bytes"] == 0


def test_rows_and_retired_make_up_the_totals_while_processes_come_and_go(daemon: Daemon) -> None:
    for _ in range(3):
        for _ in range(20):
            subprocess.run(["/bin/cat", "/etc/passwd"], stdout=subprocess.DEVNULL, check=True)
        message = daemon.snapshot()
        assert_conserved(message)
    assert message.health["lost"] == dict.fromkeys(message.health["lost"], 0)
