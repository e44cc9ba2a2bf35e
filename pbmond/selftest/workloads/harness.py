"""Starts workload programs, steers them, and parses what they report the kernel returned.

The processes of a program move only the bytes that it reports, and the lines that it exchanges with
the harness. Any other byte in their rows is an error.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pbmond.patience import handed_down, patient
from pbmond.selftest.workloads.programs import PROGRAMS, UNSEEN, UnavailableError

#: Every program, in the order in which they run, and a line about each.
NAMES = tuple(PROGRAMS)
ABOUT = {name: (body.__doc__ or "").partition("\n")[0] for name, body in PROGRAMS.items()}
#: Words in health.unseen that excuse missing bytes, by program.
EXCUSES = {name: UNSEEN[body] for name, body in PROGRAMS.items() if body in UNSEEN}
_PACKAGE_ROOT = Path(__file__).resolve().parents[3]
_HUNG_AFTER_S = 20  # nothing here takes seconds, and a hang must not block the whole run


class WorkloadError(Exception):
    """A program failed. The message says why, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedFile:
    """Bytes that process ``pid`` moved through one file. A field that is None is not checked.

    ``path`` is as the process sees it. ``device`` and ``inode`` are from stat. ``start_ticks``
    (clock ticks since boot) distinguishes two processes with the same pid.
    """

    pid: int
    byte_class: str
    path: bytes | None
    device: int | None
    inode: int | None
    unlinked: bool
    read_bytes: int
    write_bytes: int
    read_calls: int | None
    write_calls: int | None
    start_ticks: int | None = None
    control: bool = False  # a line exchanged with the harness


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedConnection:
    """Bytes that process ``pid`` moved through one socket. A field that is None is not checked.

    Rows that share ``inode`` differ in the remote end. If the remote end is None, the numbers are
    sums over the socket's rows. Unix names are paths or, with a leading NUL, abstract.
    """

    pid: int
    byte_class: str
    direction: str
    family: int
    type: int
    protocol: int
    inode: int
    netns: int
    local_address: str | None = None
    local_port: int | None = None
    remote_address: str | None = None
    remote_port: int | None = None
    local_name: bytes | None = None
    remote_name: bytes | None = None
    read_bytes: int
    write_bytes: int
    read_calls: int | None
    write_calls: int | None
    retransmitted_segments: int | None = None
    retransmitted_bytes: int | None = None
    rtt_us: tuple[int, int] | None = None  # from, to


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedProcess:
    """A process that a workload started and that has exited. ``cmdline`` is NUL-separated."""

    pid: int
    name: bytes
    cmdline: bytes


Expectation = ExpectedFile | ExpectedConnection | ExpectedProcess
_KINDS = {"file": ExpectedFile, "connection": ExpectedConnection, "process": ExpectedProcess}
_BYTES = ("path", "local_name", "remote_name", "name", "cmdline")


def _parse(row: dict[str, Any]) -> Expectation:
    names = {key: os.fsencode(row[key]) for key in _BYTES if row.get(key) is not None}
    expectation: Expectation = _KINDS[row.pop("kind")](**(row | names))
    return expectation


