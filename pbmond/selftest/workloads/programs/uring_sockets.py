"""Programs that send and receive through io_uring, in each way it can run them."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable, Iterator

from pbmond.selftest.workloads.programs import kernel
from pbmond.selftest.workloads.programs import ring as uring
from pbmond.selftest.workloads.programs.inet import tcp_pair, udp
from pbmond.selftest.workloads.programs.program import Run, offered, program
from pbmond.selftest.workloads.programs.ring import Ring

MESSAGE_HEAD = 16  # struct io_uring_recvmsg_out, before the payload of a multishot message


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
    """SEND, RECV, SENDMSG, RECVMSG, WRITE, READ, WRITEV, READV over TCP."""
    yield from _tcp(run, Ring(), 0)


@program
def tcp_async(run: Run) -> Iterator[None]:
    """The same by worker threads."""
    yield from _tcp(run, Ring(), uring.ASYNC)


@program
def tcp_sqpoll(run: Run) -> Iterator[None]:
    """The same, submitted by a kernel thread."""
    yield from _tcp(run, Ring(sqpoll=True), 0)


@program
def tcp_waits(run: Run) -> Iterator[None]:
    """A receive submitted before the bytes are there."""
    ring, (client, server) = Ring(), tcp_pair()
    client_row = run.connection(client, direction="out")
    row, memory = run.connection(server, direction="in"), kernel.buffer(500)
    run.keep(ring, memory)
    yield
    ring.submit(uring.RECV, server.fileno(), ctypes.addressof(memory), 500)
    client_row.write(kernel.sendto(client.fileno(), 301))
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
    """SEND, RECV and READ over unix sockets."""
    ring, (left, right) = Ring(), socket.socketpair()
    left_row, right_row = run.connection(left, "unix"), run.connection(right, "unix")
    run.keep(ring)
    yield
    left_row.write(ring.move(uring.SEND, left.fileno(), 1001))
    right_row.read(ring.move(uring.RECV, right.fileno(), 501, flags=uring.ASYNC))
    right_row.read(ring.move(uring.READ, right.fileno(), 5000))


@program
def splice_through_tcp(run: Run) -> Iterator[None]:
    """SPLICE: pipe to TCP socket, TCP socket to pipe."""
    ring, (client, server) = Ring(), tcp_pair()
    (first_read, first_write), (second_read, second_write) = os.pipe(), os.pipe()
    rows = [run.pipe(first_read), run.connection(client, direction="out")]
    rows += [run.connection(server, direction="in"), run.pipe(second_read)]
    run.keep(ring)
    yield
    rows[0].write(kernel.write(first_write, 3003))
    ways = ((first_read, client.fileno()), (server.fileno(), second_write))
    for number, (source, target) in enumerate(ways):
        anywhere, size = uring.AT_POSITION, kernel.stretched(1001)
        ring.submit(uring.SPLICE, target, anywhere, size, anywhere, splice_fd=source)
        moved = ring.result()
        rows[2 * number].read(moved)
        rows[2 * number + 1].write(moved)


def _zero_copy(run: Run, opcode: int) -> Iterator[None]:
    """Two completions for one send: the bytes, then a notice that the memory is free."""
    ring, (client, server) = Ring(), tcp_pair()
    row = run.connection(client, direction="out")
    server_row = run.connection(server, direction="in")
    size = kernel.stretched(1003)
    memory, (header, kept) = kernel.buffer(size), kernel.message((7, 999))
    run.keep(ring, memory, header, kept)
    yield
    if opcode == uring.SEND_ZC:
        ring.submit(opcode, client.fileno(), ctypes.addressof(memory), size)
    else:
        ring.submit(opcode, client.fileno(), ctypes.addressof(header), 1)
    sent, flags = ring.complete()
    with offered("io_uring zero-copy send"):
        row.write(uring.checked(sent))
    server_row.read(kernel.recvfrom(server.fileno(), 5000))
    while flags & uring.CQE_MORE:
        flags = ring.complete()[1]


@program
def send_zero_copy(run: Run) -> Iterator[None]:
    """SEND_ZC: two completions for one send."""
    yield from _zero_copy(run, uring.SEND_ZC)


@program
def sendmsg_zero_copy(run: Run) -> Iterator[None]:
    """SENDMSG_ZC: two completions for one message."""
    yield from _zero_copy(run, uring.SENDMSG_ZC)


@program
def receive_multishot(run: Run) -> Iterator[None]:
    """RECV, multishot: one entry, many completions."""
    ring, (client, server) = Ring(), tcp_pair()
    client_row = run.connection(client, direction="out")
    row = run.connection(server, direction="in")
    run.keep(ring)
    yield
    ring.provide_buffers(500, 8)
    many = uring.RECV_MULTISHOT
    ring.submit(uring.RECV, server.fileno(), flags=uring.BUFFER_SELECT, ioprio=many)
    for size in (101, 303, 55):
        client_row.write(kernel.sendto(client.fileno(), size))
        row.read(ring.result())


@program
def receive_message_multishot(run: Run) -> Iterator[None]:
    """RECVMSG, multishot: each completion has a header of its own, which is no payload."""
    ring, sender, receiver = Ring(), udp(), udp()
    sender.connect(receiver.getsockname())
    receiver.connect(sender.getsockname())
    sender_row, row = run.connection(sender), run.connection(receiver)
    header, kept = kernel.message(())
    run.keep(ring, header, kept)
    yield
    ring.provide_buffers(600, 8)
    address, many = ctypes.addressof(header), uring.RECV_MULTISHOT
    ring.submit(
        uring.RECVMSG, receiver.fileno(), address, 1, flags=uring.BUFFER_SELECT, ioprio=many
    )
    for size in (101, 303, 55):
        sender_row.write(kernel.sendto(sender.fileno(), size))
        row.read(ring.result() - MESSAGE_HEAD)


@program
def receive_into_provided_buffers(run: Run) -> Iterator[None]:
    """RECV into PROVIDE_BUFFERS."""
    yield from _provided(run, Ring.provide_buffers)


@program
def receive_into_buffer_ring(run: Run) -> Iterator[None]:
    """RECV into a registered ring of buffers."""
    yield from _provided(run, Ring.provide_ring)


def _provided(run: Run, provide: Callable[[Ring, int, int], None]) -> Iterator[None]:
    ring, (client, server) = Ring(), tcp_pair()
    client_row = run.connection(client, direction="out")
    row = run.connection(server, direction="in")
    run.keep(ring)
    provide(ring, 500, 8)
    yield
    client_row.write(kernel.sendto(client.fileno(), 303))
    ring.submit(uring.RECV, server.fileno(), flags=uring.BUFFER_SELECT)
    row.read(ring.result())
