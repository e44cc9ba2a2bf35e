"""sock_diag: what connections have moved, by the kernel's answers and on this kernel."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbmond.host import sockdiag
from pbmond.host.sockdiag import TcpMoved, parse_connection

ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING = 1, 4, 5, 8, 9, 11
INFO, SKMEMINFO = 2, 7
DONE, ERROR = 3, 2


def tcp_info(acked: int, received: int, notsent: int, sent: int, again: int) -> bytes:
    counts = struct.pack("=QQ", acked, received)
    return (
        bytes(120) + counts + bytes(8) + struct.pack("=I", notsent) + bytes(52)
        + struct.pack("=QQ", sent, again) + bytes(40)
    )  # fmt: skip


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def answer(state: int = ESTABLISHED, unread: int = 0, unacked: int = 0, **info: int) -> bytes:
    """Make an inet_diag_msg between ports 80 and 5000 of socket 77, and its TCP_INFO."""
    counts = {"acked": 0, "received": 0, "notsent": 0, "sent": 0, "again": 0, **info}
    ends = struct.pack("!HH", 80, 5000) + bytes(32) + bytes(12)
    tail = struct.pack("=IIIII", 9, unread, unacked, 1000, 77)
    head = struct.pack("=BBBB", socket.AF_INET, state, 0, 0)
    return (
        head + ends + tail + attribute(SKMEMINFO, bytes(36)) + attribute(INFO, tcp_info(**counts))
    )


def moved(*more: Any, **values: int) -> tuple[int, int]:
    found = parse_connection(answer(*more, **values))
    assert found is not None
    return found.received, found.sent


def test_a_connection_is_its_socket_and_its_ports() -> None:
    assert parse_connection(answer(received=10, acked=20, sent=20)) == TcpMoved(
        77, 80, 5000, 10, 20
    )


def test_what_waits_to_be_read_is_not_received_yet() -> None:
    assert moved(received=1000, unread=300) == (700, 0)


@pytest.mark.parametrize("state", [CLOSE_WAIT, LAST_ACK, CLOSING])
@pytest.mark.parametrize("unread", [0, 1, 301])
def test_the_fin_of_the_other_side_is_no_byte(state: int, unread: int) -> None:
    # Unread, it waits behind the bytes that do.
    assert moved(state, received=1001, unread=unread)[0] == 1000 - max(0, unread - 1)


@pytest.mark.parametrize("syn", [0, 1])  # of the side that opened the connection
def test_what_was_sent_includes_what_has_not_arrived_or_left(syn: int) -> None:
    values = {"acked": 500 + syn, "unacked": 400, "notsent": 300, "sent": 700, "again": 100}
    assert moved(**values)[1] == 900


@pytest.mark.parametrize("syn", [0, 1])
@pytest.mark.parametrize("state", [FIN_WAIT1, FIN_WAIT2, LAST_ACK, CLOSING])
def test_the_own_fin_is_no_byte(state: int, syn: int) -> None:
    assert moved(state, acked=501 + syn, sent=500)[1] == 500
    assert moved(state, acked=200 + syn, unacked=301, notsent=101, sent=400)[1] == 500


def test_segments_that_the_host_dropped_never_make_it_more() -> None:
    # The bytes of a dropped segment were transmitted twice, but never sent again.
    assert moved(acked=501, sent=700)[1] == 500
    assert moved(acked=500, sent=700)[1] == 499


def test_a_connection_without_tcp_info_is_none() -> None:
    assert parse_connection(answer()[:72]) is None


@pytest.mark.parametrize("size", [0, 71, 74, 100, 200])
def test_half_an_answer_is_an_error(size: int) -> None:
    with pytest.raises(ValueError, match=r"half|without"):
        parse_connection(answer()[:size])


def test_a_tcp_info_of_a_kernel_that_does_not_count_is_an_error() -> None:
    short = answer()[:72] + attribute(INFO, bytes(192))
    with pytest.raises(ValueError, match="without byte counts"):
        parse_connection(short)


@given(st.binary(max_size=400), st.integers(0, 400))
def test_any_bytes_are_a_connection_or_an_error(noise: bytes, at: int) -> None:
    body = answer()
    try:
        found = parse_connection(body[:at] + noise + body[at + len(noise) :])
    except ValueError:
        return
    assert found is None or min(found.received, found.sent) >= 0


# --- a whole list ---------------------------------------------------------------------------------


class Kernel:
    """Answers of sock_diag: what each receiving call returns, and who sent it."""

    def __init__(self, *answers: bytes, sender: int = 0) -> None:
        self._answers = list(answers)
        self._sender = sender
        self.asked: list[int] = []

    def sendto(self, message: bytes, _address: object) -> None:
        self.asked.append(message[16])

    def recvfrom(self, _size: int) -> tuple[bytes, tuple[int, int]]:
        return self._answers.pop(0), (self._sender, 0)


def packed(body: bytes, kind: int = 20, flags: int = 2) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 9) + body


def listed(*answers: bytes, sender: int = 0) -> list[TcpMoved]:
    kernel: Any = Kernel(*answers, sender=sender)
    return list(sockdiag.connections(kernel))


ALL = packed(bytes(4), DONE)


def test_connections_of_both_families_are_asked_for() -> None:
    kernel: Any = Kernel(packed(answer()) + packed(answer()), ALL, packed(answer()) + ALL)
    assert len(list(sockdiag.connections(kernel))) == 3
    assert kernel.asked == [socket.AF_INET, socket.AF_INET6]


def test_a_connection_that_no_process_holds_is_left_out() -> None:
    orphan = answer()[:68] + bytes(4) + answer()[72:]
    assert listed(packed(orphan) + ALL, ALL) == []


def test_a_kernel_without_ipv6_has_only_the_other_connections() -> None:
    unknown = packed(struct.pack("=i", -2) + bytes(16), ERROR)
    assert len(listed(packed(answer()) + ALL, unknown)) == 1
    with pytest.raises(FileNotFoundError):  # without IPv4 there is no sock_diag at all
        listed(unknown)


@pytest.mark.parametrize("kind", [DONE, ERROR])
def test_a_list_that_the_kernel_ends_with_an_error_is_none(kind: int) -> None:
    with pytest.raises(PermissionError):
        listed(packed(answer()), packed(struct.pack("=i", -1), kind))


def test_an_interrupted_list_is_an_error() -> None:
    with pytest.raises(ValueError, match="no whole list"):
        listed(packed(answer(), flags=0x12) + ALL)


def test_an_answer_of_another_process_is_an_error() -> None:
    with pytest.raises(ValueError, match="not the kernel's"):
        listed(packed(answer()) + ALL, sender=4711)


# --- this kernel ----------------------------------------------------------------------------------


@contextmanager
def pair(address: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listener:
        client = socket.create_connection(listener.getsockname()[:2])
        server, _ = listener.accept()
        with client, server:
            yield client, server


def known(*ends: socket.socket) -> list[tuple[int, int]]:
    with closing(sockdiag.opened()) as asking:
        found = {each.inode: each for each in sockdiag.connections(asking)}
    inodes = [os.fstat(end.fileno()).st_ino for end in ends]
    return [(found[inode].received, found[inode].sent) for inode in inodes]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_this_kernel_tells_what_calls_moved(address: str) -> None:
    with pair(address) as (client, server):
        assert known(client, server) == [(0, 0), (0, 0)]
        client.sendall(bytes(1000))
        server.recv(300)
        server.sendall(bytes(77))
        client.recv(77)
        assert known(client, server) == [(77, 1000), (300, 77)]
        client.shutdown(socket.SHUT_WR)
        assert known(client, server) == [(77, 1000), (300, 77)]
        server.recv(700)
        assert server.recv(1) == b""
        assert known(client, server) == [(77, 1000), (1000, 77)]


def test_this_kernel_tells_what_could_not_leave_yet() -> None:
    with pair("127.0.0.1") as (client, server):
        client.settimeout(0)
        sent = 0
        with suppress(BlockingIOError):
            while True:
                sent += client.send(bytes(10_000))
        client.shutdown(socket.SHUT_WR)
        assert known(client, server) == [(0, sent), (0, 0)]
