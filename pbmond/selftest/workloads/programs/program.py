"""What a workload program is, and how it keeps account of the bytes that the kernel returned.

A program is a generator function. Up to its first ``yield`` it opens and connects, but moves no
byte that it will account for, so that the daemon can start before or after. Then it moves bytes and
records what the kernel returned, call by call. A call that moved nothing does not count.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import socket
import stat
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pbmond.selftest.workloads.programs.kernel import fork_bound

UNAVAILABLE_ERRNOS = (
    errno.ENOSYS,
    errno.EPERM,
    errno.EACCES,
    errno.EAFNOSUPPORT,
    errno.EPROTONOSUPPORT,
    errno.ESOCKTNOSUPPORT,
    errno.EOPNOTSUPP,
    errno.ENODEV,
)


COUNTS = ("read_bytes", "write_bytes", "read_calls", "write_calls")


class UnavailableError(Exception):
    """The kernel, or the rights of this process, do not offer what the program exercises."""


@contextmanager
def offered(what: str, *numbers: int) -> Iterator[None]:
    """Turn the refusal of a kernel that lacks ``what`` into UnavailableError.

    ``numbers``: further errnos that mean nothing else here.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (*UNAVAILABLE_ERRNOS, *numbers):
            raise UnavailableError(f"{what}: {error.strerror}") from error
        raise


@contextmanager
def fails(number: int) -> Iterator[None]:
    """The block must raise the OSError ``number``."""
    try:
        yield
    except OSError as error:
        if error.errno != number:
            raise
    else:
        raise AssertionError(f"no {errno.errorcode[number]}")


class Account:
    """The account of one file or connection of one process, or the facts of a process."""

    def __init__(self, kind: str, **facts: object) -> None:
        self.facts: dict[str, object] = {"kind": kind, "pid": os.getpid(), **facts}
        self.counts: dict[str, int | None] = {}
        if kind != "process":
            self.counts = dict.fromkeys(COUNTS, 0)

    def read(self, *returned: int) -> None:
        """Add what calls that read or received have returned."""
        self._add("read", returned)

    def write(self, *returned: int) -> None:
        """Add what calls that wrote or sent have returned."""
        self._add("write", returned)

    def calls_unknown(self) -> None:
        """Do not check the number of calls: the kernel may move these bytes in several steps."""
        self.counts["read_calls"] = self.counts["write_calls"] = None

    def _add(self, way: str, returned: tuple[int, ...]) -> None:
        for size in returned:
            self.counts[f"{way}_bytes"] = (self.counts[f"{way}_bytes"] or 0) + size
            calls = self.counts[f"{way}_calls"]
            if size and calls is not None:
                self.counts[f"{way}_calls"] = calls + 1

    def as_json(self) -> dict[str, object]:
        """Return the account as the harness parses it."""
        return self.facts | self.counts


