"""Containers are asked about when they are due; a helper that fails harms nobody."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from itertools import pairwise

import pytest

from pbmond.containers import asking
from pbmond.containers.asking import (
    FIRST_WAIT_NS,
    HUNG_NS,
    LAST_WAIT_NS,
    MAX_ASKED,
    RESTART_EVERY_NS,
    NameLookup,
)
from pbmond.containers.names import NONE, ContainerNames, pack_answer, unpack_question
from pbmond.patience import VARIABLE

SECOND = 1_000_000_000
LOG = logging.getLogger("test")


def cgroup(number: int = 1) -> bytes:
    return b"/machine.slice/libpod-%064x.scope" % number


def container(number: int = 1) -> bytes:
    return b"podman:%064x" % number


class FakeProcess:
    pid = 4711

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.status: int | None = None

    def poll(self) -> int | None:
        return self.status

    def kill(self) -> None:
        self.status = -9


class World:
    """The collector's end, and helpers that do what a test says."""

    def __init__(self) -> None:
        self.helpers: list[FakeProcess] = []
        self.fails = False
        self.names = NameLookup(self.spawn, LOG)
        self.now = 100 * SECOND

    def spawn(self, theirs: socket.socket) -> FakeProcess:
        if self.fails:
            raise OSError(12, "Cannot allocate memory")
        sock = theirs.dup()
        sock.settimeout(0)
        self.helpers.append(FakeProcess(sock))
        return self.helpers[-1]

    def see(self, *cgroups: bytes | None, uid: int = 0) -> None:
        self.names.see([(each, uid) for each in cgroups], self.now)

    def known(self) -> dict[bytes, ContainerNames]:
        """Return what is known in rows of root."""
        return {each: names for (each, uid), names in self.names.names().items() if not uid}

    def questions(self) -> list[tuple[int, bytes]]:
        found = []
        while self.helpers:
            try:
                packet = self.helpers[-1].sock.recv(9000)
            except BlockingIOError:
                break
            if not packet:
                break
            found.append(unpack_question(packet))
        return found

    def answer(self, number: int, names: ContainerNames) -> None:
        self.helpers[-1].sock.send(pack_answer(number, names))

    def tell(self, names: ContainerNames) -> None:
        """Answer all questions alike."""
        for number, _ in self.questions():
            self.answer(number, names)
        self.names.take(self.now)

    def close(self) -> None:
        self.names.close()
        for helper in self.helpers:
            helper.sock.close()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv(VARIABLE, "1")  # the machine's own patience would move every deadline
    made = World()
    yield made
    made.close()


def test_no_helper_runs_before_a_container_is_seen(world: World) -> None:
    world.see(None, b"/", b"/system.slice/nginx.service", b"/lxc.payload.web")
    world.names.take(world.now)
    assert (world.helpers, world.names.pid, world.names.fd) == ([], None, None)


def test_a_container_is_asked_about_once_and_its_names_are_kept(world: World) -> None:
    world.see(cgroup(), cgroup() + b"/init.scope")
    assert [each for _, each in world.questions()] == [cgroup()]
    world.now += SECOND // 2
    world.see(cgroup())
    assert world.questions() == []
    world.answer(1, ContainerNames(b"web", b"image"))
    world.names.take(world.now)
    assert world.known() == {container(): ContainerNames(b"web", b"image")}


