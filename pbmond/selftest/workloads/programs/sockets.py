"""Programs that send and receive over the internet families, by each system call."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

from pbmond.selftest.workloads.programs import kernel
from pbmond.selftest.workloads.programs.inet import exchange, tcp_pair, udp
from pbmond.selftest.workloads.programs.program import (
    Run,
    UnavailableError,
    fails,
    program,
)

IP_RECVERR = 11
ANY = "0.0.0.0"  # noqa: S104  sent to, never bound
MAPPED = "::ffff:127.0.0.1"
IPPROTO_MPTCP = 262


def _plain(run: Run, ends: tuple[socket.socket, socket.socket]) -> Iterator[None]:
    yield from exchange(
        run, ends, lambda fd: kernel.sendto(fd, 4003), lambda fd: kernel.recvfrom(fd, 10_000)
    )


@program
def tcp_ipv4(run: Run) -> Iterator[None]:
    """TCP over IPv4."""
    yield from _plain(run, tcp_pair())


@program
def tcp_ipv6(run: Run) -> Iterator[None]:
    """TCP over IPv6."""
    yield from _plain(run, tcp_pair("::1"))


@program
def tcp_v4_mapped_client(run: Run) -> Iterator[None]:
    """TCP from a v4-mapped socket."""
    yield from _plain(run, tcp_pair(MAPPED, listen_on="127.0.0.1"))


@program
def tcp_v4_mapped_server(run: Run) -> Iterator[None]:
    """TCP to a v4-mapped socket."""
    yield from _plain(run, tcp_pair("127.0.0.1", listen_on="::"))


@program
def tcp_to_own_address(run: Run) -> Iterator[None]:
    """The peer is the host itself, though not by a loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.254", 9))
        except OSError as error:
            raise UnavailableError("no address but loopback") from error
        host = probe.getsockname()[0]
    yield from _plain(run, tcp_pair(host))


@program
def mptcp(run: Run) -> Iterator[None]:
    """MPTCP."""
    yield from _plain(run, tcp_pair(protocol=IPPROTO_MPTCP))


@program
def sctp(run: Run) -> Iterator[None]:
    """SCTP, one to one."""
    yield from _plain(run, tcp_pair(protocol=socket.IPPROTO_SCTP))


@program
def read_write(run: Run) -> Iterator[None]:
    """Read and write on a socket."""
    yield from exchange(
        run, tcp_pair(), lambda fd: kernel.write(fd, 4003), lambda fd: kernel.read(fd, 10_000)
    )


@program
def readv_writev(run: Run) -> Iterator[None]:
    """Readv and writev on a socket."""
    yield from exchange(
        run,
        tcp_pair(),
        lambda fd: kernel.vectored("writev", fd, (1, 2000, 6)),
        lambda fd: kernel.vectored("readv", fd, (5, 6000)),
    )


@program
def preadv2_pwritev2(run: Run) -> Iterator[None]:
    """preadv2 and pwritev2 on a socket."""
    yield from exchange(
        run,
        tcp_pair(),
        lambda fd: kernel.vectored("pwritev2", fd, (1, 2000, 6), kernel.AT_POSITION),
        lambda fd: kernel.vectored("preadv2", fd, (5, 6000), kernel.AT_POSITION),
    )


@program
def sendmsg_recvmsg(run: Run) -> Iterator[None]:
    """Sendmsg and recvmsg."""
    yield from exchange(
        run,
        tcp_pair(),
        lambda fd: kernel.sendmsg(fd, (1, 2000, 6)),
        lambda fd: kernel.recvmsg(fd, (5, 6000)),
    )


@program
def sendmmsg_recvmmsg(run: Run) -> Iterator[None]:
    """Sendmmsg and recvmmsg."""
    client, server = tcp_pair()
    client_row = run.connection(client, direction="out")
    server_row = run.connection(server, direction="in")
    yield
    client_row.write(*kernel.sendmmsg(client.fileno(), [(101, None), (303, None), (1, None)]))
    server_row.read(*kernel.recvmmsg(server.fileno(), [200, 205]))


@program
def tcp_stream(run: Run) -> Iterator[None]:
    """Many calls of many sizes, both ends in one process; several megabytes."""
    client, server = tcp_pair()
    # Else each write may wait 40 ms for the acknowledgement of the one before, which is delayed.
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client_row = run.connection(client, direction="out")
    server_row = run.connection(server, direction="in")
    yield
    for number in range(501):
        size = kernel.write(client.fileno(), 2 * number * 11 + 1)
        client_row.write(size)
        while size:
            got = kernel.recvfrom(server.fileno(), size)
            server_row.read(got)
            size -= got


