"""Programs that send and receive over every address family but the internet's TCP and UDP."""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import struct
import time
from collections.abc import Iterator

from pbmond.patience import patient
from pbmond.selftest.workloads.programs import kernel
from pbmond.selftest.workloads.programs.program import (
    Run,
    UnavailableError,
    offered,
    program,
    unseen,
)

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
NLMSG_NOOP, NLM_F_REQUEST_ACK = 1, 5
ETH_P_ALL = 3
ICMP_ECHO = 8
SOL_PACKET, PACKET_RX_RING, PACKET_VERSION, TPACKET_V2 = 263, 5, 10, 1
TP_STATUS_USER = 1
RING_BYTES, FRAME_BYTES = 1 << 16, 2048
VMADDR_CID_LOCAL = 1


def own_network() -> None:
    """Enter a network namespace of its own, with the loopback interface up."""
    with offered("network namespace"):
        kernel.unshare(CLONE_NEWNET)
    bring_up("lo")


def bring_up(interface: str) -> None:
    """Set the interface's UP flag."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH22x", interface.encode(), 0)
        flags = struct.unpack("16sH22x", fcntl.ioctl(sock, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH22x", interface.encode(), flags | IFF_UP))


def _exchange(run: Run, left: socket.socket, right: socket.socket) -> Iterator[None]:
    """Both ways, by sendto, write, sendmsg and sendmmsg, over a connected pair of unix sockets."""
    left_row, right_row = run.connection(left, "unix"), run.connection(right, "unix")
    a, b = left.fileno(), right.fileno()
    yield
    left_row.write(kernel.sendto(a, 101))
    right_row.read(kernel.recvfrom(b, 500))
    left_row.write(kernel.write(a, 303))
    right_row.read(kernel.read(b, 500))
    right_row.write(kernel.sendmsg(b, (7, 0, 16)))
    left_row.read(kernel.recvmsg(a, (9, 500)))
    right_row.write(*kernel.sendmmsg(b, [(11, None), (13, None)]))
    left_row.read(*kernel.recvmmsg(a, [11, 13]))
    left_row.write(kernel.vectored("writev", a, (1, 2)))
    right_row.read(kernel.recvfrom(b, 100, socket.MSG_PEEK) and kernel.vectored("readv", b, (1, 9)))


def _unix_connection(run: Run, kind: socket.SocketKind, name: str) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX, kind) as listener:
        listener.bind(name)
        listener.listen()
        client = socket.socket(socket.AF_UNIX, kind)
        client.connect(name)
        server = listener.accept()[0]
    yield from _exchange(run, client, server)


@program
def unix_stream_path(run: Run) -> Iterator[None]:
    """Unix stream, named by a path."""
    yield from _unix_connection(run, socket.SOCK_STREAM, str(run.scratch / "s"))


@program
def unix_seqpacket_path(run: Run) -> Iterator[None]:
    """Unix seqpacket, named by a path."""
    yield from _unix_connection(run, socket.SOCK_SEQPACKET, str(run.scratch / "s"))


@program
def unix_stream_abstract(run: Run) -> Iterator[None]:
    """Unix stream, with an abstract name."""
    yield from _unix_connection(run, socket.SOCK_STREAM, f"\0workload-{os.getpid()}")


@program
def unix_seqpacket_abstract(run: Run) -> Iterator[None]:
    """Unix seqpacket, with an abstract name."""
    yield from _unix_connection(run, socket.SOCK_SEQPACKET, f"\0workload-{os.getpid()}")


@program
def unix_stream_pair(run: Run) -> Iterator[None]:
    """Unix stream, a pair."""
    yield from _exchange(run, *socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM))


@program
def unix_datagram_pair(run: Run) -> Iterator[None]:
    """Unix datagrams, a pair."""
    yield from _exchange(run, *socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))


@program
def unix_seqpacket_pair(run: Run) -> Iterator[None]:
    """Unix seqpacket, a pair."""
    yield from _exchange(run, *socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))


def _unix_datagrams(run: Run, names: tuple[str, str]) -> Iterator[None]:
    """An unconnected sender and a receiver, both bound."""
    sender, receiver = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in names)
    sender.bind(names[0])
    receiver.bind(names[1])
    sender_row, receiver_row = run.connection(sender, "unix"), run.connection(receiver, "unix")
    to = kernel.sockaddr_un(os.fsencode(names[1]))
    yield
    sender_row.write(kernel.sendto(sender.fileno(), 101, to))
    sender_row.write(kernel.sendmsg(sender.fileno(), (7, 8), to))
    sender_row.write(*kernel.sendmmsg(sender.fileno(), [(11, to), (13, to)]))
    receiver_row.read(*kernel.recvmmsg(receiver.fileno(), [500, 5, 500]))
    receiver_row.read(kernel.recvfrom(receiver.fileno(), 500))


@program
def unix_datagram_path(run: Run) -> Iterator[None]:
    """Unix datagrams to a path."""
    yield from _unix_datagrams(run, (str(run.scratch / "a"), str(run.scratch / "b")))


@program
def unix_datagram_abstract(run: Run) -> Iterator[None]:
    """Unix datagrams to an abstract name."""
    name = f"\0workload-{os.getpid()}"
    yield from _unix_datagrams(run, (name + "-a", name + "-b"))


@program
def netlink(run: Run) -> Iterator[None]:
    """A request that does nothing, and the kernel's acknowledgement."""
    with offered("netlink"):
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    sock.bind((0, 0))
    row = run.connection(sock, "socket")
    request = struct.pack("=IHHII", 21, NLMSG_NOOP, NLM_F_REQUEST_ACK, 1, 0) + bytes(5)
    yield
    row.write(kernel.call("sendto", sock.fileno(), request, len(request), 0, None, 0))
    row.read(kernel.recvfrom(sock.fileno(), 5000))


