"""Programs that read, write, send and receive through io_uring, in each way it can run them."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Iterator

from . import kernel
from . import ring as uring
from .program import Run, UnavailableError, fails, program
from .ring import Ring
from .sockets import tcp_pair, udp

SIZE = 100_003  # of the files that are read: holes, so that set-up writes nothing


def _plain(run: Run, ring: Ring, flags: int) -> Iterator[None]:
    fd = run.open("data", SIZE)
    row = run.file(fd)
    run.keep(ring)
    yield
    row.read(ring.move(uring.READ, fd, 4001, 3, flags))
    row.read(ring.move(uring.READ, fd, 333, flags=flags))
    row.read(ring.move(uring.READ, fd, 5001, SIZE - 77, flags))  # cut short by the end
    row.read(ring.move(uring.READ, fd, 99, SIZE, flags))  # at the end: nothing
    row.write(ring.move(uring.WRITE, fd, 2003, 5, flags))
    row.write(ring.move(uring.WRITE, fd, 777, flags=flags))


def _vectored(run: Run, ring: Ring, flags: int) -> Iterator[None]:
    fd = run.open("data", SIZE)
    row = run.file(fd)
    run.keep(ring)
    yield
    row.read(ring.move_vector(uring.READV, fd, (1001, 5, 3003), flags))
    row.write(ring.move_vector(uring.WRITEV, fd, (77, 1, 2003), flags))


def _fixed(run: Run, ring: Ring, flags: int) -> Iterator[None]:
    """Registered buffers."""
    fd = run.open("data", SIZE)
    row = run.file(fd)
    run.keep(ring)
    address = ring.register_buffer(10_001)
    yield
    ring.submit(uring.READ_FIXED, fd, address, 4003, 7, flags=flags)
    row.read(ring.result())
    ring.submit(uring.WRITE_FIXED, fd, address, 901, 7, flags=flags)
    row.write(ring.result())


@program
def plain_inline(run: Run) -> Iterator[None]:
    yield from _plain(run, Ring(), 0)


@program
def plain_async(run: Run) -> Iterator[None]:
    yield from _plain(run, Ring(), uring.ASYNC)


@program
def plain_sqpoll(run: Run) -> Iterator[None]:
    yield from _plain(run, Ring(sqpoll=True), 0)


@program
def vectored_inline(run: Run) -> Iterator[None]:
    yield from _vectored(run, Ring(), 0)


@program
def vectored_async(run: Run) -> Iterator[None]:
    yield from _vectored(run, Ring(), uring.ASYNC)


@program
def vectored_sqpoll(run: Run) -> Iterator[None]:
    yield from _vectored(run, Ring(sqpoll=True), 0)


@program
def fixed_inline(run: Run) -> Iterator[None]:
    yield from _fixed(run, Ring(), 0)


@program
def fixed_async(run: Run) -> Iterator[None]:
    yield from _fixed(run, Ring(), uring.ASYNC)


@program
def fixed_sqpoll(run: Run) -> Iterator[None]:
    yield from _fixed(run, Ring(sqpoll=True), 0)


@program
def registered_file(run: Run) -> Iterator[None]:
    """The descriptor is closed; only the ring still knows the file."""
    ring, fd = Ring(), run.open("data", SIZE)
    row = run.file(fd)
    run.keep(ring)
    ring.register_files([fd])
    os.close(fd)
    yield
    row.read(ring.move(uring.READ, 0, 4001, 3, uring.FIXED_FILE))
    row.write(ring.move(uring.WRITE, 0, 901, 3, uring.FIXED_FILE | uring.ASYNC))


@program
def closed_in_flight(run: Run) -> Iterator[None]:
    """A read that waits while its descriptor is closed and its number given to another file."""
    ring, (read_end, write_end) = Ring(), os.pipe()
    row, memory = run.pipe(read_end), kernel.buffer(500)
    run.keep(ring, memory)
    yield
    ring.submit(uring.READ, read_end, ctypes.addressof(memory), 500)
    os.close(read_end)
    other = run.open("other", SIZE)
    if other != read_end:
        raise AssertionError("the descriptor was not used again")
    run.file(other)
    row.write(kernel.write(write_end, 301))
    row.read(ring.result())


def _pipe(run: Run, flags: int) -> Iterator[None]:
    ring, (read_end, write_end) = Ring(), os.pipe()
    row, memory = run.pipe(read_end), kernel.buffer(500)
    run.keep(ring, memory)
    yield
    row.write(ring.move(uring.WRITE, write_end, 1001, flags=flags))
    row.read(ring.move(uring.READ, read_end, 5000, flags=flags))
    ring.submit(uring.READ, read_end, ctypes.addressof(memory), 500, flags=flags)
    row.write(kernel.write(write_end, 99))  # only now can the read end
    row.read(ring.result())


@program
def pipe_inline(run: Run) -> Iterator[None]:
    yield from _pipe(run, 0)


@program
def pipe_async(run: Run) -> Iterator[None]:
    yield from _pipe(run, uring.ASYNC)


@program
def device(run: Run) -> Iterator[None]:
    ring, zero = Ring(), os.open("/dev/zero", os.O_RDWR)
    row = run.file(zero, "device")
    run.keep(ring)
    yield
    row.read(ring.move(uring.READ, zero, 1001))
    row.write(ring.move(uring.WRITE, zero, 77, flags=uring.ASYNC))


@program
def splice_file_to_pipe(run: Run) -> Iterator[None]:
    ring, fd, (read_end, write_end) = Ring(), run.open("data", SIZE), os.pipe()
    file_row, pipe_row = run.file(fd), run.pipe(read_end)
    run.keep(ring)
    yield
    # Both offsets are "none": the pipe has no position and the file uses its own.
    ring.submit(uring.SPLICE, write_end, uring.AT_POSITION, 3003, uring.AT_POSITION, splice_fd=fd)
    moved = ring.result()
    file_row.read(moved)
    pipe_row.write(moved)


def _tcp(run: Run, ring: Ring, flags: int) -> Iterator[None]:
    """Every opcode that can move bytes over a socket; READ and WRITE are no different."""
    client, server = tcp_pair()
    client_row = run.connection(client, direction="out")
    server_row = run.connection(server, direction="in")
    run.keep(ring)
    out, back = client.fileno(), server.fileno()
    yield
    client_row.write(ring.move(uring.SEND, out, 1001, flags=flags))
    server_row.read(ring.move(uring.RECV, back, 5000, flags=flags))
    client_row.write(ring.move_message(uring.SENDMSG, out, (7, 8, 100), flags=flags))
    server_row.read(ring.move_message(uring.RECVMSG, back, (5, 5000), flags=flags))
    client_row.write(ring.move(uring.WRITE, out, 333, flags=flags))
    server_row.read(ring.move(uring.READ, back, 5000, flags=flags))
    client_row.write(ring.move_vector(uring.WRITEV, out, (1, 2, 6), flags))
    server_row.read(ring.move_vector(uring.READV, back, (3, 3, 500), flags))


@program
def tcp_inline(run: Run) -> Iterator[None]:
    yield from _tcp(run, Ring(), 0)


@program
def tcp_async(run: Run) -> Iterator[None]:
    yield from _tcp(run, Ring(), uring.ASYNC)


@program
def tcp_sqpoll(run: Run) -> Iterator[None]:
    yield from _tcp(run, Ring(sqpoll=True), 0)


@program
def tcp_waits(run: Run) -> Iterator[None]:
    """A receive submitted before the bytes are there."""
    ring, (client, server) = Ring(), tcp_pair()
    row, memory = run.connection(server, direction="in"), kernel.buffer(500)
    run.keep(ring, memory)
    yield
    ring.submit(uring.RECV, server.fileno(), ctypes.addressof(memory), 500)
    client.send(bytes(301))
    row.read(ring.result())


@program
def udp_send_to(run: Run) -> Iterator[None]:
    """Datagrams to a peer named in the message alone, which no hook of the socket's can see."""
    ring, sender, receiver = Ring(), udp(), udp()
    row = run.connection(sender)
    receiver_row = run.connection(receiver)
    run.keep(ring)
    to = kernel.sockaddr(*receiver.getsockname())
    yield
    row.write(ring.move_message(uring.SENDMSG, sender.fileno(), (101,), to))
    row.write(ring.move_message(uring.SENDMSG, sender.fileno(), (3, 300), to, uring.ASYNC))
    receiver_row.read(ring.move(uring.RECV, receiver.fileno(), 500))
    receiver_row.read(ring.move_message(uring.RECVMSG, receiver.fileno(), (500,)))


