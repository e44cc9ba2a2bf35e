"""The socketpair between collector and publisher: demands one way, whole frames the other.

The publisher also says regularly that it is alive. A SOCK_SEQPACKET pair keeps packets separate.
A frame is sent as a memory file, so that it arrives whole or not at all and the collector never has
to wait in the middle of one. The publisher is not trusted: it sends one fixed-size record per
packet, and each record is checked. Standard library only, because the publisher must stay small.
"""

from __future__ import annotations

import array
import mmap
import os
import socket
import struct
from dataclasses import dataclass
from typing import Final

from pbmond.wire import Topic

#: wanted, scope, kind, zero, uid, pid: a topic that is wanted from now on, or no longer.
RECORD: Final = struct.Struct("<BBBBII")
#: The publisher is alive, and has nothing else to say. No demand looks like that.
BEAT: Final = RECORD.pack(0, 0, 0, 1, 0, 0)
#: The publisher's first record: it has given up its privileges and serves.
READY: Final = b"ready"
#: Its exit status if it could not become its user (EX_NOPERM of sysexits.h).
CANNOT_BECOME: Final = 77
#: The most topics that are encoded at a time, over all viewers.
MAX_TOPICS: Final = 2048

_MFD_NOEXEC_SEAL: Final = 8  # not in the os module of Python 3.11
#: By their numbers in a record; those of a process come after them.
_KINDS: Final = ("processes", "flows", "moved")
_MOVED: Final = _KINDS.index("moved")
_OF_PROCESS: Final = len(_KINDS)


class FrameError(OSError):
    """There is no memory or descriptor left for a frame in this process."""


class FeedError(ValueError):
    """A record from the publisher is not valid, or a packet has no frame."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The publisher says that a viewer was granted ``topic``, or that no viewer has it any more.

    A topic that is already wanted may be announced again, when a new viewer waits for its first
    frame.
    """

    topic: Topic
    wanted: bool


def pack_demand(demand: Demand) -> bytes:
    """Return the record of a demand."""
    topic = demand.topic
    return RECORD.pack(
        demand.wanted,
        topic.uid is not None,
        _OF_PROCESS if topic.pid is not None else _KINDS.index(topic.kind),
        0,
        topic.uid or 0,
        topic.pid or 0,
    )


def unpack_demand(record: bytes) -> Demand:
    """Return the demand in a record. FeedError unless ``pack_demand`` could have written it."""
    if len(record) != RECORD.size:
        raise FeedError(f"a record of {len(record)} bytes")
    wanted, scoped, kind, _, uid, pid = RECORD.unpack(record)
    if wanted > 1 or scoped > 1 or kind > _OF_PROCESS or (scoped and kind == _MOVED):
        raise FeedError(f"a record out of range: {record.hex()}")
    of_process = kind == _OF_PROCESS
    topic = Topic(
        uid if scoped else None,
        "flows" if of_process else _KINDS[kind],
        pid if of_process else None,
    )
    demand = Demand(topic, bool(wanted))
    if pack_demand(demand) != record:
        raise FeedError(f"a record with stray bits: {record.hex()}")
    return demand


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the collector's end, which never blocks, and the publisher's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(0)
    # The kernel's minimum, a few packets, because each stands for a frame of up to 30 MB.
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    return ours, theirs


def send_frame(sock: socket.socket, frame: bytes) -> bool:
    """Send ``frame`` without blocking. Returns False if the publisher has no room for it now.

    Raises FrameError if this process lacks resources, another OSError if the publisher is gone.
    """
    fd = _memory_file_of(frame)
    try:
        socket.send_fds(sock, [b"F"], [fd])
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def _memory_file_of(frame: bytes) -> int:
    """Return a memory file that holds ``frame``.

    It is filled through a mapping: each write to a new file would be a row of pbmon's own.
    """
    try:
        fd = _memory_file()
    except OSError as error:
        raise FrameError(*error.args) from None
    try:
        os.posix_fallocate(fd, 0, len(frame))  # now: a mapping without memory behind it is SIGBUS
        with mmap.mmap(fd, len(frame)) as mapped:
            mapped[:] = frame
    except OSError as error:
        os.close(fd)
        raise FrameError(*error.args) from None
    return fd


def _memory_file() -> int:
    try:
        # Hosts may require this flag (vm.memfd_noexec = 2). Kernels before 6.3 do not support it.
        return os.memfd_create("pbmon-frame", os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
    except OSError:
        return os.memfd_create("pbmon-frame", os.MFD_CLOEXEC)


def receive_frame(sock: socket.socket) -> mmap.mmap | None:
    """Return the next frame, which the caller closes, or None if the collector is gone.

    Raises BlockingIOError if no frame is waiting, and FeedError for a packet without a frame or
    for one that cannot be mapped, which happens when file descriptors or memory run out.
    """
    fds = array.array("i")
    data, ancillary, _, _ = sock.recvmsg(
        1, socket.CMSG_SPACE(fds.itemsize), socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
    )
    for _, _, payload in ancillary:
        fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    try:
        if not data:
            return None
        if not fds:
            raise FeedError("a packet without its frame")
        try:
            return mmap.mmap(fds[0], 0, prot=mmap.PROT_READ)
        except (OSError, ValueError) as error:
            raise FeedError(f"no memory for it ({type(error).__name__})") from None
    finally:
        for fd in fds:
            os.close(fd)
