"""Programs in network and PID namespaces of their own; a veth pair gives them a real peer."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

from pbmond.selftest.workloads.programs import kernel
from pbmond.selftest.workloads.programs.families import CLONE_NEWNET, bring_up, own_network
from pbmond.selftest.workloads.programs.inet import tcp_pair, udp
from pbmond.selftest.workloads.programs.program import Gate, Run, offered, program

CLONE_NEWPID = 0x20000000
RTM_NEWLINK, RTM_NEWADDR = 16, 20
NLM_F_REQUEST_ACK_CREATE = 0x1 | 0x4 | 0x400
IFLA_IFNAME, IFLA_LINKINFO, IFLA_NET_NS_PID = 3, 18, 19
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
IFA_ADDRESS, IFA_LOCAL, IFA_F_NODAD = 1, 2, 2
FAMILIES = (socket.AF_INET, socket.AF_INET6)
NEAR, FAR = ("198.51.100.1", "2001:db8::1"), ("198.51.100.2", "2001:db8::2")
TCP_PORT, UDP_PORT = 7001, 7003


def attribute(kind: int, value: bytes) -> bytes:
    """Pack one attribute of rtnetlink."""
    head = struct.pack("=HH", 4 + len(value), kind)
    return head + value + bytes(-len(value) % 4)


def route(kind: int, body: bytes) -> None:
    """Send one rtnetlink request and raise what the kernel answers."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        head = struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST_ACK_CREATE, 1, 0)
        sock.send(head + body)
        number = -struct.unpack_from("=i", sock.recv(4096), 16)[0]
    if number:
        raise OSError(number, f"rtnetlink {kind}: {os.strerror(number)}")


def make_veth(peer_pid: int) -> None:
    """Make the interface v0 here and v1, its other end, in the namespace of ``peer_pid``."""
    name = attribute(IFLA_IFNAME, b"v1\0")
    peer = bytes(16) + name + attribute(IFLA_NET_NS_PID, struct.pack("=I", peer_pid))
    info = attribute(IFLA_INFO_KIND, b"veth\0")
    info += attribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, peer))
    body = bytes(16) + attribute(IFLA_IFNAME, b"v0\0") + attribute(IFLA_LINKINFO, info)
    route(RTM_NEWLINK, body)


def give_address(interface: str, hosts: tuple[str, str]) -> None:
    """Give the interface an IPv4 and an IPv6 address, usable at once, and bring it up."""
    index = socket.if_nametoindex(interface)
    for family, host, prefix in zip(FAMILIES, hosts, (24, 64), strict=True):
        packed = socket.inet_pton(family, host)
        body = struct.pack("=BBBBI", family, prefix, IFA_F_NODAD, 0, index)
        body += attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)
        route(RTM_NEWADDR, body)
    bring_up(interface)


class Link:
    """A veth pair between two processes, each in a network namespace of its own.

    Made before the fork. ``listening`` is opened by the far end once it can be connected to.
    """

    def __init__(self) -> None:
        self._entered, self._connected, self.listening = Gate(), Gate(), Gate()

    def far(self) -> None:
        """Enter a namespace, and return with the address FAR in it."""
        own_network()
        self._entered.open()
        self._connected.wait()
        give_address("v1", FAR)

    def near(self, far_pid: int) -> None:
        """Enter a namespace, and return with the address NEAR in it when the far end listens."""
        own_network()
        self._entered.wait()
        with offered("veth"):
            make_veth(far_pid)
        give_address("v0", NEAR)
        self._connected.open()
        self.listening.wait()


def _far_end(run: Run, version: int, link: Link) -> None:
    """The peer, in a namespace of its own: receive 1003 bytes, send 2001, receive a datagram."""
    link.far()
    host = FAR[version]
    listener = socket.create_server((host, TCP_PORT), family=FAMILIES[version])
    datagrams = socket.socket(FAMILIES[version], socket.SOCK_DGRAM)
    datagrams.bind((host, UDP_PORT))
    link.listening.open()
    server = listener.accept()[0]
    row = run.connection(server, "net", "in")
    kernel.await_input(server.fileno())
    row.read(kernel.recvfrom(server.fileno(), 1003, socket.MSG_WAITALL))
    row.write(kernel.sendto(server.fileno(), 2001))
    udp_row = run.connection(datagrams, "net")
    udp_row.read(kernel.recvfrom(datagrams.fileno(), 5000))
    server.recv(1)  # until the other end closes; a result of 0 is no call


def _across(run: Run, version: int) -> Iterator[None]:
    link = Link()
    far = run.fork(lambda inner: _far_end(inner, version, link))
    link.near(far.pid)
    client = socket.create_connection((FAR[version], TCP_PORT))
    datagrams = socket.socket(FAMILIES[version], socket.SOCK_DGRAM)
    datagrams.bind((NEAR[version], 0))
    row = run.connection(client, "net", "out")
    udp_row = run.connection(datagrams, "net", to=(FAR[version], UDP_PORT))
    yield
    row.write(kernel.write(client.fileno(), 1003))
    row.read(kernel.recvfrom(client.fileno(), 2001, socket.MSG_WAITALL))
    to = kernel.sockaddr(FAR[version], UDP_PORT)
    udp_row.write(kernel.sendto(datagrams.fileno(), 501, to))
    client.shutdown(socket.SHUT_WR)
    run.join(far)


@program
def veth_ipv4(run: Run) -> Iterator[None]:
    """A peer on another host, as far as either namespace can tell."""
    yield from _across(run, 0)


@program
def veth_ipv6(run: Run) -> Iterator[None]:
    """The same over IPv6."""
    yield from _across(run, 1)


@program
def own_network_namespace(run: Run) -> Iterator[None]:
    """The same addresses as everywhere, in a namespace of its own."""
    own_network()
    client, server = tcp_pair()
    client_row = run.connection(client, direction="out")
    server_row = run.connection(server, direction="in")
    yield
    client_row.write(kernel.write(client.fileno(), 1003))
    server_row.read(kernel.read(server.fileno(), 5000))


@program
def one_tuple_in_two_namespaces(run: Run) -> Iterator[None]:
    """One process, two sockets with the same five-tuple in two namespaces."""
    rows = []
    for _ in range(2):
        own_network()
        left = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        left.bind(("127.0.0.1", 7005))
        left.connect(("127.0.0.1", 7007))
        rows.append((run.connection(left), left.fileno()))
    yield
    for number, (row, fd) in enumerate(rows):
        row.write(kernel.sendto(fd, 101 + 202 * number))


@program
def socket_of_another_namespace(run: Run) -> Iterator[None]:
    """The socket's namespace counts, not that of the process that uses it."""
    sock, peer = udp(), udp()
    sock.connect(peer.getsockname())
    row = run.connection(sock)
    run.keep(peer)
    with offered("network namespace"):
        kernel.unshare(CLONE_NEWNET)
    yield
    row.write(kernel.sendto(sock.fileno(), 333))


@program
def own_pid_namespace(run: Run) -> Iterator[None]:
    """A process that knows itself as pid 1 has another pid outside."""
    fd = run.open("data")
    with offered("PID namespace"):
        kernel.unshare(CLONE_NEWPID)

    def first(inner: Run) -> None:
        if os.getpid() != 1:
            raise AssertionError("not the first of its namespace")
        inner.file(fd, path=os.fsencode(inner.scratch / "data")).write(kernel.write(fd, 1003))

    yield
    run.join(run.fork(first))
