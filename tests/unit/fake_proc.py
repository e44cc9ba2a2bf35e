"""Builds a /proc in a directory, and lets the system calls on it fail."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pbmond.host import inodes, procfs
from pbmond.kernel.records import START_TICK_NS, ProcSample

CALLS = ("open", "read", "readlink", "scandir")
START_TICKS = 777
START_NS = START_TICKS * START_TICK_NS
LISTEN = "   0: 00000000:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 9\n"
ESTABLISHED = LISTEN.replace(" 0A ", " 01 ")
TCP_HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"


def stat_line(
    pid: int,
    *,
    name: bytes = b"cat",
    state: str = "S",
    ppid: int = 1,
    threads: int = 1,
    start_ticks: int = START_TICKS,
) -> bytes:
    """Make one of the kernel's lines: 5 + 7 ticks of CPU time, 411 pages."""
    times = f"7 5 0 0 20 0 {threads} 0 {start_ticks} 3000000 411"
    rest = f"{state} {ppid} 1 1 0 -1 4194304 90 0 0 0 {times}" + " 18446744073709551615" * 28
    return b"%d (%s) %s\n" % (pid, name, rest.encode())


def io_text(read_bytes: int, write_bytes: int) -> str:
    return (
        f"rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: {read_bytes}\n"
        f"write_bytes: {write_bytes}\ncancelled_write_bytes: 9\n"
    )


class FakeProc:
    """Builds a /proc in a directory; each method writes one thing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "self").mkdir(parents=True)
        (root / "uptime").write_text("1.0 1.0\n")

    def thread(self, base: Path) -> None:
        """What belongs to a thread that lives: exe, command line, cgroup, namespace, files."""
        (base / "fd").mkdir(parents=True)
        (base / "fdinfo").mkdir()
        (base / "ns").mkdir()
        (base / "exe").symlink_to("/usr/bin/cat")
        (base / "cmdline").write_bytes(b"cat\0-n\0")
        (base / "cgroup").write_text("0::/system.slice/cron.service\n")
        (base / "ns" / "net").symlink_to("net:[4026531840]")
        (base / "ns" / "user").symlink_to("user:[4026531837]")
        (base / "environ").touch()
        self.status(base)

    def status(self, base: Path, *uids: int, capabilities: int = 0) -> None:
        """What says which users a thread is of; by default, this process's owner alone."""
        real, effective, saved = uids or (os.getuid(),) * 3
        lines = f"Name:\tcat\nUid:\t{real}\t{effective}\t{saved}\t{effective}\n"
        (base / "status").write_text(f"{lines}CapPrm:\t{capabilities:016x}\n")

    def process(self, pid: int, **stat: Any) -> Path:
        base = self.root / str(pid)
        self.thread(base)
        task = base / "task" / str(pid)
        task.mkdir(parents=True)
        (base / "stat").write_bytes(stat_line(pid, **stat))
        (base / "io").write_text(io_text(900_001, 900_003))  # with its reaped children's
        (task / "io").write_text(io_text(4097, 8193))
        (base / "net").mkdir()
        (base / "net" / "tcp").write_text(TCP_HEADER)
        (base / "net" / "tcp6").write_text(TCP_HEADER)
        return base

    def open_file(self, base: Path, number: int, target: Path) -> None:
        target.touch()
        (base / "fd" / str(number)).symlink_to(target)


def identity_of(file: Path | os.stat_result) -> tuple[int, int]:
    """Return device and inode number, as the kernel numbers them."""
    status = file.stat() if isinstance(file, Path) else file
    return os.major(status.st_dev) << 20 | os.minor(status.st_dev), status.st_ino


def gone(pid: int, start_ns: int) -> ProcSample:
    return ProcSample(pid, start_ns, None, None, None, gone=True)


def unknown(pid: int, start_ns: int) -> ProcSample:
    return ProcSample(pid, start_ns, None, None, None, gone=False)


@contextlib.contextmanager
def failing(nth: int, error: int, *, once: bool = False) -> Iterator[list[str]]:
    """Let the ``nth`` system call of procfs (from 0) fail, and unless ``once`` all later ones.

    Yields the names of the calls made.
    """
    made: list[str] = []

    def wrap(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def fail_or_call(*args: Any, **options: Any) -> Any:
            made.append(name)
            if len(made) == nth + 1 or (len(made) > nth and not once):
                raise OSError(error, os.strerror(error))
            return call(*args, **options)

        return fail_or_call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, wrap(name, getattr(os, name)))
        patch.setattr(procfs, "identity", wrap("identity", inodes.identity))
        yield made
