"""All reads of /proc: processes, their samples, listening ports, the cost of our own processes.

Everything about one process is read through one descriptor of its /proc/PID directory. The kernel
binds that to the process, so an answer never mixes two, even if the PID is reused meanwhile. Any
file may vanish or be refused at any moment. What could not be read is None.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Final

from pbmond.fields import NO_UID
from pbmond.host.inodes import Identity, identity, identity_from_text, mount_devices
from pbmond.host.proc_formats import Stat, parse_cgroup, parse_io, parse_stat
from pbmond.host.viewers import viewer
from pbmond.kernel.records import (
    START_TICK_NS,
    DiskBytes,
    IoAccounting,
    ProcessSeen,
    ProcSample,
    same_start,
)

# Limits on what a single process, which may be hostile, can make us read.
MAX_CMDLINE_BYTES: Final = 4096
MAX_DESCRIPTORS: Final = 4096
MAX_THREADS: Final = 1024

#: How many names a loop goes through between two looks at the clock; each takes some microseconds.
_STRIDE: Final = 16
_MAX_FILE_BYTES: Final = 1 << 16
_MAX_MOUNTINFO_BYTES: Final = 1 << 20
_VANISHED: Final = (FileNotFoundError, ProcessLookupError)
_DEAD_STATES: Final = frozenset((b"Z", b"X", b"x"))
_TCP_LISTEN: Final = b"0A"
#: The kernel's USER_HZ tick, in which stat gives CPU times, too.
_TICK_NS: Final = START_TICK_NS


@dataclass(frozen=True, slots=True)
class Used:
    """What a process has used so far; CPU time in steps of START_TICK_NS."""

    cpu_ns: int
    rss_bytes: int


class Procfs:
    """The proc file system at ``root``, as the initial PID and time namespaces see it."""

    def __init__(self, root: Path = Path("/proc")) -> None:
        self._root = str(root)

    def pids(self) -> list[int]:
        """List the PIDs of all processes, kernel threads and the dead included."""
        return list(self._pids())

    def owner(self, pid: int) -> int:
        """Return the effective uid of a process, NO_UID if it is gone."""
        try:
            return os.stat(f"{self._root}/{pid}").st_uid  # noqa: PTH116 - as in ``_pids``
        except OSError:
            return NO_UID

    def process(self, pid: int) -> ProcessSeen | None:
        """Describe one process; None if it is dead (a zombie is) or cannot be read.

        ``start_ns`` is a multiple of START_TICK_NS: see ``records.same_start``. The command line is
        cut at MAX_CMDLINE_BYTES; kernel threads have None.
        """
        try:
            with _directory(f"{self._root}/{pid}") as fd:
                stat = parse_stat(_read(fd, "stat"))
                living = _living(fd, stat)
                return None if living is None else _describe(fd, pid, stat, living)
        except (OSError, ValueError):
            return None

    def cgroup(self, pid: int) -> bytes | None:
        """Return the most telling cgroup path of a process; None if it is gone."""
        try:
            with _directory(f"{self._root}/{pid}") as fd:
                living = _living(fd, parse_stat(_read(fd, "stat")))
                return None if living is None else parse_cgroup(_read(fd, living + "cgroup"))
        except (OSError, ValueError):
            return None

    def sample(
        self, pid: int, start_ns: int, in_time: Callable[[], bool] = lambda: True
    ) -> ProcSample:
        """Sample a process; ``start_ns`` is exact or as ``process`` gives it.

        Once it is not ``in_time`` any more, the sample is cut: the disk figures and the open files
        that are not read by then are None.

        The disk figures are summed over the living threads, because /proc/PID/io includes every
        child that was waited for. They fall when a thread exits. With more than MAX_THREADS threads
        they are the kernel's sum, children included. The open files are None with more than
        MAX_DESCRIPTORS of them.
        """
        try:
            with _directory(f"{self._root}/{pid}") as fd:
                stat = parse_stat(_read(fd, "stat"))
                living = _living(fd, stat)
                if living is not None and same_start(stat.start_ticks * _TICK_NS, start_ns):
                    return _sample(fd, pid, start_ns, stat, living, pace=_Pace(in_time))
        except _VANISHED:
            pass
        except (OSError, ValueError):  # refused, or we lack descriptors: it may be alive
            return ProcSample(pid, start_ns, None, None, None, gone=False)
        return ProcSample.of_ended(pid, start_ns)

    def accounting(self) -> list[IoAccounting]:
        """Return the I/O accounting of every process that can be read."""
        found = []
        for pid in self._pids():
            with suppress(OSError, ValueError), _directory(f"{self._root}/{pid}") as fd:
                stat = parse_stat(_read(fd, "stat"))
                moved = parse_io(_read(fd, "io"))
                # The threads' disk bytes last: what moves in between is in neither.
                disk = _disk_bytes(fd, pid, stat, _Pace(lambda: True))
                found.append(IoAccounting(pid, stat.start_ticks * _TICK_NS, *moved, disk))
        return found

    def is_alive(self, pid: int, start_ns: int) -> bool:
        """Return whether the process (``pid``, ``start_ns``) still runs; a zombie does not.

        A process that cannot be read counts as alive. This costs a tenth of a sample.
        """
        try:
            with _directory(f"{self._root}/{pid}") as fd:
                stat = parse_stat(_read(fd, "stat"))
                same = same_start(stat.start_ticks * _TICK_NS, start_ns)
                return same and _living(fd, stat) is not None
        except _VANISHED:
            return False
        except (OSError, ValueError):
            return True

    def listening(self) -> set[tuple[int, int]]:
        """Return (network namespace, TCP port) of each listening socket in every namespace."""
        ports: set[tuple[int, int]] = set()
        done: set[int] = set()
        for pid in self._pids():
            with suppress(OSError, ValueError), _directory(f"{self._root}/{pid}") as fd:
                netns = _netns(fd, "")
                if netns is not None and netns not in done:
                    ports.update((netns, port) for port in _listening_ports(fd))
                    done.add(netns)
        return ports

    def boot_id(self) -> str:
        """Return the UUID of this boot; OSError if the kernel does not show it."""
        return Path(self._root, "sys/kernel/random/boot_id").read_text("ascii").strip()

    def used(self, pid: int) -> Used | None:
        """Return what a process has used so far; None if it is gone or cannot be read."""
        try:
            with _directory(f"{self._root}/{pid}") as fd:
                stat = parse_stat(_read(fd, "stat"))
        except (OSError, ValueError):
            return None
        return Used(stat.cpu_ticks * _TICK_NS, stat.rss_pages * os.sysconf("SC_PAGESIZE"))

    def _pids(self) -> Iterator[int]:
        return (int(name) for name in os.listdir(self._root) if name.isdecimal())  # noqa: PTH208 - a Path for each process costs too much


# --- one process, below the descriptor of its directory ------------------------------------------


def _describe(fd: int, pid: int, stat: Stat, living: str) -> ProcessSeen:
    # The effective uid, which permissions depend on. It follows the real one, and is the owner
    # of the directory, whether the process may be dumped or not.
    uid = os.fstat(fd).st_uid
    return ProcessSeen(
        pid=pid,
        start_ns=stat.start_ticks * _TICK_NS,
        time_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        ppid=stat.ppid,
        uid=uid,
        viewer=viewer(fd, living, uid, stat.threads),
        name=stat.name,
        exe=_try_link(fd, living + "exe"),
        cmdline=_try_read(fd, living + "cmdline", MAX_CMDLINE_BYTES) or None,
        cgroup=parse_cgroup(_try_read(fd, living + "cgroup") or b""),
        netns=_netns(fd, living),
    )


class _Pace:
    """Ends the loops of one sample when its time is over; ``cut``: it has ended one."""

    def __init__(self, in_time: Callable[[], bool]) -> None:
        self._in_time = in_time
        self.cut = False

    def each(self, names: Iterable[str]) -> Iterator[str]:
        """Yield ``names``; TimeoutError, which is an OSError, if the time is over."""
        for number, name in enumerate(names):
            if not number % _STRIDE and not self._in_time():
                self.cut = True
                raise TimeoutError
            yield name


def _sample(
    fd: int, pid: int, start_ns: int, stat: Stat, living: str, *, pace: _Pace
) -> ProcSample:
    seen = _describe(fd, pid, stat, living)
    disk = _disk_bytes(fd, pid, stat, pace)
    inodes = _open_inodes(fd, living, pace)
    return ProcSample(pid, start_ns, disk, inodes, seen, gone=False, cut=pace.cut)


def _living(fd: int, stat: Stat) -> str | None:
    """Return the prefix of a living thread's files below ``fd``; None if all threads are dead.

    A main thread that ends before the others becomes a zombie without descriptors or command line.
    Those are then read from another thread.
    """
    if stat.state not in _DEAD_STATES:
        return ""
    if stat.threads > 1:
        for tid in _names(fd, "task", MAX_THREADS) or ():
            with suppress(*_VANISHED):
                if parse_stat(_read(fd, f"task/{tid}/stat")).state not in _DEAD_STATES:
                    return f"task/{tid}/"
    return None


def _disk_bytes(fd: int, pid: int, stat: Stat, pace: _Pace) -> DiskBytes | None:
    """Return what the process itself moved, as far as the kernel tells; None if it cannot be read.

    With more than MAX_THREADS threads, the kernel sums them up, together with the children that the
    process waited for.
    """
    try:
        tids = [str(pid)] if stat.threads == 1 else _names(fd, "task", MAX_THREADS)
        if tids is None:
            disk = parse_io(_read(fd, "io"))[2:]
            return DiskBytes(*disk, children=stat.children_faults)
        sums = []
        for tid in pace.each(tids):
            with suppress(*_VANISHED):  # the thread exited: the sum of the others is right
                sums.append(parse_io(_read(fd, f"task/{tid}/io"))[2:])
    except (OSError, ValueError):
        return None
    if not sums:
        return None
    return DiskBytes(sum(read for read, _ in sums), sum(write for _, write in sums))


def _open_inodes(fd: int, living: str, pace: _Pace) -> frozenset[Identity] | None:
    try:
        numbers = _names(fd, living + "fd", MAX_DESCRIPTORS)
        if numbers is None:
            return None
        devices = cache(partial(_mount_devices, fd, living))
        found = set()
        for number in pace.each(numbers):
            with suppress(*_VANISHED):  # closed meanwhile
                found.add(_open_inode(fd, living, number, devices))
    except (OSError, ValueError):
        return None
    return frozenset(found)


def _open_inode(
    fd: int, living: str, number: str, devices: Callable[[], Mapping[bytes, int]]
) -> Identity:
    try:
        return identity(f"{living}fd/{number}".encode(), fd)
    except OSError:
        # A FUSE mount refuses even root. The kernel still tells, unless the whole process is off
        # limits.
        found = identity_from_text(_read(fd, f"{living}fdinfo/{number}"), devices)
        if found is None:
            raise
        return found


def _netns(fd: int, living: str) -> int | None:
    link = _try_link(fd, living + "ns/net")  # net:[4026531840]
    return None if link is None else int(link.removeprefix(b"net:[").removesuffix(b"]"))


def _listening_ports(fd: int) -> set[int]:
    # tcp6 first: it is missing where IPv6 is off. If tcp is missing, the process is gone.
    ports: set[int] = set()
    with suppress(FileNotFoundError):
        ports.update(_tcp_listeners(fd, "net/tcp6"))
    ports.update(_tcp_listeners(fd, "net/tcp"))
    return ports


def _tcp_listeners(fd: int, name: str) -> Iterator[int]:
    with open(os.open(name, os.O_RDONLY, dir_fd=fd), "rb") as lines:  # noqa: PTH123 - a descriptor
        next(lines, None)
        for line in lines:
            _, local, _, state = line.split(maxsplit=4)[:4]
            if state != _TCP_LISTEN:
                return  # the kernel lists listeners first, and a busy host has 100,000 others
            yield int(local.rpartition(b":")[2], 16)


# --- calls --------------------------------------------------------------------------------------


@contextmanager
def _directory(path: str, dir_fd: int | None = None) -> Iterator[int]:
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def _read(dir_fd: int, name: str, size: int = _MAX_FILE_BYTES) -> bytes:
    fd = os.open(name, os.O_RDONLY, dir_fd=dir_fd)
    try:
        return os.read(fd, size)  # one read returns these files whole
    finally:
        os.close(fd)


def _mount_devices(fd: int, living: str) -> dict[bytes, int]:
    mountinfo = os.open(living + "mountinfo", os.O_RDONLY, dir_fd=fd)
    with os.fdopen(mountinfo, "rb") as file:
        return mount_devices(file.read(_MAX_MOUNTINFO_BYTES))  # in many reads


def _try_read(dir_fd: int, name: str, size: int = _MAX_FILE_BYTES) -> bytes | None:
    try:
        return _read(dir_fd, name, size)
    except OSError:
        return None


def _try_link(dir_fd: int, name: str) -> bytes | None:
    try:
        return os.readlink(name.encode(), dir_fd=dir_fd)
    except OSError:
        return None


def _names(dir_fd: int, name: str, limit: int) -> list[str] | None:
    """List a directory; None if it has more than ``limit`` entries."""
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=dir_fd)
    try:
        with os.scandir(fd) as entries:
            names = [entry.name for entry in islice(entries, limit + 1)]
    finally:
        os.close(fd)
    return None if len(names) > limit else names
