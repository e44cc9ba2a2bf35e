"""The paths that other_tools.py compares: functions that move known bytes in known time."""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pbmond.selftest.private_daemon import now_ns
from pbmond.selftest.workloads.programs import kernel, ring
from pbmond.selftest.workloads.programs.aio import Context

STEPS, CHUNK = 64, bytes(1 << 18)
SECONDS = 3.5
FASTER = 4
SIZE = STEPS * len(CHUNK)
SHORT_LIVED, SHORT_SIZE = 200, 1 << 16
DATAGRAM = 1 << 15
#: The address of the host on the veth pair.
NEAR = "198.51.100.1"
_AIO_READ, _AIO_WRITE = 0, 1
NEWNET = 0x40000000

#: What kind of bytes a row is about: a tool claims to show some of them.
TCP, UDP, UNIX, CALLS, DISK, MAPPED = "tcp", "udp", "unix", "calls", "disk", "mapped"


@dataclass(frozen=True, slots=True)
class Row:
    """One way of bytes of a path: ``counters`` are pbmon's, ``kinds`` what those bytes are."""

    name: str
    kinds: AbstractSet[str]
    way: str  # "in" or "out"
    counters: tuple[str, ...]


class Forked(NamedTuple):
    """A process, and a moment (CLOCK_BOOTTIME) shortly before it began: PIDs are used again."""

    pid: int
    before_ns: int


def fork() -> Forked:
    """Fork a child that dies with its parent; in it, ``pid`` is 0."""
    before_ns = now_ns()
    return Forked(kernel.fork_bound(), before_ns)


@dataclass(slots=True)
class Stage:
    """What a path works with: files, and somebody who takes what it sends."""

    scratch: Path
    source: Path  # SIZE bytes, in the page cache
    sink: tuple[str, int]  # of TCP and UDP, on every address of the host
    holder: int  # a process in another network namespace
    kept: list[object] = field(default_factory=list)
    children: list[Forked] = field(default_factory=list)  # the short-lived, once they ran

    def steps(self) -> Iterator[None]:
        """Yield STEPS times in SECONDS."""
        for _ in range(STEPS):
            yield
            time.sleep(SECONDS / STEPS)

    def open(self, flags: int = os.O_RDONLY) -> int:
        """Open the source; with O_CREAT in ``flags``, a new file."""
        if flags & os.O_CREAT:
            return os.open(self.scratch / str(os.getpid()), flags, 0o600)
        return os.open(self.source, flags)

    def connect(self, host: str = "127.0.0.1") -> socket.socket:
        """Connect to the sink over TCP."""
        sock = connect((host, self.sink[1]))
        self.kept.append(sock)
        return sock


