"""The kernel's map keys, values and events as numpy types and frozen values; no I/O, no clock.

The layouts are those of ``bpf/pbmon.h``; a test compares the two, and the loader compares the
sizes with the compiled programs before anything is attached.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FLOW_KEY = np.dtype(
    [
        ("start_ns", "<u8"),
        ("local", "V16"),
        ("remote", "V16"),
        ("net", "<u8"),
        ("pid", "<u4"),
        ("local_port", "<u2"),
        ("remote_port", "<u2"),
        ("protocol", "<u2"),
        ("family", "u1"),
        ("type", "u1"),
        ("zero", "<u4"),
    ]
)
FILE_KEY = np.dtype(
    [
        ("start_ns", "<u8"),
        ("superblock", "<u8"),
        ("inode", "<u8"),
        ("pid", "<u4"),
        ("generation", "<u4"),
    ]
)
OVERFLOW_KEY = np.dtype([("start_ns", "<u8"), ("pid", "<u4"), ("class", "<u4")])
COUNTER = np.dtype(
    [
        ("rx_bytes", "<u8"),
        ("tx_bytes", "<u8"),
        ("rx_calls", "<u8"),
        ("tx_calls", "<u8"),
        ("id", "<u8"),
        ("first_ns", "<u8"),
        ("netns", "<u4"),
        ("device", "<u4"),
        ("magic", "<u4"),
        ("detail", "<u4"),
        ("mode", "<u2"),
        ("class", "u1"),
        ("flags", "u1"),
        ("zero", "<u4"),
    ]
)

FLAG_ACCEPTED = 1
FLAG_UNLINKED = 2



@dataclass(frozen=True, slots=True)
class Rows:
    """One map as read: ``keys`` and ``counters`` are parallel structured arrays."""

    keys: NDArray[np.void]
    counters: NDArray[np.void]

    def __len__(self) -> int:
        return len(self.counters)


@dataclass(frozen=True, slots=True)
class ProcessSeen:
    """A process executed a program, moved its first byte, or was found in /proc.

    ``exe``, ``cmdline`` (NUL-separated, as in /proc) and ``cgroup`` are bytes from the kernel or
    None where they could not be read; ``netns`` is the namespace's inode number.
    """

    pid: int
    start_ns: int
    time_ns: int
    ppid: int
    uid: int
    name: bytes
    exe: bytes | None
    cmdline: bytes | None
    cgroup: bytes | None
    netns: int | None


@dataclass(frozen=True, slots=True)
class ProcessExited:
    """The last thread of a process is gone; the disk figures are its final I/O accounting."""

    pid: int
    start_ns: int
    time_ns: int
    disk_read_bytes: int
    disk_write_bytes: int


@dataclass(frozen=True, slots=True)
class FileSeen:
    """The path of file row ``id``, as its process sees it; ``whole`` is False if it was cut."""

    id: int
    path: bytes
    whole: bool


@dataclass(frozen=True, slots=True)
class UnixSeen:
    """The two names of unix socket row ``id``: a path, an abstract name (leading NUL) or None."""

    id: int
    local: bytes | None
    remote: bytes | None
    remote_inode: int | None


Event = ProcessSeen | ProcessExited | FileSeen | UnixSeen


@dataclass(frozen=True, slots=True)
class Reading:
    """All that one tick read from the kernel; times are CLOCK_BOOTTIME ns unless named otherwise.

    ``lost`` counts since the daemon started what is missing from the rows, by reason.
    """

    time_ns: int
    wall_ns: int
    flows: Rows
    files: Rows
    overflow: Rows
    events: tuple[Event, ...]
    lost: dict[str, int]