class Workload:
    """One running program, set up and waiting. A context manager that ends it."""

    def __init__(self, name: str, directory: Path, pipes: tuple[int, int], started_ns: int) -> None:
        """Wait until ``name`` is ready. ``pipes`` are its input and its output.

        None of its processes started before ``started_ns`` (CLOCK_BOOTTIME).
        """
        self.name = name
        self.directory = directory
        self.started_ns = started_ns
        self._pid: int | None = None
        self._orders, answers = pipes
        self._answers = os.fdopen(answers, "rb")
        self._control = tuple(os.fstat(fd) for fd in pipes)
        self._ran = False  # it has moved all its bytes, and waits before it cleans up
        self._size = 0
        try:
            self._pid = self._answer("ready")
            self._until_it_waits()
        except BaseException:
            self.exit()
            raise

    def go(self) -> list[Expectation]:
        """Let it move its bytes. UnavailableError if the kernel does not offer the path."""
        self._send_line()
        rows = [_parse(row) for row in self._answer("rows")]
        self._until_it_waits()
        return [*rows, *self._exchanged()]

    def exit(self) -> None:
        """Let it clean up and end, and remove its directory.

        Raises WorkloadError if it cannot clean up.
        """
        try:
            if self._ran:
                self._send_line()
            os.close(self._orders)  # if it is waiting for a line, it ends
            with self._answers:
                last = self._rest()
            if self._ran and not last.startswith(b'{"done"'):
                raise WorkloadError(f"the program did not end well: {os.fsdecode(last)}")
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.exit()

    def _exchanged(self) -> list[Expectation]:
        """Return what the program itself read and wrote between "ready" and its last answer."""
        moved = ((1, 0), (0, self._size))
        return [
            ExpectedFile(
                pid=self._pid or 0,
                byte_class="pipe",
                path=None,
                device=status.st_dev,
                inode=status.st_ino,
                unlinked=False,
                read_bytes=read,
                write_bytes=written,
                read_calls=read,
                write_calls=int(bool(written)),
                control=True,
            )
            for status, (read, written) in zip(self._control, moved, strict=True)
        ]

    def _send_line(self) -> None:
        with suppress(BrokenPipeError):  # it ended early; its answer, or the lack of one, says why
            os.write(self._orders, b"\n")

    def _answer(self, key: str) -> Any:  # noqa: ANN401  the pid, the rows: whatever JSON holds
        line = self._line()
        self._size = len(line)
        answer = json.loads(line) if line else {"failed": "the program ended early"}
        if "failed" in answer:
            raise WorkloadError(answer["failed"])
        self._ran = key != "ready" or key not in answer
        if "unavailable" in answer:
            raise UnavailableError(answer["unavailable"])
        return answer[key]

    def _line(self) -> bytes:
        if not select.select([self._answers], [], [], patient(_HUNG_AFTER_S))[0]:
            if self._pid is not None:
                os.kill(self._pid, signal.SIGKILL)
            self._ran = False
            raise WorkloadError("the program hangs")
        return self._answers.readline()

    def _until_it_waits(self) -> None:
        """Wait until it has returned from the write of its answer: only then is that counted.

        Its answer can be read before write(2) has returned.
        """
        stat = Path(f"/proc/{self._pid}/stat")
        deadline = time.monotonic() + patient(_HUNG_AFTER_S)
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            while stat.read_bytes().rpartition(b") ")[2][:1] in (b"R", b"D"):
                if time.monotonic() > deadline:
                    raise WorkloadError("the program hangs")
                time.sleep(0.001)

    def _rest(self) -> bytes:
        """Read until it and everything it forked have ended. Return the last line."""
        last = b""
        while line := self._line():
            last = line
        return last


class Runner:
    """The process that forks the programs. A context manager that ends it, and thereby them."""

    def __init__(self) -> None:
        """Start it."""
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        module = f"{__package__}.run"
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of ours
                [sys.executable, "-s", "-P", "-m", module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # only the harness handles Ctrl-C
                env={
                    "PYTHONPATH": str(_PACKAGE_ROOT),
                    "LC_ALL": "C.UTF-8",
                    # With more, glibc reads a file in /sys when a thread asks for memory.
                    "MALLOC_ARENA_MAX": "1",
                    **handed_down(),
                },
            )

    def start(self, name: str, scratch: Path, seed: int = 0) -> Workload:
        """Start the program ``name`` in a new directory under ``scratch`` and let it set up.

        ``seed`` varies its sizes; 0 leaves them as written. Raises UnavailableError if the kernel
        does not offer the path, WorkloadError if the program fails.
        """
        directory = Path(tempfile.mkdtemp(prefix="workload-", dir=scratch))
        stdin, orders = os.pipe()
        answers, stdout = os.pipe()
        started_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        request = {"name": name, "directory": str(directory), "seed": seed}
        try:
            socket.send_fds(self._channel, [json.dumps(request).encode()], [stdin, stdout])
        finally:
            os.close(stdin)
            os.close(stdout)
        return Workload(name, directory, (orders, answers), started_ns)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        self._process.wait()