@program
def unix_stream(run: Run) -> Iterator[None]:
    ring, (left, right) = Ring(), socket.socketpair()
    left_row, right_row = run.connection(left, "unix"), run.connection(right, "unix")
    run.keep(ring)
    yield
    left_row.write(ring.move(uring.SEND, left.fileno(), 1001))
    right_row.read(ring.move(uring.RECV, right.fileno(), 501, flags=uring.ASYNC))
    right_row.read(ring.move(uring.READ, right.fileno(), 5000))


@program
def send_zero_copy(run: Run) -> Iterator[None]:
    """Two completions for one send: the bytes, then a notice that the memory is free."""
    ring, (client, server) = Ring(), tcp_pair()
    row = run.connection(client, direction="out")
    run.keep(ring, server)
    memory = kernel.buffer(1003)
    run.keep(memory)
    yield
    ring.submit(uring.SEND_ZC, client.fileno(), ctypes.addressof(memory), 1003)
    sent, flags = ring.complete()
    if sent < 0:
        raise UnavailableError(f"IORING_OP_SEND_ZC: {os.strerror(-sent)}")
    row.write(sent)
    server.recv(5000)
    while flags & uring.CQE_MORE:
        flags = ring.complete()[1]


def _multishot(ring: Ring, opcode: int, fd: int, ioprio: int) -> None:
    ring.provide_buffers(500, 8)
    ring.submit(opcode, fd, flags=uring.BUFFER_SELECT, ioprio=ioprio, offset=0)