@program
def packet(run: Run) -> Iterator[None]:
    """Whole frames on a loopback interface where nobody else speaks."""
    own_network()
    with offered("packet socket"):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.bind(("lo", ETH_P_ALL))
    row = run.connection(sock, "socket")
    yield
    row.write(kernel.write(sock.fileno(), 333))
    row.read(kernel.recvfrom(sock.fileno(), 5000))


def _mapped_ring(sock: socket.socket) -> mmap.mmap:
    """Map a ring for what the packet socket receives, of frames after struct tpacket2_hdr."""
    sock.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
    geometry = struct.pack("4I", RING_BYTES, 1, FRAME_BYTES, RING_BYTES // FRAME_BYTES)
    sock.setsockopt(SOL_PACKET, PACKET_RX_RING, geometry)
    return mmap.mmap(sock.fileno(), RING_BYTES)


@program
@unseen("mapped rings")
def packet_ring(run: Run) -> Iterator[None]:
    """Frames taken from a mapped ring, as tcpdump does: no call returns them."""
    own_network()
    with offered("packet socket"):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    ring = _mapped_ring(sock)
    sock.bind(("lo", ETH_P_ALL))
    row = run.connection(sock, "socket")
    yield
    sent = kernel.write(sock.fileno(), 333)
    row.write(sent)
    deadline = time.monotonic() + patient(5)
    while not struct.unpack_from("I", ring)[0] & TP_STATUS_USER:
        if time.monotonic() > deadline:
            raise AssertionError("no frame came")
        time.sleep(0.001)
    row.read(struct.unpack_from("I", ring, 8)[0])  # tp_snaplen


def _echo(run: Run, sock: socket.socket, answers: int) -> Iterator[None]:
    """One ICMP echo to this host; ``answers`` messages come back."""
    sock.connect(("127.0.0.1", 0))
    row = run.connection(sock)
    body = struct.pack("!BBHHH", ICMP_ECHO, 0, 0, 7, 1) + bytes(93)
    words = struct.unpack("!51H", body + b"\0")
    folded = sum(words) % 0xFFFF
    body = body[:2] + struct.pack("!H", 0xFFFF - folded) + body[4:]
    yield
    row.write(kernel.call("sendto", sock.fileno(), body, len(body), 0, None, 0))
    row.read(*(kernel.recvfrom(sock.fileno(), 5000) for _ in range(answers)))


@program
def icmp_raw(run: Run) -> Iterator[None]:
    """A raw socket sees its own request arrive, then the reply; both with their IP header."""
    own_network()
    with offered("raw socket"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    yield from _echo(run, sock, 2)


@program
def icmp_datagram(run: Run) -> Iterator[None]:
    """A ping socket, in a namespace that lets every group have one."""
    own_network()
    with open("/proc/sys/net/ipv4/ping_group_range", "w", encoding="ascii") as setting:  # noqa: PTH123  light start
        setting.write("0 2147483647")
    with offered("ping socket"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    yield from _echo(run, sock, 1)


@program
def crypto(run: Run) -> Iterator[None]:
    """The kernel's hash service is a socket too."""
    try:
        service = socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)
        service.bind(("hash", "sha256"))
    except OSError as error:
        raise UnavailableError(f"AF_ALG: {error.strerror}") from error
    sock = service.accept()[0]
    row = run.connection(sock, "socket")
    yield
    row.write(kernel.sendto(sock.fileno(), 1003))
    row.read(kernel.recvfrom(sock.fileno(), 31))


@program
def vsock(run: Run) -> Iterator[None]:
    """A connection to this machine itself, where the kernel has the loopback transport."""
    try:
        listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        listener.bind((VMADDR_CID_LOCAL, socket.VMADDR_PORT_ANY))
        listener.listen()
        client = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        client.settimeout(patient(2))
        client.connect((VMADDR_CID_LOCAL, listener.getsockname()[1]))
        client.settimeout(None)
    except OSError as error:
        raise UnavailableError(f"vsock loopback: {error}") from error
    server = listener.accept()[0]
    client_row, server_row = run.connection(client, "socket"), run.connection(server, "socket")
    yield
    client_row.write(kernel.sendto(client.fileno(), 1003))
    server_row.read(kernel.recvfrom(server.fileno(), 5000))
