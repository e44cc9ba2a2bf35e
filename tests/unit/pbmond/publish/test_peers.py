"""One connection: the newest of each topic is sent, bodies are shared, and nothing waits."""

from __future__ import annotations

import gc
import os
import select
import socket
from collections.abc import Iterator

import pytest

from pbmond.publish.admission import IN_ALL, PER_USER, RESERVED, FullError, Peers
from pbmond.publish.complaints import Complaints
from pbmond.publish.peers import SENT_MESSAGES, Holding, Outgoing, Peer, uid_of
from pbmond.publish.zmtp import GREETING, READY

SUBSCRIBER = GREETING + READY.replace(b"\x04XPUB", b"\x03SUB").replace(b"\x1a", b"\x19", 1)


@pytest.fixture
def ends() -> Iterator[tuple[Peer, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    peer = Peer(ours, 1000, Peers().shares(trusted=False))
    with ours, theirs:
        yield peer, theirs


def message(holding: Holding, text: bytes) -> Outgoing:
    return Outgoing.message(memoryview(text), holding)


def read(sock: socket.socket) -> bytes:
    data = b""
    while True:
        try:
            data += sock.recv(1 << 20)
        except BlockingIOError:
            return data


def test_the_newest_message_of_each_topic_is_sent_in_the_order_of_topics(
    ends: tuple[Peer, socket.socket],
) -> None:
    peer, viewer = ends
    holding = Holding()
    for key, text in ((b"a", b"a1"), (b"b", b"b1"), (b"a", b"a2"), (b"c", b"c1")):
        peer.put(key, message(holding, text))
    peer.forget(b"c")
    assert peer.interest & select.EPOLLOUT
    peer.flush(0)
    assert read(viewer) == b"\0\2a2\0\2b1"
    assert not peer.interest & select.EPOLLOUT
    gc.collect()
    assert holding.held_bytes == 0


def test_a_viewer_that_does_not_read_costs_one_message_on_its_way_and_the_newest(
    ends: tuple[Peer, socket.socket],
) -> None:
    peer, viewer = ends
    holding, size = Holding(), 1_000_000
    for number in range(50):
        peer.put(b"topic", message(holding, bytes([number]) * size))
        peer.flush(7)
    assert holding.held_bytes <= 2 * size
    assert peer.flight_since_ns == 7
    data = b""
    while peer.interest & select.EPOLLOUT or not data:
        data += read(viewer)
        peer.flush(8)
    data += read(viewer)
    assert len(data) == 2 * (size + 9)
    assert (data[9], data[-1]) == (0, 49)  # the one it was in the middle of, and the newest
    assert peer.flight_since_ns is None
    assert holding.held_bytes == 0


def test_a_viewer_of_many_topics_leaves_others_their_turn(
    ends: tuple[Peer, socket.socket],
) -> None:
    peer, viewer = ends
    for number in range(2 * SENT_MESSAGES):
        peer.put(b"%d" % number, message(Holding(), b"x"))
    peer.flush(0)
    assert len(read(viewer)) == 3 * SENT_MESSAGES
    assert peer.interest & select.EPOLLOUT


def test_closing_drops_what_was_to_be_sent(ends: tuple[Peer, socket.socket]) -> None:
    peer, _ = ends
    holding = Holding()
    for key in (b"a", b"b"):
        peer.put(key, message(holding, bytes(1_000_000)))
    peer.flush(0)
    peer.close()
    assert holding.held_bytes == 0


def test_the_kernel_says_whose_a_connection_is() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert uid_of(ours) == os.geteuid()


# --- how many ---------------------------------------------------------------------------------


class Hall:
    """Connections without sockets behind them, of many users."""

    def __init__(self, places: int = IN_ALL) -> None:
        self.peers = Peers(places)
        self.ended: list[int] = []
        self._next_fd = 10

    def enter(self, uid: int, *, trusted: bool = False, ready: bool = True) -> Peer:
        """Let one in as the publisher does. FullError if there is no room."""
        shares = self.peers.shares(trusted=trusted)
        while (victim := self.peers.victim(uid, shares)) is not None:
            self.peers.remove(victim)
            self.ended.append(victim.uid)
        sock = _Socket(self._next_fd)
        self._next_fd += 1
        peer = Peer(sock, uid, shares)  # type: ignore[arg-type]
        if ready:
            sock.data = SUBSCRIBER
            peer.receive()
        self.peers.add(peer)
        return peer


class _Socket:
    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.data = b""

    def fileno(self) -> int:
        return self._fd

    def recv(self, _size: int, _flags: int) -> bytes:
        return self.data


def test_one_user_has_so_many_connections_and_no_more() -> None:
    hall = Hall()
    for _ in range(PER_USER):
        hall.enter(1000)
    with pytest.raises(FullError, match=str(PER_USER)):
        hall.enter(1000)
    hall.enter(1001)
    assert hall.ended == []


def test_a_users_silent_connections_give_way_to_his_new_ones() -> None:
    hall = Hall()
    for _ in range(PER_USER):
        hall.enter(1000, ready=False)
    hall.enter(1000)
    assert hall.ended == [1000]
    assert len(hall.peers) == PER_USER


def test_when_all_is_full_the_user_with_most_gives_way() -> None:
    hall = Hall()
    for uid in range(1, 9):
        for _ in range(PER_USER):
            try:
                hall.enter(uid)
            except FullError:
                break
    assert len(hall.peers) == IN_ALL - RESERVED
    hall.ended.clear()
    for _ in range(10):
        hall.enter(1000)
    assert len(hall.ended) == 10
    assert 1000 not in hall.ended
    assert len(hall.peers) == IN_ALL - RESERVED


def test_root_and_the_access_group_have_room_whatever_others_hold() -> None:
    hall = Hall()
    for uid in range(IN_ALL):
        try:
            hall.enter(uid + 1)
        except FullError:
            break
    hall.ended.clear()
    for _ in range(PER_USER):
        hall.enter(0, trusted=True)
    assert hall.ended == []


def test_few_descriptors_leave_few_places_and_root_its_part() -> None:
    hall = Hall(places=64)
    for uid in range(1, 60):
        try:
            hall.enter(uid)
        except FullError:
            assert uid > 48
    assert len(hall.peers) == 48
    hall.enter(0, trusted=True)


# --- what the log is told -----------------------------------------------------------------------


def test_complaints_are_a_line_a_minute_with_their_number() -> None:
    said: list[str] = []
    complaints = Complaints(said.append)
    complaints.report(0)
    assert said == []
    for second in range(130):
        complaints.add(1000, "not ZMTP")
        complaints.add(None, "no room")
        complaints.report(second * 1_000_000_000)
    assert said == [
        "connections ended: not ZMTP (user 1000, 1 times); no room (1 times)",
        *["connections ended: not ZMTP (user 1000, 60 times); no room (60 times)"] * 2,
    ]


def test_complaints_of_thousands_of_users_stay_one_short_line() -> None:
    said: list[str] = []
    complaints = Complaints(said.append)
    for uid in range(10_000):
        complaints.add(uid, "not ZMTP")
    complaints.report(0)
    (line,) = said
    assert line.endswith("and 995 others")
    assert len(line) < 300
