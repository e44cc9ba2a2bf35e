"""Programs about what TCP can do: peeks, zero copy, fast open, TLS, partial sends, threads."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
import threading
from collections.abc import Iterator

from pbmond.selftest.workloads.programs import kernel
from pbmond.selftest.workloads.programs.inet import tcp_pair
from pbmond.selftest.workloads.programs.program import (
    Run,
    UnavailableError,
    fails,
    offered,
    program,
)
from pbmond.selftest.workloads.programs.tcp import await_closed

SO_ZEROCOPY, MSG_ZEROCOPY = 60, 0x4000000
TCP_ULP, TCP_ZEROCOPY_RECEIVE = 31, 35
# struct tcp_zerocopy_receive: address, length, how many bytes to receive in another way, how many
# wait, error, copy address and length, flags, control messages; at first it had the first three.
_ZEROCOPY, _ZEROCOPY_FIRST, _ZEROCOPY_COPIED = struct.Struct("=QIIIiQiIQQII"), 16, 36
SOL_TLS, TLS_TX, TLS_RX, TLS_1_2, TLS_AES_GCM_128 = 282, 1, 2, 0x0303, 51


@program
def tcp_fast_open(run: Run) -> Iterator[None]:
    """A sendto that connects on its way."""
    client = socket.socket()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        to = kernel.sockaddr(*listener.getsockname())
        yield
        with offered("TCP fast open"):
            sent = kernel.sendto(client.fileno(), 1003, to, socket.MSG_FASTOPEN)
        run.connection(client, direction="out").write(sent)
        server = listener.accept()[0]
        run.connection(server, direction="in").read(kernel.recvfrom(server.fileno(), 5000))


@program
def peeks_count_nothing(run: Run) -> Iterator[None]:
    """MSG_PEEK: a thousand peeks, one read."""
    client, server = tcp_pair()
    client_row = run.connection(client, direction="out")
    row = run.connection(server, direction="in")
    yield
    client_row.write(kernel.sendto(client.fileno(), 1003))
    for _ in range(334):
        kernel.recvfrom(server.fileno(), 501, socket.MSG_PEEK)
        kernel.recvmsg(server.fileno(), (501,), socket.MSG_PEEK)
        kernel.recvmmsg(server.fileno(), [501], socket.MSG_PEEK)
    row.read(kernel.recvfrom(server.fileno(), 5000))


@program
def truncated(run: Run) -> Iterator[None]:
    """MSG_TRUNC: bytes that are thrown away were received all the same."""
    client, server = tcp_pair()
    client_row = run.connection(client, direction="out")
    row = run.connection(server, direction="in")
    yield
    client_row.write(kernel.sendto(client.fileno(), 1003))
    row.read(kernel.recvfrom(server.fileno(), 501, socket.MSG_TRUNC))
    row.read(kernel.recvfrom(server.fileno(), 5000))


@program
def sent_without_copy(run: Run) -> Iterator[None]:
    """MSG_ZEROCOPY: the notice in the error queue is no payload."""
    client, server = tcp_pair()
    with offered("SO_ZEROCOPY"):
        client.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
    client_row = run.connection(client, direction="out")
    row = run.connection(server, direction="in")
    yield
    for size in (70_001, 303):
        sent = kernel.sendto(client.fileno(), size, None, MSG_ZEROCOPY)
        client_row.write(sent)
        while sent:
            got = kernel.recvfrom(server.fileno(), sent)
            row.read(got)
            sent -= got
        kernel.await_error(client.fileno())
        client.recvmsg(1, 1000, socket.MSG_ERRQUEUE)


def _received_without_copy(run: Run, extra: int, struct_size: int) -> Iterator[None]:
    client, server = tcp_pair()
    size, (read_end, write_end) = 8 * mmap.PAGESIZE, os.pipe()
    pipe_row, client_row = run.pipe(read_end), run.connection(client, direction="out")
    row, memory = run.connection(server, direction="in"), kernel.buffer(mmap.PAGESIZE)
    with offered("mmap of a TCP socket"):
        address = kernel.map_readable(server.fileno(), size)
    yield
    # Only whole pages that belong to no file can be mapped: a pipe's are such.
    pipe_row.write(os.write(write_end, bytes(size)))
    sent = kernel.splice(read_end, client.fileno(), size)
    pipe_row.read(sent)
    client_row.write(sent)
    if extra:
        client_row.write(kernel.sendto(client.fileno(), extra))
    row.calls_unknown()
    room = (ctypes.addressof(memory), len(memory)) if extra else (0, 0)
    fields = _ZEROCOPY.pack(address, size, 0, 0, 0, *room, 0, 0, 0, 0, 0)
    request = ctypes.create_string_buffer(fields[:struct_size], struct_size)
    with offered("TCP_ZEROCOPY_RECEIVE"):
        kernel.getsockopt(server.fileno(), socket.IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, request)
    answer = _ZEROCOPY.unpack(request.raw.ljust(_ZEROCOPY.size, b"\0"))
    mapped, copied = int(answer[1]), int(answer[6])
    if mapped == 0 or (extra and copied == 0):
        raise UnavailableError("TCP_ZEROCOPY_RECEIVE maps no page here, or copies nothing")
    row.read(mapped + copied)


@program
def received_without_copy(run: Run) -> Iterator[None]:
    """TCP_ZEROCOPY_RECEIVE: pages are mapped, and no call that receives returns them."""
    yield from _received_without_copy(run, 0, _ZEROCOPY_FIRST)


@program
def received_partly_copied(run: Run) -> Iterator[None]:
    """TCP_ZEROCOPY_RECEIVE: pages are mapped, and the rest is copied."""
    yield from _received_without_copy(run, 303, _ZEROCOPY.size)


@program
def received_partly_copied_short(run: Run) -> Iterator[None]:
    """TCP_ZEROCOPY_RECEIVE with a struct that ends behind how many bytes are copied."""
    yield from _received_without_copy(run, 303, _ZEROCOPY_COPIED)


@program
def tls(run: Run) -> Iterator[None]:
    """kTLS: what the program sends and receives, not the records on the wire."""
    client, server = tcp_pair()
    keys = struct.pack("=HH", TLS_1_2, TLS_AES_GCM_128) + bytes(8 + 16 + 4 + 8)
    for sock in (client, server):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
        except OSError as error:
            raise UnavailableError(f"kTLS: {error.strerror}") from error
        for way in (TLS_TX, TLS_RX):
            with offered("kTLS with AES-GCM"):
                sock.setsockopt(SOL_TLS, way, keys)
    client_row = run.connection(client, direction="out")
    row = run.connection(server, direction="in")
    yield
    client_row.write(kernel.sendto(client.fileno(), 1003), kernel.write(client.fileno(), 303))
    row.read(kernel.recvfrom(server.fileno(), 501), kernel.read(server.fileno(), 5000))
    row.write(kernel.sendmsg(server.fileno(), (7, 8)))
    client_row.read(kernel.recvmsg(client.fileno(), (5, 5000)))


@program
def partial_send(run: Run) -> Iterator[None]:
    """A full socket takes a part; then it takes nothing."""
    client, server = tcp_pair()
    client.settimeout(0)
    client_row = run.connection(client, direction="out")
    row = run.connection(server, direction="in")
    yield
    client_row.write(kernel.sendto(client.fileno(), 32 << 20))
    while True:
        try:
            client_row.write(kernel.sendto(client.fileno(), 1 << 20))
        except BlockingIOError:
            break  # once: an acknowledgement may make room again
    row.read(kernel.recvfrom(server.fileno(), 5001))


@program
def reset_while_unread(run: Run) -> Iterator[None]:
    """Bytes that were sent and never received are sent bytes."""
    client, server = tcp_pair()
    client_row = run.connection(client, direction="out")
    row = run.connection(server, direction="in")
    yield
    client_row.write(kernel.sendto(client.fileno(), 5003))
    row.read(kernel.recvfrom(server.fileno(), 101))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    with fails(errno.ECONNRESET):
        kernel.recvfrom(client.fileno(), 100)
    with fails(errno.EPIPE):
        kernel.sendto(client.fileno(), 99, None, socket.MSG_NOSIGNAL)


@program
def read_after_both_ends_closed(run: Run) -> Iterator[None]:
    """An answer that is read once both ends have closed: the kernel took the local port back."""
    client, server = tcp_pair()
    client_row = run.connection(client, direction="out")
    row = run.connection(server, direction="in")
    yield
    client_row.write(kernel.sendto(client.fileno(), 1003))
    client.shutdown(socket.SHUT_WR)
    row.read(kernel.recvfrom(server.fileno(), 5000))
    row.write(kernel.sendto(server.fileno(), 2011))
    server.close()
    await_closed(client)
    client_row.read(kernel.recvfrom(client.fileno(), 5000))


@program
def sixteen_threads(run: Run) -> Iterator[None]:
    """Sixteen threads send on one socket while one receives."""
    client, server = tcp_pair()
    client_row = run.connection(client, direction="out")
    row = run.connection(server, direction="in")
    sent: list[list[int]] = [[] for _ in range(16)]

    def work(results: list[int]) -> None:
        results += (kernel.sendto(client.fileno(), 2 * n + 1) for n in range(101))

    threads = [threading.Thread(target=work, args=(results,)) for results in sent]
    yield
    for thread in threads:
        thread.start()
    left = 16 * sum(kernel.stretched(2 * n + 1) for n in range(101))
    while left:
        got = kernel.recvfrom(server.fileno(), 5000)
        row.read(got)
        left -= got
    for thread in threads:
        thread.join()
    client_row.write(*(size for results in sent for size in results))
