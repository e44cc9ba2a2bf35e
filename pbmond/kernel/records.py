"""The kernel's map keys, values and events as numpy types and frozen values.

The layouts are those of ``bpf/pbmon.h``. A test compares the two, and the compiler checks the sizes
before anything is attached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FLOW_KEY = np.dtype(
    [
        ("start_ns", "<u8"),
        ("local", "V16"),
        ("remote", "V16"),
        ("pid", "<u4"),
        ("local_port", "<u2"),
        ("remote_port", "<u2"),
        ("protocol", "<u2"),
        ("family", "u1"),
        ("type", "u1"),
        ("inode", "<u4"),
    ]
)
FILE_KEY = np.dtype(
    [
        ("start_ns", "<u8"),
        ("inode", "<u8"),
        ("pid", "<u4"),
        ("device", "<u4"),
        ("generation", "<u4"),
        ("layer", "<u4"),
    ]
)
OVERFLOW_KEY = np.dtype([("start_ns", "<u8"), ("pid", "<u4"), ("class", "<u4")])
COUNTER = np.dtype(
    [
        ("rx_bytes", "<u8"),
        ("tx_bytes", "<u8"),
        ("rx_calls", "<u8"),
        ("tx_calls", "<u8"),
        ("retransmitted_bytes", "<u8"),
        ("id", "<u8"),
        ("first_ns", "<u8"),
        ("retransmitted_segments", "<u4"),
        ("rtt_us", "<u4"),
        ("netns", "<u4"),
        ("device", "<u4"),
        ("detail", "<u4"),
        ("class", "u1"),
        ("flags", "u1"),
        ("tcp_state", "u1"),
        ("zero", "u1"),
    ]
)

FLAG_ACCEPTED = 1
FLAG_UNLINKED = 2
FLAG_CONNECTED = 4
FLAG_OPENED = 8
FLAG_OWNER = 16
FLAG_OTHER_DEVICE = 32
FLAG_UNPLACED = 64

#: The kernel's mark behind the path of what has no name any more.
DELETED = b" (deleted)"

#: In place of a uid: (uid_t)-1, which no user can have.
NO_VIEWER = 0xFFFFFFFF

#: The clock tick, in which /proc/PID/stat gives start times. USER_HZ is 100 on every architecture
#: that Linux distributions support.
START_TICK_NS = 10_000_000


def same_start(one_ns: int, other_ns: int) -> bool:
    """Return whether two start times of one PID can belong to the same process.

    The kernel's keys and events have the exact time in ns. /proc has only the tick that it falls
    in, here a multiple of START_TICK_NS, and no other interface is more precise (pidfd,
    taskstats). So a multiple of the tick equals every time within that tick. Two exact times are
    equal only to the ns, because a PID can be reused within one tick. Where one side is exact,
    keep it.
    """
    if one_ns == other_ns:
        return True
    coarse = one_ns % START_TICK_NS == 0 or other_ns % START_TICK_NS == 0
    return coarse and one_ns // START_TICK_NS == other_ns // START_TICK_NS


@dataclass(frozen=True, slots=True)
class KernelRows:
    """The rows of one kernel map. ``keys`` and ``counters`` are parallel structured arrays."""

    keys: NDArray[np.void]
    counters: NDArray[np.void]

    def __len__(self) -> int:
        return len(self.counters)


@dataclass(frozen=True, slots=True)
class ProcessSeen:
    """A process executed a program, moved its first byte, or was looked at in /proc.

    ``exe``, ``cmdline`` (NUL-separated, as in /proc) and ``cgroup`` are bytes from the kernel or
    None where they could not be read; `` (deleted)`` ends an ``exe`` that has no name any more.
    ``netns`` is the namespace's inode number. ``uid`` is the effective one. ``viewer`` is the only
    user but root who may see the process, as ptrace's rule has it; NO_VIEWER: nobody.
    """

    pid: int
    start_ns: int
    time_ns: int
    ppid: int
    uid: int
    viewer: int
    name: bytes
    exe: bytes | None
    cmdline: bytes | None
    cgroup: bytes | None
    netns: int | None


@dataclass(frozen=True, slots=True)
class ProcessExited:
    """The last thread of a process has exited. The disk figures are its final I/O accounting."""

    pid: int
    start_ns: int
    time_ns: int
    disk_read_bytes: int
    disk_write_bytes: int


@dataclass(frozen=True, slots=True)
class FileSeen:
    """The path of file row ``id``, as its process sees it. ``whole`` is False if truncated."""

    id: int
    path: bytes
    whole: bool


@dataclass(frozen=True, slots=True)
class UnixSeen:
    """Both names of unix socket row ``id``: a path, an abstract name (leading NUL) or None."""

    id: int
    local: bytes | None
    remote: bytes | None
    remote_inode: int | None


Event = ProcessSeen | ProcessExited | FileSeen | UnixSeen


@dataclass(frozen=True, slots=True)
class HostReading:
    """The kernel's own counters of the host, since boot. None means that it could not be read.

    ``netns`` is the inode number of the network namespace that it is about. By name:
    ``interfaces`` bytes in and out, then packets in and out; ``interface_numbers``, which change
    when an interface is made again under its old name; ``addresses`` of 16 bytes, IPv4 mapped into
    IPv6, of the interfaces that have any (the same object until they change); ``disks`` bytes read
    and written of whole disks; those that are ``stacked`` move the bytes of other disks.
    """

    netns: int | None
    interfaces: Mapping[bytes, tuple[int, int, int, int]] | None
    addresses: Mapping[bytes, frozenset[bytes]] | None
    disks: Mapping[bytes, tuple[int, int]] | None
    stacked: frozenset[bytes]
    retransmitted_segments: int | None
    forwarded_packets: int | None
    interface_numbers: Mapping[bytes, int] | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """All that one tick read from the kernel. Times are CLOCK_BOOTTIME ns except ``wall_ns``.

    ``lost`` counts what is missing from the rows since the daemon started, by reason. ``ahead`` are
    events of the next reading that came while this one was made.
    """

    time_ns: int
    wall_ns: int
    flows: KernelRows
    files: KernelRows
    overflow: KernelRows
    events: tuple[Event, ...]
    lost: dict[str, int]
    host: HostReading
    ahead: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class ProbeRuns:
    """The runs of our programs while the kernel's BPF statistics were on. Both only grow."""

    time_ns: int
    calls: int


