"""Programs that move bytes between descriptors inside the kernel: each end counts, once each."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

from pbmond.selftest.workloads.programs import kernel
from pbmond.selftest.workloads.programs.inet import tcp_pair
from pbmond.selftest.workloads.programs.program import Run, fails, offered, program

SIZE = 100_003  # of the files that are read: holes, so that set-up writes nothing
LARGE = (8 << 20) + 7


def _drain(run: Run, sock: socket.socket, size: int) -> None:
    row = run.connection(sock, direction="in")
    kernel.await_input(sock.fileno())
    while size:
        got = len(sock.recv(size))
        row.read(got)
        size -= got


@program
def splice_file_to_pipe(run: Run) -> Iterator[None]:
    """splice: file to pipe."""
    fd, (read_end, write_end) = run.open("data", SIZE), os.pipe()
    file_row, pipe_row = run.file(fd), run.pipe(read_end)
    yield
    for size in (4001, 333):
        moved = kernel.splice(fd, write_end, size)
        file_row.read(moved)
        pipe_row.write(moved)
    pipe_row.read(kernel.read(read_end, 101))


@program
def splice_pipe_to_file(run: Run) -> Iterator[None]:
    """splice: pipe to file."""
    fd, (read_end, write_end) = run.open("data"), os.pipe()
    file_row, pipe_row = run.file(fd), run.pipe(read_end)
    yield
    pipe_row.write(kernel.write(write_end, 3003))
    for size in (1001, 5000):
        moved = kernel.splice(read_end, fd, size)
        pipe_row.read(moved)
        file_row.write(moved)


@program
def splice_pipe_to_pipe(run: Run) -> Iterator[None]:
    """splice: pipe to pipe."""
    (first_read, first_write), (second_read, second_write) = os.pipe(), os.pipe()
    first_row, second_row = run.pipe(first_read), run.pipe(second_read)
    yield
    first_row.write(kernel.write(first_write, 3003))
    moved = kernel.splice(first_read, second_write, 1001)
    first_row.read(moved)
    second_row.write(moved)
    second_row.read(kernel.read(second_read, 5000))


@program
def splice_device_to_pipe(run: Run) -> Iterator[None]:
    """splice: device to pipe."""
    zero, (read_end, write_end) = os.open("/dev/zero", os.O_RDONLY), os.pipe()
    zero_row, pipe_row = run.file(zero, "device"), run.pipe(read_end)
    yield
    # The same call on a file is another program's, so that EINVAL can mean the device alone.
    with offered("splice of this device", errno.EINVAL):
        moved = kernel.splice(zero, write_end, 3003)
    zero_row.read(moved)
    pipe_row.write(moved)


@program
def splice_pipe_to_device(run: Run) -> Iterator[None]:
    """splice: pipe to device."""
    null, (read_end, write_end) = os.open("/dev/null", os.O_WRONLY), os.pipe()
    null_row, pipe_row = run.file(null, "device"), run.pipe(read_end)
    yield
    pipe_row.write(kernel.write(write_end, 3003))
    moved = kernel.splice(read_end, null, 1001)
    pipe_row.read(moved)
    null_row.write(moved)


def _through_socket(
    run: Run, ends: tuple[socket.socket, socket.socket], byte_class: str
) -> Iterator[None]:
    """Splice a pipe into a socket, and the socket's other end into another pipe."""
    sender, receiver = ends
    way = ("out", "in") if byte_class == "loopback" else ("unknown", "unknown")
    (first_read, first_write), (second_read, second_write) = os.pipe(), os.pipe()
    first_row, second_row = run.pipe(first_read), run.pipe(second_read)
    sender_row = run.connection(sender, byte_class, way[0])
    receiver_row = run.connection(receiver, byte_class, way[1])
    yield
    first_row.write(kernel.write(first_write, 3003))
    moved = kernel.splice(first_read, sender.fileno(), 2001)
    first_row.read(moved)
    sender_row.write(moved)
    for size in (501, 5000):
        moved = kernel.splice(receiver.fileno(), second_write, size)
        receiver_row.read(moved)
        second_row.write(moved)
    receiver.settimeout(0)
    with fails(errno.EAGAIN):
        kernel.splice(receiver.fileno(), second_write, 99)


@program
def splice_pipe_tcp_pipe(run: Run) -> Iterator[None]:
    """splice: pipe to TCP socket, TCP socket to pipe."""
    yield from _through_socket(run, tcp_pair(), "loopback")


