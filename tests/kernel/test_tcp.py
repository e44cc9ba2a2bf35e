"""Round-trip time, retransmissions and state of each row are those of the socket's TCP_INFO."""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from processes import row_of as row_of_process
from waiting import Deadline, snapshot_when, wait_until

from pbmond.config import Config
from pbmond.kernel.attach import attach
from pbmond.kernel.maps import Kernel
from pbmond.kernel.records import FLAG_OPENED
from pbmond.patience import patient
from pbmond.selftest.private_daemon import Daemon
from pbmond.selftest.workloads.programs import tcp
from pbmond.selftest.workloads.programs.inet import tcp_pair, udp

LOG = logging.getLogger("test")
ESTABLISHED, CLOSE_WAIT = 1, 8
RESET = struct.pack("ii", 1, 0)  # struct linger: closing resets the connection
#: Sockets and reads. Every call looks at the connection, or one in 16 if reads are expensive.
MODES = (("tracepoint", "cast"), ("tracepoint", "probe"), ("syscall-exit", "cast"))


@pytest.fixture(scope="module", params=MODES, ids="-".join)
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    sockets, reads = request.param
    attached = attach(Config(sockets=sockets, reads=reads), LOG)
    yield attached
    attached.close()


def row_of(kernel: Kernel, sock: socket.socket, pid: int | None = None) -> Any:
    """Return the counter of a socket's row in one process."""
    flows, _, _ = kernel.read()
    found = flows.counters["detail"] == os.fstat(sock.fileno()).st_ino
    found &= flows.keys["pid"] == (pid or os.getpid())
    (row,) = flows.counters[found]
    return row


def retransmitted(row: Any) -> tuple[int, int]:
    return int(row["retransmitted_segments"]), int(row["retransmitted_bytes"])


def tcp_info_totals(sock: socket.socket) -> tuple[int, int]:
    info = tcp.info(sock)
    return info.retransmitted_segments, info.retransmitted_bytes


def fewer_segments(sock: socket.socket, wanted: int) -> str:
    """What is missing while the socket has sent fewer segments again."""
    sent = tcp.info(sock).retransmitted_segments
    return "" if sent >= wanted else f"{wanted - sent} of {wanted} retransmissions"


def difference(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] - other[0], one[1] - other[1]


def await_acknowledged(sock: socket.socket) -> None:
    """Wait for longer than chance may lose one segment again and again."""
    tcp.await_acknowledged(sock, patient(120))


@contextmanager
def receiving(sock: socket.socket) -> Iterator[None]:
    """Receive everything, in a thread, until the block has shut down the other end."""

    def receive() -> None:
        while sock.recv(1 << 20):
            pass

    thread = threading.Thread(target=receive)
    thread.start()
    try:
        yield
    finally:
        sock.shutdown(socket.SHUT_RD)
        thread.join()


def send_until_lost(sock: socket.socket) -> None:
    """Send until there have been retransmissions, and everything has arrived."""
    before, deadline = tcp_info_totals(sock), Deadline()
    while tcp_info_totals(sock) == before:
        deadline.check(f"retransmissions besides {before}")
        sock.sendall(bytes(200_003))
        await_acknowledged(sock)


def test_retransmissions_are_those_that_the_socket_counts(kernel: Kernel) -> None:
    client, server = tcp_pair()
    tcp.lose(server, 0.3)
    with client, server, receiving(server):
        send_until_lost(client)
        tcp.lose_nothing(server)  # so that none is sent again between the two readings
        await_acknowledged(client)
        assert tcp_info_totals(client) > (0, 0)
        assert retransmitted(row_of(kernel, client)) == tcp_info_totals(client)
        assert retransmitted(row_of(kernel, server)) == tcp_info_totals(server)


def test_retransmissions_between_calls_are_counted(kernel: Kernel) -> None:
    client, server = tcp_pair()
    with client, server:
        client.sendall(b"x")
        server.recv(1)
        tcp.lose(server, 1)
        client.sendall(bytes(1003))
        before = retransmitted(row_of(kernel, client))
        wait_until(lambda: fewer_segments(client, before[0] + 2))
        tcp.lose_nothing(server)
        await_acknowledged(client)
        assert tcp_info_totals(client)[0] >= before[0] + 2
        assert retransmitted(row_of(kernel, client)) == tcp_info_totals(client)


def test_a_connection_that_is_older_than_its_row_counts_from_the_row_on() -> None:
    client, server = tcp_pair()
    tcp.lose(server, 0.3)
    with client, server, receiving(server):
        send_until_lost(client)
        earlier = tcp_info_totals(client)
        kernel = attach(Config(), LOG)
        try:
            tcp.lose_nothing(server)
            client.sendall(b"x")
            await_acknowledged(client)
            since = difference(tcp_info_totals(client), earlier)  # none, if the machine is quick
            assert retransmitted(row_of(kernel, client)) == since
            tcp.lose(server, 0.3)
            send_until_lost(client)
            since = difference(tcp_info_totals(client), earlier)
            assert retransmitted(row_of(kernel, client)) == since > (0, 0)
        finally:
            kernel.close()


def test_attempts_to_connect_that_were_repeated_count_for_the_connection(kernel: Kernel) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        tcp.lose(listener, 1)
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        wait_until(lambda: fewer_segments(client, 1))
        tcp.lose_nothing(listener)
        client.setblocking(True)
        with listener.accept()[0]:
            client.sendall(b"x")
            assert tcp_info_totals(client) >= (1, 0)
            row = row_of(kernel, client)
            assert row["flags"] & FLAG_OPENED, f"flags {row['flags']}: its opening was not seen"
            assert retransmitted(row) == tcp_info_totals(client)


