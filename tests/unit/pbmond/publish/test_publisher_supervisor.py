"""The supervisor: a publisher that ends, hangs or lies is replaced, and nothing ever waits."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Iterator
from typing import NoReturn

import pytest
from descriptors import descriptors

from pbmond.patience import VARIABLE
from pbmond.publish import supervisor as supervisor_module
from pbmond.publish.channel import (
    BEAT,
    CANNOT_BECOME,
    READY,
    RECORD,
    Demand,
    pack_demand,
    receive_frame,
)
from pbmond.publish.supervisor import (
    ATTEMPTS,
    HUNG_NS,
    RECORDS_PER_S,
    RESTART_EVERY_NS,
    PublisherError,
    Supervisor,
)
from pbmond.wire import Topic

LOG = logging.getLogger("test")
DEMAND = Demand(Topic(None, "processes"), wanted=True)


class Child:
    """A publisher whose end of the feed the test holds."""

    def __init__(self, feed: socket.socket) -> None:
        self.pid = 4321
        self.feed = feed.dup()
        self.status: int | None = None
        self.killed = False

    def poll(self) -> int | None:
        return self.status

    def kill(self) -> None:
        self.killed = True
        self.status = -9

    def wait(self, timeout: float | None = None) -> int:
        assert self.status is not None, "the collector would wait for a living publisher"
        return self.status

    def end(self, status: int) -> None:
        self.status = status
        self.feed.close()


class Nursery:
    def __init__(self) -> None:
        self.children: list[Child] = []
        self.failing = False
        self.now_ns = 0
        self.supervisor = Supervisor(self.spawn, LOG)

    def spawn(self, feed: socket.socket) -> Child:
        if self.failing:
            raise OSError("no more processes")
        self.children.append(Child(feed))
        return self.children[-1]


@pytest.fixture
def nursery(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nursery]:
    monkeypatch.setenv(VARIABLE, "1")  # the machine's own patience would move every deadline
    made = Nursery()
    yield made
    made.supervisor.close()
    for child in made.children:
        child.feed.close()


def test_demands_come_out_and_frames_go_in(nursery: Nursery) -> None:
    supervisor = nursery.supervisor
    assert supervisor.fd is None
    assert supervisor.ensure(0)
    assert not supervisor.ensure(10 * RESTART_EVERY_NS)
    (child,) = nursery.children
    assert supervisor.receive() == []
    child.feed.send(pack_demand(DEMAND))
    assert supervisor.receive() == [DEMAND]
    assert supervisor.has_room(0)
    assert supervisor.send(b"frame")
    got = receive_frame(child.feed)
    assert got is not None
    assert got[:] == b"frame"


def test_a_publisher_that_ended_is_replaced_at_once(nursery: Nursery) -> None:
    supervisor = nursery.supervisor
    supervisor.ensure(0)
    nursery.children[0].end(-6)
    assert supervisor.receive() == []
    assert (supervisor.fd, supervisor.pid) == (None, None)
    assert supervisor.ensure(RESTART_EVERY_NS)
    assert supervisor.fd is not None
    assert not nursery.children[0].killed


def test_demands_of_a_publisher_that_ended_still_come_out_first(nursery: Nursery) -> None:
    nursery.supervisor.ensure(0)
    nursery.children[0].feed.send(pack_demand(DEMAND))
    nursery.children[0].end(0)
    assert nursery.supervisor.receive() == [DEMAND]
    assert nursery.supervisor.fd is None


def test_a_publisher_that_ends_again_and_again_is_started_twice_a_second(nursery: Nursery) -> None:
    for now in range(0, 10 * RESTART_EVERY_NS, RESTART_EVERY_NS // 50):
        if nursery.supervisor.ensure(now):
            nursery.children[-1].feed.send(READY)
            nursery.children[-1].end(1)
        nursery.supervisor.receive()
    assert len(nursery.children) == 10


@pytest.mark.parametrize("record", [b"x", bytes(RECORD.size + 5), b"\xff" * RECORD.size])
def test_a_publisher_that_sends_nonsense_is_replaced(nursery: Nursery, record: bytes) -> None:
    nursery.supervisor.ensure(0)
    nursery.children[0].feed.send(record)
    assert nursery.supervisor.receive() == []
    assert nursery.children[0].killed
    assert nursery.supervisor.fd is None


@pytest.mark.parametrize("record", [BEAT, pack_demand(DEMAND)])
def test_a_publisher_that_never_stops_talking_is_replaced(nursery: Nursery, record: bytes) -> None:
    """One that others took over could have kept the collector busy for ever."""
    supervisor = nursery.supervisor
    said = 0
    while supervisor.ensure(said) or not nursery.children[0].killed:
        nursery.children[0].feed.send(record)
        supervisor.receive()
        said += 1
    assert said == RECORDS_PER_S + 1
    assert supervisor.fd is None


def test_a_publisher_may_say_so_much_in_every_second(nursery: Nursery) -> None:
    for second in range(3):
        nursery.supervisor.ensure(second * 1_000_000_000)
        for _ in range(RECORDS_PER_S):
            nursery.children[0].feed.send(pack_demand(DEMAND))
            assert nursery.supervisor.receive() == [DEMAND]
    assert len(nursery.children) == 1


def test_a_publisher_that_gives_no_sign_of_life_is_replaced_without_any_viewer(
    nursery: Nursery,
) -> None:
    supervisor = nursery.supervisor
    supervisor.ensure(0)
    for now in range(0, 3 * HUNG_NS, HUNG_NS // 2):
        nursery.children[0].feed.send(BEAT)
        assert supervisor.receive() == []
        assert not supervisor.ensure(now)
    last = now
    assert not supervisor.ensure(last + HUNG_NS)
    assert not nursery.children[0].killed
    assert supervisor.ensure(last + HUNG_NS + 1)  # another one, at once
    assert nursery.children[0].killed
    assert len(nursery.children) == 2


def test_a_collector_that_was_stopped_itself_blames_no_publisher(nursery: Nursery) -> None:
    nursery.supervisor.ensure(0)
    nursery.children[0].feed.send(BEAT)
    assert not nursery.supervisor.ensure(1000 * HUNG_NS)  # before it has listened
    assert nursery.supervisor.receive() == []
    assert not nursery.supervisor.ensure(1000 * HUNG_NS + 1)
    assert not nursery.children[0].killed


@pytest.mark.parametrize("factor", [1, 10])
def test_a_publisher_that_takes_nothing_is_replaced_after_a_while(
    nursery: Nursery, factor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(factor))
    supervisor = nursery.supervisor
    supervisor.ensure(0)
    while supervisor.has_room(0):
        assert supervisor.send(b"frame")
    assert not supervisor.has_room(factor * HUNG_NS)
    assert not nursery.children[0].killed
    assert not supervisor.has_room(factor * HUNG_NS + 1)
    assert nursery.children[0].killed


def test_a_publisher_that_is_only_slow_stays(nursery: Nursery) -> None:
    supervisor = nursery.supervisor
    supervisor.ensure(0)
    for now in range(0, 5 * HUNG_NS, HUNG_NS // 2):
        while supervisor.has_room(now):
            supervisor.send(b"frame")
        receive_frame(nursery.children[0].feed)
        assert supervisor.has_room(now)
    assert not nursery.children[0].killed


def test_sending_to_a_publisher_that_ended_is_false_and_not_an_error(nursery: Nursery) -> None:
    nursery.supervisor.ensure(0)
    nursery.children[0].end(1)
    assert not nursery.supervisor.send(b"frame")
    assert not nursery.supervisor.send(b"frame")
    assert not nursery.supervisor.has_room(0)
    assert nursery.supervisor.receive() == []


def test_a_start_that_fails_is_tried_again(nursery: Nursery) -> None:
    nursery.failing = True
    assert not nursery.supervisor.ensure(0)
    assert nursery.supervisor.fd is None
    nursery.failing = False
    assert nursery.supervisor.ensure(RESTART_EVERY_NS)


def test_a_frame_without_memory_is_dropped_and_the_publisher_stays(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(name: str, flags: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    nursery.supervisor.ensure(0)
    with monkeypatch.context() as patched:
        patched.setattr(os, "memfd_create", refuse)
        assert nursery.supervisor.send(b"one")
        assert nursery.supervisor.send(b"two")
    assert [record.message for record in caplog.records] == [
        "snapshots are dropped: no memory file: Too many open files"
    ]
    assert not nursery.children[0].killed
    assert nursery.supervisor.send(b"three")
    got = receive_frame(nursery.children[0].feed)
    assert got is not None
    assert got[:] == b"three"


def test_a_frame_without_memory_leaves_no_descriptor_behind(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    nursery.supervisor.ensure(0)
    before = descriptors()
    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", refuse)
        assert nursery.supervisor.send(b"frame")
    assert descriptors() <= before
    assert not nursery.children[0].killed


def test_no_descriptor_for_a_feed_is_a_failed_start(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> NoReturn:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(supervisor_module, "pair", refuse)
        assert not nursery.supervisor.ensure(0)
    assert nursery.supervisor.ensure(RESTART_EVERY_NS)


def test_no_publisher_leaves_a_descriptor_behind() -> None:
    before = descriptors()
    nursery = Nursery()
    for number in range(10):
        nursery.failing = number % 3 == 0
        nursery.supervisor.ensure(number * RESTART_EVERY_NS)
        nursery.supervisor.send(b"frame")
        if number % 3 == 1:
            nursery.children[-1].end(1)
            nursery.supervisor.receive()
        else:
            nursery.supervisor.close()
    for child in nursery.children:
        child.feed.close()
    assert descriptors() <= before


def test_close_ends_the_publisher(nursery: Nursery) -> None:
    nursery.supervisor.ensure(0)
    nursery.supervisor.close()
    assert nursery.children[0].killed
    nursery.supervisor.close()


# --- publishers that never serve --------------------------------------------------------------


def run_publishers(nursery: Nursery, how_many: int, status: int, *, serving: bool = False) -> None:
    """Let so many publishers end, one after the other."""
    for _ in range(how_many):
        nursery.supervisor.ensure(nursery.now_ns)
        nursery.now_ns += RESTART_EVERY_NS
        if serving:
            nursery.children[-1].feed.send(READY)
        nursery.children[-1].end(status)
        nursery.supervisor.receive()


def test_a_publisher_that_cannot_become_its_user_ends_the_daemon_at_once(nursery: Nursery) -> None:
    with pytest.raises(PublisherError, match="cannot become its user: it needs CAP_SETUID"):
        run_publishers(nursery, 1, CANNOT_BECOME)
    assert nursery.supervisor.fd is None


def test_publishers_that_all_end_before_they_serve_end_the_daemon(nursery: Nursery) -> None:
    run_publishers(nursery, ATTEMPTS - 1, 1)
    with pytest.raises(PublisherError, match=r"^the publisher ended \(status 1\)$"):
        run_publishers(nursery, 1, 1)


def test_publishers_that_cannot_be_started_end_the_daemon(nursery: Nursery) -> None:
    nursery.failing = True
    for attempt in range(ATTEMPTS - 1):
        assert not nursery.supervisor.ensure(attempt * RESTART_EVERY_NS)
    with pytest.raises(PublisherError, match="cannot be started: no more processes"):
        nursery.supervisor.ensure(ATTEMPTS * RESTART_EVERY_NS)


@pytest.mark.parametrize("status", [1, -6, CANNOT_BECOME])
def test_once_one_has_served_publishers_are_replaced_for_ever(
    nursery: Nursery, status: int
) -> None:
    run_publishers(nursery, 1, -9, serving=True)
    run_publishers(nursery, 3 * ATTEMPTS, status)
    assert nursery.supervisor.ensure(nursery.now_ns)


def test_publishers_that_keep_ending_are_a_line_a_minute(
    nursery: Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    run_publishers(nursery, 121, 1, serving=True)
    assert [record.message for record in caplog.records] == [
        "publisher 4321 ended (status 1)",
        "publisher 4321 ended (status 1); and 119 more times before",
    ]