def _shot(ring: Ring) -> int:
    result, _ = ring.complete()
    if result == -errno.EINVAL:
        raise UnavailableError("io_uring multishot")
    return result


@program
def receive_multishot(run: Run) -> Iterator[None]:
    """One entry, many completions."""
    ring, (client, server) = Ring(), tcp_pair()
    row = run.connection(server, direction="in")
    run.keep(ring, client)
    yield
    _multishot(ring, uring.RECV, server.fileno(), uring.RECV_MULTISHOT)
    for size in (101, 303, 55):
        client.send(bytes(size))
        row.read(_shot(ring))


@program
def read_multishot(run: Run) -> Iterator[None]:
    ring, (read_end, write_end) = Ring(), os.pipe()
    row = run.pipe(read_end)
    run.keep(ring)
    yield
    _multishot(ring, uring.READ_MULTISHOT, read_end, 0)
    for size in (101, 303, 55):
        row.write(kernel.write(write_end, size))
        row.read(_shot(ring))


@program
def failures_count_nothing(run: Run) -> Iterator[None]:
    ring, fd, (unread, broken) = Ring(), run.open("data", 101), os.pipe()
    row = run.file(fd)
    run.pipe(broken)
    run.keep(ring)
    write_only = os.open(run.scratch / "data", os.O_WRONLY)
    yield
    with fails(errno.EBADF):
        ring.move(uring.READ, write_only, 99, 0)
    with fails(errno.EBADF):
        ring.move(uring.READ, 9999, 99, 0)
    os.close(unread)
    with fails(errno.EPIPE):
        ring.move(uring.WRITE, broken, 99)
    with fails(errno.EPIPE):
        ring.move(uring.WRITE, broken, 99, flags=uring.ASYNC)
    row.read(ring.move(uring.READ, fd, 5, 0))