@dataclass(frozen=True, slots=True)
class DiskBytes:
    """The kernel's I/O accounting of a process.

    ``children`` None: summed over the living threads, so it falls when a thread exits. Else it is
    the kernel's own sum, with the threads that exited and the children that the process waited for:
    two such sums can be compared if their ``children`` are equal, and with 0 it waited for none.
    """

    read: int
    written: int
    children: int | None = None


#: What one connection had moved before counting began. ``inode`` is that of the socket.
BEFORE = np.dtype(
    [
        ("rx_bytes", "<u8"),
        ("tx_bytes", "<u8"),
        ("netns", "<u4"),
        ("inode", "<u4"),
        ("local_port", "<u2"),
        ("remote_port", "<u2"),
    ]
)


@dataclass(frozen=True, slots=True)
class IoAccounting:
    """The kernel's I/O accounting of a process at one moment, as in /proc/PID/io.

    Bytes that its calls read and wrote, and bytes from and to storage: of all its threads, also
    those that exited, and of the children that it waited for. ``disk`` is what later samples are
    compared with; None if it could not be read.
    """

    pid: int
    start_ns: int
    read: int
    write: int
    disk_read: int
    disk_write: int
    disk: DiskBytes | None


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the kernel itself had counted when our programs began to; ``connections`` are BEFORE."""

    processes: tuple[IoAccounting, ...]
    connections: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class ProcSample:
    """What /proc said about one process in this tick. None means that it could not be read.

    ``start_ns`` is the requested one. ``open_inodes`` has device and inode number of every open
    descriptor, the device as the kernel numbers it. ``seen`` describes the process as it is now.
    ``gone``: (pid, start_ns) no longer exists, and the other fields are None. ``cut``: there was no
    time to read all of it.
    """

    pid: int
    start_ns: int
    disk: DiskBytes | None
    open_inodes: frozenset[tuple[int, int]] | None
    seen: ProcessSeen | None
    gone: bool
    cut: bool = False

    @classmethod
    def of_ended(cls, pid: int, start_ns: int) -> ProcSample:
        """Return the sample of a process that no longer exists."""
        return cls(pid, start_ns, None, None, None, gone=True)
