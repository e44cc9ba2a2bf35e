"""Factories of records and readings for tests; every field has a plausible default."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbmond.fields import CLASSES
from pbmond.kernel.records import (
    COUNTER,
    FILE_KEY,
    FLOW_KEY,
    OVERFLOW_KEY,
    DiskBytes,
    Event,
    HostReading,
    KernelRows,
    ProcessExited,
    ProcessSeen,
    ProcSample,
    Reading,
)
from pbmond.publish.topic_messages import Meta
from pbmond.store.values import VALUES

SECOND = 1_000_000_000
#: When the daemons of these tests began to count (CLOCK_BOOTTIME).
STARTED_NS = 1000 * SECOND
#: Start of a process that is younger than the daemon; no multiple of records.START_TICK_NS.
START_NS = 1000 * SECOND + 123
WALL_NS = 1_700_000_000 * SECOND
#: The device of sockets, as the kernel numbers devices.
SOCKETS = 9
#: Inode number of the host's network namespace.
NETNS = 4026531840
META = Meta("host", "boot", "epoch", 1, {"status": "complete"})


def class_number(name: str) -> int:
    """Return the kernel's number of a class."""
    return CLASSES.index(name)


def counter(
    row_id: int, kind: str = "net", values: Sequence[int] = (1, 1, 1, 1), **more: int
) -> Any:
    """Make one COUNTER; ``values`` are the first of ``store.values.VALUES``, the others are 0."""
    one = np.zeros((), COUNTER)
    one["id"], one["class"], one["first_ns"] = row_id, class_number(kind), START_NS
    for name, value in zip(VALUES, values, strict=False):
        one[name] = value
    for name, value in more.items():
        one[name] = value
    return one


def flow_key(pid: int = 7, start_ns: int = START_NS, **more: Any) -> Any:
    """Make one FLOW_KEY of a TCP connection over IPv4."""
    one = np.zeros((), FLOW_KEY)
    one["pid"], one["start_ns"], one["family"], one["type"], one["protocol"] = (
        pid,
        start_ns,
        2,
        1,
        6,
    )
    for name, value in more.items():
        one[name] = value
    return one


def file_key(pid: int = 7, start_ns: int = START_NS, inode: int = 1) -> Any:
    """Make one FILE_KEY."""
    one = np.zeros((), FILE_KEY)
    one["pid"], one["start_ns"], one["inode"] = pid, start_ns, inode
    return one


def overflow_key(pid: int = 7, start_ns: int = START_NS, kind: str = "net") -> Any:
    """Make one OVERFLOW_KEY."""
    one = np.zeros((), OVERFLOW_KEY)
    one["pid"], one["start_ns"], one["class"] = pid, start_ns, class_number(kind)
    return one


def rows(dtype: np.dtype[np.void], pairs: Sequence[tuple[Any, Any]]) -> KernelRows:
    """Make the KernelRows of one map from (key, counter) pairs."""
    return KernelRows(
        np.array([key for key, _ in pairs], dtype), np.array([each for _, each in pairs], COUNTER)
    )


def counters(*each: Any) -> NDArray[np.void]:
    """Make a COUNTER array, as a deleting call returns it."""
    return np.array(list(each), COUNTER)


def reading(
    time_s: float = 1,
    flows: Sequence[tuple[Any, Any]] = (),
    files: Sequence[tuple[Any, Any]] = (),
    overflow: Sequence[tuple[Any, Any]] = (),
    events: Sequence[Event] = (),
    *,
    host: HostReading | None = None,
) -> Reading:
    """Make the reading of the tick ``time_s`` after the daemon began."""
    time_ns = STARTED_NS + round(time_s * SECOND)
    return Reading(
        time_ns=time_ns,
        wall_ns=WALL_NS + time_ns,
        flows=rows(FLOW_KEY, flows),
        files=rows(FILE_KEY, files),
        overflow=rows(OVERFLOW_KEY, overflow),
        events=tuple(events),
        lost={},
        host=host or host_reading(),
    )


def host_reading(**more: Any) -> HostReading:
    """Make a HostReading of a host with lo and eth0, and one disk; nothing has moved yet."""
    values: dict[str, Any] = {
        "netns": NETNS,
        "interfaces": {b"lo": (0, 0, 0, 0), b"eth0": (0, 0, 0, 0)},
        "addresses": ADDRESSES,
        "disks": {b"vda": (0, 0)},
        "stacked": frozenset(),
        "retransmitted_segments": 0,
        "forwarded_packets": 0,
        **more,
    }
    return HostReading(**values)


def address(text: str) -> bytes:
    """Return an address of 16 bytes, IPv4 mapped into IPv6."""
    if ":" in text:
        return socket.inet_pton(socket.AF_INET6, text)
    return bytes(10) + b"\xff\xff" + socket.inet_aton(text)


def seen(
    pid: int = 7,
    start_ns: int = START_NS,
    name: bytes = b"curl",
    time_s: float = 0,
    *,
    uid: int = 1000,
    viewer: int | None = None,
    unit: bytes = b"web.service",
    **more: Any,
) -> ProcessSeen:
    """Make a ProcessSeen in ``/system.slice/UNIT``; ``viewer`` None: its user."""
    fields: dict[str, Any] = {
        "ppid": 1,
        "exe": b"/usr/bin/" + name,
        "cmdline": name + b"\x00-v\x00",
        "cgroup": b"/system.slice/" + unit,
        "netns": 4026531840,
        **more,
    }
    return ProcessSeen(
        pid=pid,
        start_ns=start_ns,
        time_ns=STARTED_NS + round(time_s * SECOND),
        name=name,
        uid=uid,
        viewer=uid if viewer is None else viewer,
        **fields,
    )


def exited(
    pid: int = 7, start_ns: int = START_NS, time_s: float = 1, disk: tuple[int, int] = (0, 0)
) -> ProcessExited:
    """Make a ProcessExited with its final disk bytes, read and written."""
    return ProcessExited(pid, start_ns, STARTED_NS + round(time_s * SECOND), *disk)


def sample(
    pid: int = 7,
    start_ns: int = START_NS,
    disk: tuple[int, int] | None = None,
    open_inodes: Sequence[tuple[int, int]] | None = None,
    *,
    seen: ProcessSeen | None = None,
    children: int | None = None,
) -> ProcSample:
    """Make a ProcSample of a living process."""
    inodes = None if open_inodes is None else frozenset(open_inodes)
    moved = None if disk is None else DiskBytes(*disk, children)
    return ProcSample(pid, start_ns, moved, inodes, seen, gone=False)


def gone(pid: int = 7, start_ns: int = START_NS) -> ProcSample:
    """Make the ProcSample of a process that is not there any more."""
    return ProcSample.of_ended(pid, start_ns)


#: Addresses of the host that ``host_reading`` makes.
ADDRESSES = {
    b"lo": frozenset(map(address, ("127.0.0.1", "::1"))),
    b"eth0": frozenset(map(address, ("192.0.2.1", "2001:db8::1", "fe80::1"))),
}