def test_a_shared_socket_counts_each_once_for_the_process_that_sent_last(kernel: Kernel) -> None:
    client, server = tcp_pair()

    def lose_some() -> None:
        """Nothing is sent again later: all has arrived when it returns."""
        tcp.lose(server, 0.3)
        send_until_lost(client)
        tcp.lose_nothing(server)
        await_acknowledged(client)

    def take_over_and_lose() -> None:
        client.sendall(b"x")
        await_acknowledged(client)
        lose_some()

    with client, server, receiving(server):
        lose_some()
        first = tcp_info_totals(client)
        child = os.fork()
        if child == 0:
            try:
                take_over_and_lose()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        second = tcp_info_totals(client)
        assert retransmitted(row_of(kernel, client)) == first
        assert retransmitted(row_of(kernel, client, child)) == difference(second, first)
        take_over_and_lose()
        own = difference(tcp_info_totals(client), difference(second, first))
        assert retransmitted(row_of(kernel, client)) == own
        assert first < second < tcp_info_totals(client)


def test_what_an_exited_process_sent_counts_for_it_when_it_is_sent_again(tmp_path: Path) -> None:
    with Daemon(tmp_path, interval_s=0.1, exited_linger_s=0.1) as daemon:
        client, server = tcp_pair()
        with client, server:
            tcp.lose(server, 1)
            child = os.fork()
            if child == 0:
                client.sendall(bytes(1003))
                os._exit(0)
            os.waitpid(child, 0)
            wait_until(lambda: fewer_segments(client, 3))
            tcp.lose_nothing(server)
            await_acknowledged(client)
            row = row_of_process(daemon.snapshot(), child)
            assert retransmitted(row) == tcp_info_totals(client) >= (3, 3009)
        snapshot_when(
            daemon,
            lambda message: (
                "the end of a row whose socket is closed"
                if child in message.processes.columns["pid"]
                else ""
            ),
        )


def test_the_round_trip_time_is_that_of_the_last_calls(kernel: Kernel) -> None:
    client, server = tcp_pair()
    with client, server:
        seen = set()
        for _ in range(40):
            seen.add(tcp.info(client).rtt_us)
            client.sendall(b"x")
            server.recv(1)
            await_acknowledged(client)
            seen.add(tcp.info(client).rtt_us)
        assert 0 < min(seen) <= row_of(kernel, client)["rtt_us"] <= max(seen)


def test_the_state_follows_the_socket_until_its_end(kernel: Kernel) -> None:
    client, server = tcp_pair()
    client.sendall(b"x")
    server.recv(1)
    inode = os.fstat(client.fileno()).st_ino
    assert row_of(kernel, client)["tcp_state"] == ESTABLISHED
    server.close()
    assert row_of(kernel, client)["tcp_state"] == CLOSE_WAIT == tcp.info(client).state
    client.close()
    flows, _, _ = kernel.read()
    (state,) = flows.counters["tcp_state"][flows.counters["detail"] == inode]
    assert state == tcp.CLOSE


def test_other_sockets_have_nothing_of_tcp(kernel: Kernel) -> None:
    left, right = udp(), udp()
    pair = socket.socketpair()
    left.connect(right.getsockname())
    for sock in (left, pair[0]):
        sock.sendall(b"x")
        row = row_of(kernel, sock)
        assert (*retransmitted(row), row["rtt_us"], row["tcp_state"]) == (0, 0, 0, 0)
    for sock in (left, right, *pair):
        sock.close()


def connect_from(port: int, listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Connect from a port of one's own, and close with a reset, so that it can be used again."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.bind(("127.0.0.1", port))
    client.connect(listener.getsockname())
    return client, listener.accept()[0]


def test_a_connection_between_the_ports_of_a_former_one_has_its_own_row(kernel: Kernel) -> None:
    expected = {}
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        for _ in range(2):
            client, server = connect_from(port, listener)
            with client, server:
                tcp.lose(server, 0.3)
                with receiving(server):
                    send_until_lost(client)
                    expected[os.fstat(client.fileno()).st_ino] = tcp_info_totals(client)
        flows, _, _ = kernel.read()
        mine = (flows.keys["pid"] == os.getpid()) & (flows.keys["local_port"] == port)
        found = {int(row["detail"]): retransmitted(row) for row in flows.counters[mine]}
    assert len(expected) == 2
    assert found == expected


def test_what_is_left_to_read_of_a_closed_connection_brings_nothing_again(kernel: Kernel) -> None:
    client, server = tcp_pair()
    with client:
        with server:
            tcp.lose(server, 0.3)
            with receiving(server):
                send_until_lost(client)
            server.sendall(b"left")
            server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        tcp.await_closed(client)
        before = retransmitted(row_of(kernel, client))
        assert client.recv(4) == b"left"
        assert retransmitted(row_of(kernel, client)) == before > (0, 0)


def test_what_is_read_after_both_ends_have_closed_belongs_to_the_connection(kernel: Kernel) -> None:
    client, server = tcp_pair()
    with client:
        with server:
            client.sendall(b"ask")
            client.shutdown(socket.SHUT_WR)
            while server.recv(3):
                pass
            server.sendall(b"answer")
        tcp.await_closed(client)
        assert client.recv(6) == b"answer"
        row = row_of(kernel, client)
        assert (row["tx_bytes"], row["rx_bytes"]) == (3, 6)