def connect(address: tuple[str, int]) -> socket.socket:
    """Connect over TCP; not by create_connection(), whose look-up of names reads files."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.connect(address)
    return sock


Work = Callable[[Stage], Sequence[int]]
PATHS: dict[Work, tuple[Row, ...]] = {}


def _path(*rows: tuple[str, set[str], str, tuple[str, ...]]) -> Callable[[Work], Work]:
    """Register a path: a function that moves bytes and returns how many, a number for each row."""

    def register(work: Work) -> Work:
        PATHS[work] = tuple(Row(*row) for row in rows)
        return work

    return register


_NET_IN, _NET_OUT = (
    tuple(f"{name}_{way}_bytes" for name in ("net", "loopback")) for way in ("rx", "tx")
)
_FILE_IN, _FILE_OUT = ("file_read_bytes",), ("file_write_bytes",)


def _send(sock: socket.socket, size: int = len(CHUNK)) -> int:
    left = size
    while left:
        left -= sock.send(memoryview(CHUNK)[:left])
    return size


def _receive_all(sock: socket.socket) -> int:
    return sum(iter(lambda: len(sock.recv(len(CHUNK))), 0))


def _helper(job: Callable[[], object]) -> None:
    """Fork a process that does ``job`` and is not judged."""
    if kernel.fork_bound() == 0:
        with suppress(BaseException):
            job()
        os._exit(0)


def _enter_network_of(pid: int) -> None:
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(namespace, NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@_path(("TCP send, loopback", {TCP}, "out", _NET_OUT))
def tcp_send(stage: Stage) -> Sequence[int]:
    sock = stage.connect()
    return [sum(_send(sock) for _ in stage.steps())]


@_path((f"the same, {FASTER} times as fast", {TCP}, "out", _NET_OUT))
def tcp_send_faster(stage: Stage) -> Sequence[int]:
    sock = stage.connect()
    return [sum(_send(sock) for _ in stage.steps() for _ in range(FASTER))]


def _receive(stage: Stage, host: str, prepare: Callable[[], None]) -> Sequence[int]:
    listener = socket.create_server((host, 0))

    def send() -> None:
        prepare()
        with connect(listener.getsockname()) as sock:
            for _ in stage.steps():
                _send(sock)

    _helper(send)
    sock = listener.accept()[0]
    stage.kept.append(sock)
    return [_receive_all(sock)]


@_path(("TCP receive, loopback", {TCP}, "in", _NET_IN))
def tcp_receive(stage: Stage) -> Sequence[int]:
    return _receive(stage, "127.0.0.1", lambda: None)


@_path(("TCP receive, from another network namespace (veth)", {TCP}, "in", _NET_IN))
def tcp_receive_veth(stage: Stage) -> Sequence[int]:
    return _receive(stage, NEAR, lambda: _enter_network_of(stage.holder))


@_path(("TCP send, in another network namespace (veth)", {TCP}, "out", _NET_OUT))
def tcp_send_veth(stage: Stage) -> Sequence[int]:
    _enter_network_of(stage.holder)
    sock = stage.connect(NEAR)
    return [sum(_send(sock) for _ in stage.steps())]


@_path(("UDP send, loopback", {UDP}, "out", _NET_OUT))
def udp_send(stage: Stage) -> Sequence[int]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stage.kept.append(sock)
    sock.connect(stage.sink)
    datagrams = len(CHUNK) // DATAGRAM
    return [sum(_send(sock, DATAGRAM) for _ in stage.steps() for _ in range(datagrams))]


@_path(
    ("sendfile to TCP, the connection", {TCP}, "out", _NET_OUT),
    ("sendfile to TCP, the file", {CALLS}, "in", _FILE_IN),
)
def tcp_sendfile(stage: Stage) -> Sequence[int]:
    sock, fd, sent = stage.connect(), stage.open(), 0
    for number, _ in enumerate(stage.steps(), 1):
        while sent < number * len(CHUNK):
            sent += os.sendfile(sock.fileno(), fd, sent, number * len(CHUNK) - sent)
    return [sent, sent]


@_path(("TCP send by io_uring, loopback", {TCP}, "out", _NET_OUT))
def tcp_io_uring(stage: Stage) -> Sequence[int]:
    sock, uring, sent = stage.connect(), ring.Ring(), 0
    for number, _ in enumerate(stage.steps(), 1):
        while sent < number * len(CHUNK):
            sent += uring.move(ring.SEND, sock.fileno(), number * len(CHUNK) - sent)
    return [sent]


@_path((f"TCP send by {SHORT_LIVED} short-lived processes", {TCP}, "out", _NET_OUT))
def tcp_short_lived(stage: Stage) -> Sequence[int]:
    for _ in range(SHORT_LIVED):
        child = fork()
        if child.pid == 0:
            _send(connect(stage.sink), SHORT_SIZE)
            os._exit(0)
        stage.children.append(child)
        if os.waitpid(child.pid, 0)[1] != 0:
            raise RuntimeError("a short-lived process failed")
        time.sleep(SECONDS / SHORT_LIVED)
    return [SHORT_LIVED * SHORT_SIZE]


@_path(("unix socket, send", {UNIX}, "out", ("unix_tx_bytes",)))
def unix_send(stage: Stage) -> Sequence[int]:
    left, right = socket.socketpair()
    _helper(lambda: _receive_all(right))
    return [sum(_send(left) for _ in stage.steps())]


@_path(("pipe, write", {CALLS}, "out", ("pipe_write_bytes",)))
def pipe_write(stage: Stage) -> Sequence[int]:
    read_end, write_end = os.pipe()
    _helper(lambda: list(iter(lambda: os.read(read_end, len(CHUNK)), b"")))
    return [sum(os.write(write_end, CHUNK) for _ in stage.steps())]


@_path(("file read() from the page cache", {CALLS}, "in", _FILE_IN))
def file_read(stage: Stage) -> Sequence[int]:
    fd = stage.open()
    return [sum(len(os.read(fd, len(CHUNK))) for _ in stage.steps())]


@_path(("file write()", {CALLS, DISK}, "out", _FILE_OUT))
def file_write(stage: Stage) -> Sequence[int]:
    fd = stage.open(os.O_WRONLY | os.O_CREAT)
    return [sum(os.write(fd, CHUNK) for _ in stage.steps())]


@_path(
    ("copy_file_range, from", {CALLS}, "in", _FILE_IN),
    ("copy_file_range, to", {CALLS, DISK}, "out", _FILE_OUT),
)
def file_copy(stage: Stage) -> Sequence[int]:
    source, target = stage.open(), stage.open(os.O_WRONLY | os.O_CREAT)
    moved = sum(os.copy_file_range(source, target, len(CHUNK)) for _ in stage.steps())
    return [moved, moved]


@_path(
    ("splice file to pipe", {CALLS}, "in", _FILE_IN),
    ("splice pipe to file", {CALLS, DISK}, "out", _FILE_OUT),
)
def file_splice(stage: Stage) -> Sequence[int]:
    source, target = stage.open(), stage.open(os.O_WRONLY | os.O_CREAT)
    (read_end, write_end), read, written = os.pipe(), 0, 0
    for number, _ in enumerate(stage.steps(), 1):
        while written < number * len(CHUNK):
            read += os.splice(source, write_end, min(1 << 16, number * len(CHUNK) - read))
            while written < read:
                written += os.splice(read_end, target, read - written)
    return [read, written]


@_path(
    ("io_uring READ from the page cache", {CALLS}, "in", _FILE_IN),
    ("io_uring WRITE", {CALLS, DISK}, "out", _FILE_OUT),
)
def file_io_uring(stage: Stage) -> Sequence[int]:
    source, target = stage.open(), stage.open(os.O_WRONLY | os.O_CREAT)
    uring, read, written = ring.Ring(), 0, 0
    for _ in stage.steps():
        read += uring.move(ring.READ, source, len(CHUNK))
        written += uring.move(ring.WRITE, target, len(CHUNK))
    return [read, written]


@_path(
    ("libaio read, O_DIRECT", {CALLS, DISK}, "in", _FILE_IN),
    ("libaio write, O_DIRECT", {CALLS, DISK}, "out", _FILE_OUT),
)
def file_aio(stage: Stage) -> Sequence[int]:
    source = stage.open(os.O_RDONLY | os.O_DIRECT)
    target = stage.open(os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
    memory, context, read, written = mmap.mmap(-1, len(CHUNK)), Context(), 0, 0
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for _ in stage.steps():
        read += context.move(_AIO_READ, source, address, len(CHUNK), read)
        written += context.move(_AIO_WRITE, target, address, len(CHUNK), written)
    return [read, written]


@_path(
    ("memory-mapped writes, as bytes of the file", {MAPPED}, "out", _FILE_OUT),
    ("memory-mapped writes, as bytes for the disk", {DISK}, "out", ("disk_write_bytes",)),
)
def file_mapped(stage: Stage) -> Sequence[int]:
    fd, moved = stage.open(os.O_RDWR | os.O_CREAT), 0
    os.ftruncate(fd, SIZE)
    memory = mmap.mmap(fd, SIZE)
    for _ in stage.steps():
        memory[moved : moved + len(CHUNK)] = CHUNK
        moved += len(CHUNK)
    stage.kept.append(memory)
    return [moved, moved]