def test_a_container_is_asked_about_again_after_ever_longer_waits(world: World) -> None:
    start, asked = world.now, []
    for second in range(400):
        world.now = start + second * SECOND
        world.see(cgroup())
        if world.questions():
            asked.append(second)
            world.answer(len(asked), NONE)
            world.names.take(world.now)
    waits = [after - before for before, after in pairwise(asked)]
    assert waits[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert set(waits[6:]) == {LAST_WAIT_NS // SECOND}
    assert FIRST_WAIT_NS == SECOND


def test_a_renamed_container_gets_its_new_name_and_keeps_what_is_no_longer_told(
    world: World,
) -> None:
    for names, expected in (
        (ContainerNames(b"web", b"image"), ContainerNames(b"web", b"image")),
        (ContainerNames(b"shop"), ContainerNames(b"shop", b"image")),
        (NONE, ContainerNames(b"shop", b"image")),
    ):
        world.see(cgroup())
        world.tell(names)
        assert world.known()[container()] == expected
        world.now += LAST_WAIT_NS


def test_what_was_handed_out_does_not_change(world: World) -> None:
    world.see(cgroup())
    world.tell(ContainerNames(b"web"))
    before = world.names.names()
    world.see(cgroup(2))
    world.tell(ContainerNames(b"db"))
    assert (len(before), len(world.names.names())) == (1, 2)


def test_machines_have_their_own_names_and_nobody_is_asked() -> None:
    names = NameLookup(None, LOG)
    machines = b"/lxc.payload.web/init.scope", rb"/machine.slice/machine-my\x2dbox.scope"
    names.see([(each, 1000) for each in (*machines, cgroup())], 0)
    names.take(0)
    assert names.names() == {
        (b"lxc:web", 1000): ContainerNames(b"web"),
        (b"systemd-nspawn:my-box", 1000): ContainerNames(b"my-box"),
    }


def test_nobody_is_asked_about_containers_inside_containers(world: World) -> None:
    world.see(b"/docker/" + b"1" * 64 + b"/docker/" + b"2" * 64)
    assert world.helpers == []


def test_many_containers_take_turns(world: World) -> None:
    everyone = [cgroup(number) for number in range(3 * MAX_ASKED)]
    world.see(*everyone)
    seen = []
    while questions := world.questions():
        assert len(questions) <= MAX_ASKED
        for number, each in questions:
            seen.append(each)
            world.answer(number, ContainerNames(each[-10:-6]))
        world.names.take(world.now)
    assert sorted(seen) == sorted(everyone)
    assert len(world.known()) == len(everyone)


def test_a_user_who_makes_a_cgroup_with_the_id_of_a_container_learns_no_name(
    world: World,
) -> None:
    forged = b"/user.slice/user-1000.slice/user@1000.service/libpod-%064x.scope" % 1
    world.see(cgroup())
    world.tell(ContainerNames(b"web"))
    world.see(forged, uid=1000)
    assert [each for _, each in world.questions()] == [forged]
    world.answer(2, NONE)
    world.names.take(world.now)
    assert world.names.names() == {(container(), 0): ContainerNames(b"web")}
    world.see(cgroup(), uid=1001)  # whose process is in the container itself
    assert world.names.names()[container(), 1001] == ContainerNames(b"web")


def test_the_oldest_are_forgotten_and_those_without_a_name_push_out_no_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "MAX_CONTAINERS", 6)
    world.see(cgroup(0), cgroup(1), cgroup(2))
    world.tell(ContainerNames(b"web"))
    for number in range(10, 30):
        world.see(cgroup(number))
        world.tell(NONE)
    assert set(world.known()) == {container(0), container(1), container(2)}
    for number in (0, 3, 4, 5):
        world.see(cgroup(number))
        world.tell(ContainerNames(b"db"))
    assert set(world.known()) == {container(number) for number in (0, 3, 4, 5)}


@pytest.mark.parametrize(
    "packet", [b"x", b"", pack_answer(2, NONE), pack_answer(1, NONE) + b"x", b"\xff" * 9000]
)
def test_a_helper_that_says_something_else_is_replaced(world: World, packet: bytes) -> None:
    world.see(cgroup())
    (first,) = world.helpers
    if packet:
        first.sock.send(packet)
    else:
        first.sock.close()
    world.names.take(world.now)
    assert (world.names.fd, first.status) == (None, -9)
    world.now += RESTART_EVERY_NS
    world.see(cgroup())
    assert len(world.helpers) == 2
    world.tell(ContainerNames(b"web"))
    assert world.known() == {container(): ContainerNames(b"web")}


def test_an_answer_that_nobody_asked_for_ends_the_helper(world: World) -> None:
    world.see(cgroup())
    world.tell(ContainerNames(b"web"))
    world.answer(1, ContainerNames(b"db"))
    world.names.take(world.now)
    assert world.known() == {container(): ContainerNames(b"web")}
    assert world.helpers[0].status == -9


def test_a_helper_that_hangs_is_replaced(world: World) -> None:
    world.see(cgroup())
    world.now += HUNG_NS + 1
    world.names.take(world.now)
    assert (world.names.pid, world.helpers[0].status) == (None, -9)


def test_helpers_that_end_at_once_are_started_now_and_then(world: World) -> None:
    for _ in range(50):
        world.now += SECOND // 5
        world.see(cgroup())
        if world.names.fd is not None:
            world.helpers[-1].sock.close()
        world.names.take(world.now)
    assert len(world.helpers) == 10 * SECOND // RESTART_EVERY_NS


def test_a_helper_that_cannot_be_started_is_tried_again(world: World) -> None:
    world.fails = True
    world.see(cgroup())
    assert world.names.fd is None
    world.fails = False
    world.now += RESTART_EVERY_NS
    world.see(cgroup())
    world.tell(ContainerNames(b"web"))
    assert world.known() == {container(): ContainerNames(b"web")}


def test_the_patience_of_slow_machines_counts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "patient", lambda limit: 10 * limit)
    world.see(cgroup())
    world.now += HUNG_NS + 1
    world.names.take(world.now)
    assert world.helpers[0].status is None