def _connected_udp(run: Run, host: str) -> Iterator[None]:
    left, right = udp(host), udp(host)
    left.connect(right.getsockname())
    right.connect(left.getsockname())
    left_row, right_row = run.connection(left), run.connection(right)
    yield
    left_row.write(kernel.write(left.fileno(), 1003), kernel.sendto(left.fileno(), 1))
    right_row.read(kernel.read(right.fileno(), 5000), kernel.recvfrom(right.fileno(), 5000))
    sizes = kernel.sendmmsg(right.fileno(), [(11, None), (33, None), (55, None)])
    right_row.write(*sizes)
    left_row.read(*kernel.recvmmsg(left.fileno(), [100, 100, 100]))
    left_row.write(kernel.sendto(left.fileno(), 0))  # an empty datagram: no byte, no call
    right_row.read(kernel.recvmsg(right.fileno(), (10,)))


@program
def udp_connected_ipv4(run: Run) -> Iterator[None]:
    """UDP over IPv4, connected."""
    yield from _connected_udp(run, "127.0.0.1")


@program
def udp_connected_ipv6(run: Run) -> Iterator[None]:
    """UDP over IPv6, connected."""
    yield from _connected_udp(run, "::1")


def _unconnected(
    run: Run, sender: socket.socket, receivers: list[socket.socket], *, mapped: bool = False
) -> Iterator[None]:
    """Send a different size to each peer by sendto, sendmsg and sendmmsg, then receive all."""
    ends = [receiver.getsockname()[:2] for receiver in receivers]
    peers = [(f"::ffff:{host}", port) for host, port in ends] if mapped else ends
    rows = [run.connection(sender, to=peer) for peer in peers]
    receiver_rows = [run.connection(receiver) for receiver in receivers]
    addresses = [kernel.sockaddr(*peer) for peer in peers]
    yield
    fd = sender.fileno()
    for number, (row, address) in enumerate(zip(rows, addresses, strict=True)):
        row.write(kernel.sendto(fd, 101 + 2 * number, address))
        row.write(kernel.sendmsg(fd, (1000, 1 + 2 * number), address))
    messages = [(11 + 2 * number, address) for number, address in enumerate(addresses)]
    for row, size in zip(rows, kernel.sendmmsg(fd, messages), strict=True):
        row.write(size)
    for row, receiver in zip(receiver_rows, receivers, strict=True):
        row.read(kernel.recvfrom(receiver.fileno(), 5000))
        row.read(*kernel.recvmmsg(receiver.fileno(), [5000, 5000]))


@program
def udp_unconnected_ipv4(run: Run) -> Iterator[None]:
    """UDP over IPv4, unconnected, to three peers."""
    yield from _unconnected(run, udp(), [udp() for _ in range(3)])


@program
def udp_unconnected_ipv6(run: Run) -> Iterator[None]:
    """UDP over IPv6, unconnected, to three peers."""
    yield from _unconnected(run, udp("::1"), [udp("::1") for _ in range(3)])


@program
def udp_unconnected_v4_mapped(run: Run) -> Iterator[None]:
    """UDP from a v4-mapped socket, unconnected, to three peers."""
    sender = udp("::")
    yield from _unconnected(run, sender, [udp() for _ in range(3)], mapped=True)


def _to_any(
    run: Run, receiver: socket.socket, sender: socket.socket, sent_to: str, reached: str
) -> Iterator[None]:
    """Send by each call to the address "any", which the kernel takes for this host's own."""
    receiver.bind(("", 0))
    port = receiver.getsockname()[1]
    row, receiver_row = run.connection(sender, to=(reached, port)), run.connection(receiver)
    receiver_row.facts["byte_class"] = "net"  # its socket shows no peer
    address = kernel.sockaddr(sent_to, port)
    yield
    row.write(kernel.sendto(sender.fileno(), 101, address))
    row.write(kernel.sendmsg(sender.fileno(), (1000, 1), address))
    row.write(*kernel.sendmmsg(sender.fileno(), [(11, address), (13, address)]))
    receiver_row.read(*(kernel.recvfrom(receiver.fileno(), 5000) for _ in range(4)))


@program
def udp_to_any_ipv4(run: Run) -> Iterator[None]:
    """UDP sent to 0.0.0.0 from a socket without an address."""
    receiver, sender = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
    sender.bind(("", 0))
    yield from _to_any(run, receiver, sender, ANY, "127.0.0.1")


@program
def udp_to_any_from_an_address(run: Run) -> Iterator[None]:
    """UDP sent to 0.0.0.0 from an address goes to that address."""
    receiver, sender = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
    sender.bind(("127.0.0.7", 0))
    yield from _to_any(run, receiver, sender, ANY, "127.0.0.7")


@program
def udp_to_any_ipv6(run: Run) -> Iterator[None]:
    """UDP sent to ::."""
    receiver, sender = (socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(2))
    sender.bind(("", 0))
    yield from _to_any(run, receiver, sender, "::", "::1")


@program
def udp_to_any_v4_mapped(run: Run) -> Iterator[None]:
    """UDP sent to ::ffff:0.0.0.0."""
    receiver = socket.socket(type=socket.SOCK_DGRAM)
    sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sender.bind(("", 0))
    yield from _to_any(run, receiver, sender, "::ffff:0.0.0.0", MAPPED)