class Child:
    """A forked process that reports its rows through shared memory, which takes no call."""

    def __init__(self, pid: int, memory: mmap.mmap) -> None:
        self.pid = pid
        self._memory = memory

    def join(self) -> list[dict[str, object]]:
        """Wait for its end. The returned rows have the pid as this process sees it."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        report = self._memory[:].rstrip(b"\0")
        answer = json.loads(report) if report else {}
        if "unavailable" in answer:
            raise UnavailableError(answer["unavailable"])
        if status != 0:
            raise RuntimeError(f"child {self.pid} ended with {status}")
        # Its own namespace may give it another pid.
        own = {"pid": self.pid}
        return [row | own if row["pid"] == answer["pid"] else row for row in answer["rows"]]


class Gate:
    """One process waits until another opens the gate. No byte is moved."""

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe()

    def open(self) -> None:
        """Let the waiting process go on."""
        os.close(self._write_fd)

    def wait(self) -> None:
        """Wait until the other process has opened the gate, or is gone."""
        os.close(self._write_fd)
        os.read(self._read_fd, 1)


class Run:
    """One run of a program: its directory, its accounts, and what to clean up at the end."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.rows: list[Account] = []
        self.reported: list[dict[str, object]] = []
        self.at_exit = ExitStack()
        self._kept: list[object] = []

    def open(self, name: str | bytes, size: int = 0, flags: int = 0) -> int:
        """Create or open a file for reading and writing, filled with a hole of ``size`` bytes."""
        path = os.path.join(os.fsencode(self.scratch), os.fsencode(name))  # noqa: PTH118  bytes
        fd = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)
        if size:
            os.ftruncate(fd, size)
        return fd

    def keep(self, *things: object) -> None:
        """Hold descriptors' owners open until the program exits."""
        self._kept += things

    def add(self, row: Account) -> Account:
        """Add ``row`` to the accounts."""
        self.rows.append(row)
        return row

    def file(self, fd: int, byte_class: str = "file", path: bytes | None = None) -> Account:
        """Open the account of an open file. The path is the one that this process sees."""
        status = os.fstat(fd)
        target = path or os.fsencode(Path(f"/proc/thread-self/fd/{fd}").readlink())
        unlinked = status.st_nlink == 0 and stat.S_ISREG(status.st_mode)
        return self.add(
            Account(
                "file",
                byte_class=byte_class,
                path=os.fsdecode(target.removesuffix(b" (deleted)") if unlinked else target),
                device=status.st_dev,
                inode=status.st_ino,
                unlinked=unlinked,
            )
        )

    def pipe(self, fd: int) -> Account:
        """Open the account of a pipe: both ends are one file, identified by its inode number."""
        row = self.file(fd, "pipe")
        row.facts["path"] = None
        return row

    def connection(
        self,
        owner: socket.socket,
        byte_class: str = "loopback",
        direction: str = "unknown",
        to: tuple[str, int] | None = None,
    ) -> Account:
        """Open the account of a socket. ``to`` is the peer of the datagrams if not connected."""
        self.keep(owner)
        facts = {
            "byte_class": byte_class,
            "direction": direction,
            "family": int(owner.family),
            "type": int(owner.type),
            "protocol": owner.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL),
            "inode": os.fstat(owner.fileno()).st_ino,
            "netns": os.stat("/proc/thread-self/ns/net").st_ino,  # noqa: PTH116  light start
        }
        if owner.family in (socket.AF_INET, socket.AF_INET6):
            facts["local_address"], facts["local_port"] = owner.getsockname()[:2]
            peer = to or _peer(owner)
            facts["remote_address"], facts["remote_port"] = peer[:2] if peer else (None, None)
            if facts["protocol"] == socket.IPPROTO_ICMP:
                facts["local_port"] = facts["remote_port"] = None  # it has none, whatever it says
        elif owner.family == socket.AF_UNIX:
            facts["local_name"] = _unix_name(owner.getsockname())
            facts["remote_name"] = _unix_name(_peer(owner))
        return self.add(Account("connection", **facts))

    def process(self, pid: int, name: bytes, cmdline: tuple[bytes, ...]) -> Account:
        """Record a process that this program started and that has exited."""
        whole = os.fsdecode(b"".join(part + b"\0" for part in cmdline))
        facts = {"pid": pid, "name": os.fsdecode(name), "cmdline": whole}
        return self.add(Account("process", **facts))

    def fork(self, job: Callable[[Run], None], forker: Callable[[], int] = fork_bound) -> Child:
        """Run ``job`` in a forked process. ``join`` adds its rows to these accounts."""
        memory = mmap.mmap(-1, 1 << 18)
        pid = forker()
        if pid:
            return Child(pid, memory)
        status = 1
        inner = Run(self.scratch)
        try:
            job(inner)
            memory.write(json.dumps({"pid": os.getpid(), "rows": inner.report()}).encode())
            status = 0
        except UnavailableError as reason:
            memory.write(json.dumps({"unavailable": str(reason)}).encode())
        except BaseException:  # noqa: BLE001  nothing may return into the parent's code
            traceback.print_exc()
        finally:
            os._exit(status)

    def join(self, child: Child) -> None:
        """Wait for ``child`` and add its rows to these accounts."""
        self.reported += child.join()

    def report(self) -> list[dict[str, object]]:
        """Return all rows, including the children's."""
        return [row.as_json() for row in self.rows] + self.reported


def _peer(owner: socket.socket) -> Any:  # noqa: ANN401  as the family writes it
    try:
        return owner.getpeername()
    except OSError:
        return None


def _unix_name(name: object) -> str | None:
    """Return a path, an abstract name with its leading NUL, or None without a name."""
    text = os.fsdecode(name) if isinstance(name, str | bytes) else ""
    return text or None


def start_ticks() -> tuple[int, int]:
    """Return when this process started, in ticks since boot, and how many bytes were read."""
    status = Path("/proc/self/stat").read_bytes()
    return int(status.rpartition(b")")[2].split()[19]), len(status)


Program = Callable[[Run], Iterator[None]]
PROGRAMS: dict[str, Program] = {}
LEADERLESS: set[Program] = set()
#: Words in health.unseen that excuse missing bytes of a program.
UNSEEN: dict[Program, str] = {}


def program(function: Program) -> Program:
    """Register ``function`` as the program ``module.function``."""
    PROGRAMS[f"{function.__module__.rpartition('.')[2]}.{function.__name__}"] = function
    return function


def leaderless(function: Program) -> Program:
    """Let ``function`` run in a second thread, after the main thread has ended."""
    LEADERLESS.add(function)
    return function


def unseen(words: str) -> Callable[[Program], Program]:
    """Excuse missing bytes of the program if a line of health.unseen contains ``words``."""

    def mark(function: Program) -> Program:
        UNSEEN[function] = words
        return function

    return mark