@program
def splice_pipe_tcp6_pipe(run: Run) -> Iterator[None]:
    """splice: pipe to TCP socket, TCP socket to pipe, over IPv6."""
    yield from _through_socket(run, tcp_pair("::1"), "loopback")


@program
def splice_pipe_unix_pipe(run: Run) -> Iterator[None]:
    """splice: pipe to unix socket, unix socket to pipe."""
    yield from _through_socket(run, socket.socketpair(), "unix")


@program
def tee_is_a_peek_at_its_input(run: Run) -> Iterator[None]:
    """The second pipe gets the bytes; the first keeps them."""
    (first_read, first_write), (second_read, second_write) = os.pipe(), os.pipe()
    first_row, second_row = run.pipe(first_read), run.pipe(second_read)
    yield
    first_row.write(kernel.write(first_write, 3003))
    second_row.write(kernel.tee(first_read, second_write, 1001))
    first_row.read(kernel.read(first_read, 5000))
    second_row.read(kernel.read(second_read, 5000))


@program
def vmsplice(run: Run) -> Iterator[None]:
    """vmsplice: memory to pipe, pipe to memory."""
    read_end, write_end = os.pipe()
    row = run.pipe(read_end)
    yield
    row.write(kernel.vmsplice(write_end, (1001, 7, 301)))
    row.read(kernel.vmsplice(read_end, (501, 3)))


@program
def sendfile_to_tcp(run: Run) -> Iterator[None]:
    """sendfile: file to TCP socket."""
    fd, (sender, receiver) = run.open("data", SIZE), tcp_pair()
    run.keep(receiver)
    file_row, row = run.file(fd), run.connection(sender, direction="out")
    yield
    for size in (4001, 777):
        moved = kernel.sendfile(sender.fileno(), fd, size)
        file_row.read(moved)
        row.write(moved)


@program
def sendfile_to_unix(run: Run) -> Iterator[None]:
    """sendfile: file to unix socket."""
    fd, (sender, receiver) = run.open("data", SIZE), socket.socketpair()
    run.keep(receiver)
    file_row, row = run.file(fd), run.connection(sender, "unix")
    yield
    moved = kernel.sendfile(sender.fileno(), fd, 4001)
    file_row.read(moved)
    row.write(moved)


@program
def sendfile_large_to_tcp(run: Run) -> Iterator[None]:
    """Megabytes, in as many steps as the kernel likes, into a socket that fills up."""
    fd, (sender, receiver) = run.open("data", LARGE), tcp_pair()
    file_row, row = run.file(fd), run.connection(sender, direction="out")
    reader = run.fork(lambda inner: _drain(inner, receiver, LARGE))
    row.calls_unknown()
    file_row.calls_unknown()
    yield
    left = LARGE
    while left:
        moved = kernel.sendfile(sender.fileno(), fd, left)
        file_row.read(moved)
        row.write(moved)
        left -= moved
    run.join(reader)


@program
def sendfile_to_file(run: Run) -> Iterator[None]:
    """sendfile: file to file."""
    source, target = run.open("source", SIZE), run.open("target")
    source_row, target_row = run.file(source), run.file(target)
    yield
    for size in (4001, 2 * SIZE):
        moved = kernel.sendfile(target, source, size)
        source_row.read(moved)
        target_row.write(moved)


@program
def sendfile_to_pipe(run: Run) -> Iterator[None]:
    """sendfile: file to pipe."""
    fd, (read_end, write_end) = run.open("data", SIZE), os.pipe()
    file_row, pipe_row = run.file(fd), run.pipe(read_end)
    yield
    # The same call to a file is another program's.
    with offered("sendfile to a pipe", errno.EINVAL):
        moved = kernel.sendfile(write_end, fd, 4001)
    file_row.read(moved)
    pipe_row.write(moved)


@program
def copy_file_range(run: Run) -> Iterator[None]:
    """copy_file_range: file to file."""
    source, target = run.open("source", SIZE), run.open("target")
    source_row, target_row = run.file(source), run.file(target)
    yield
    for size in (4001, 2 * SIZE, 99):
        moved = kernel.copy_file_range(source, target, size)
        source_row.read(moved)
        target_row.write(moved)


@program
def copy_file_range_within_one_file(run: Run) -> Iterator[None]:
    """Both ends are the same row."""
    source, target = run.open("data", SIZE), run.open("data")
    os.lseek(target, 50_001, os.SEEK_SET)
    row = run.file(source)
    yield
    moved = kernel.copy_file_range(source, target, 1003)
    row.read(moved)
    row.write(moved)