@program
def sendmmsg_after_a_fault(run: Run) -> Iterator[None]:
    """A message that the kernel cannot read ends sendmmsg; the next one begins with its first."""
    sender, receivers = udp(), [udp() for _ in range(3)]
    peers = [receiver.getsockname() for receiver in receivers]
    rows = [run.connection(sender, to=peer) for peer in peers]
    messages = [(101 * (n + 1), kernel.sockaddr(*peer)) for n, peer in enumerate(peers)]
    yield
    for spoilt in (1, 2):
        for sizes in kernel.sendmmsg_again(sender.fileno(), messages, spoilt):
            for row, size in zip(rows, sizes, strict=False):
                row.write(size)


@program
def udp_connected_but_sent_elsewhere(run: Run) -> Iterator[None]:
    """The call's own address wins over the one connected to."""
    sender, usual, other = udp(), udp(), udp()
    sender.connect(usual.getsockname())
    usual_row, other_row = run.connection(sender), run.connection(sender, to=other.getsockname())
    yield
    address = kernel.sockaddr(*other.getsockname())
    usual_row.write(kernel.sendto(sender.fileno(), 101))
    other_row.write(kernel.sendto(sender.fileno(), 303, address))


@program
def udp_shared_address(run: Run) -> Iterator[None]:
    """Two sockets with SO_REUSEPORT have one address, and a row each."""
    sharing = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(2)]
    for each in sharing:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        each.bind(("127.0.0.1", sharing[0].getsockname()[1]))
    peer = udp()
    address = kernel.sockaddr(*peer.getsockname())
    rows = [run.connection(each, to=peer.getsockname()) for each in sharing]
    yield
    for number, (row, each) in enumerate(zip(rows, sharing, strict=True)):
        row.write(kernel.sendto(each.fileno(), 101 + 202 * number, address))
        row.write(*kernel.sendmmsg(each.fileno(), [(11 + number, address), (13, address)]))


@program
def udp_address_used_again(run: Run) -> Iterator[None]:
    """A socket with the address of one that was closed is another one."""
    peer, first = udp(), udp()
    address, own = kernel.sockaddr(*peer.getsockname()), first.getsockname()
    row = run.connection(first, to=peer.getsockname())
    yield
    row.write(kernel.sendto(first.fileno(), 101, address))
    os.close(first.detach())
    second = socket.socket(type=socket.SOCK_DGRAM)
    second.bind(own)
    after = run.connection(second, to=peer.getsockname())
    after.write(kernel.sendto(second.fileno(), 303, address))


@program
def udp_truncated(run: Run) -> Iterator[None]:
    """What the kernel returned counts: the rest is lost, or reported by MSG_TRUNC."""
    sender, receiver = udp(), udp()
    row, to = run.connection(receiver), receiver.getsockname()
    sender_row = run.connection(sender, to=to)
    yield
    for _ in range(2):
        sender_row.write(kernel.sendto(sender.fileno(), 901, kernel.sockaddr(*to)))
    row.read(kernel.recvfrom(receiver.fileno(), 101))
    row.read(kernel.recvfrom(receiver.fileno(), 101, socket.MSG_TRUNC))


@program
def error_queue_reads_count_nothing(run: Run) -> Iterator[None]:
    """MSG_ERRQUEUE hands a sent datagram back."""
    sender, closed = udp(), udp()
    sender.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    sender.connect(closed.getsockname())
    closed.close()
    row = run.connection(sender)
    yield
    sent = kernel.sendto(sender.fileno(), 333)
    row.write(sent)
    kernel.await_error(sender.fileno())
    if kernel.recvmsg(sender.fileno(), (5000,), socket.MSG_ERRQUEUE) != sent:
        raise AssertionError("the error queue did not hand the datagram back")


@program
def failures_count_nothing(run: Run) -> Iterator[None]:
    """EAGAIN, EMSGSIZE, EFAULT, ECONNRESET and EPIPE move nothing."""
    client, server = tcp_pair()
    datagrams, peer = udp(), udp()
    datagrams.connect(peer.getsockname())
    client_row = run.connection(client, direction="out")
    datagram_row = run.connection(datagrams)
    yield
    with fails(errno.EAGAIN):
        kernel.recvfrom(client.fileno(), 100, socket.MSG_DONTWAIT)
    with fails(errno.EMSGSIZE):
        kernel.sendto(datagrams.fileno(), 70_001)
    with fails(errno.EFAULT):
        kernel.call("sendto", datagrams.fileno(), 1, 99, 0, None, 0)
    # The second message is too large: the call ends after the first one.
    messages: list[tuple[int, bytes | None]] = [(51, None), (70_001, None), (53, None)]
    datagram_row.write(*kernel.sendmmsg(datagrams.fileno(), messages))
    client_row.write(kernel.sendto(client.fileno(), 77))
    # Closing with unread bytes resets the connection: no send can succeed any more.
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    with fails(errno.ECONNRESET):
        kernel.recvfrom(client.fileno(), 100)
    with fails(errno.EPIPE):
        kernel.sendto(client.fileno(), 99, None, socket.MSG_NOSIGNAL)
    client_row.read(kernel.recvfrom(client.fileno(), 100))  # the end of the stream: nothing
