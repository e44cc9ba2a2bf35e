"""The time that a tick may spend in /proc: what does not fit is null, said, and read later."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from pbmond import wire
from pbmond.collector import PROC_BUDGET, PROC_TIME_NS, RESCAN_NS
from pbmond.fields import OPEN
from tests import factories
from tests.service_world import SECOND, World

LOOK_NS = 20_000_000  # of a process with 4,000 descriptors
HEAVY, LIGHT = 1000, 1001


class Host(World):
    """A world in which every look costs ``cost_ns`` of its user; each process moves bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.cost_ns = {HEAVY: LOOK_NS, LIGHT: LOOK_NS // 100}
        self.owner: dict[int, int] = {}
        self.looked: list[int] = []

    def populate(self, *parts: tuple[int, int]) -> None:
        """Start so many processes of each (uid, count)."""
        for uid, count in parts:
            for _ in range(count):
                pid = 100 + len(self.owner)
                self.owner[pid] = uid
                # They started before the daemon, so that disk bytes count from the first look.
                start_ns = factories.STARTED_NS - SECOND
                self.kernel.events.append(factories.seen(pid=pid, uid=uid, start_ns=start_ns))
        self.proc.processes = list(self.kernel.events)  # type: ignore[arg-type]  # all are seen

    def tick(self, second: int) -> list[dict[str, Any]]:
        """Let each process move a byte, and look; return the rows of the processes."""
        start_ns = factories.STARTED_NS - SECOND
        self.kernel.flows = [
            (
                factories.flow_key(pid=pid, start_ns=start_ns),
                factories.counter(pid, "net", (second + 1, 0, 1, 0), detail=1),
            )
            for pid in self.owner
        ]
        self.proc.sampled.clear()
        self.proc.work = lambda: None
        self.proc.work = self._cost
        self.step(second * SECOND)
        return list(self.message().processes.rows())

    def _cost(self) -> None:
        pid = self.proc.sampled[-1] if self.proc.sampled else None
        self.effort += self.cost_ns[self.owner[pid]] if pid in self.owner else 0


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


def rates(rows: list[dict[str, Any]]) -> dict[int, float]:
    return {row["pid"]: row["disk_read_bytes_per_s"] for row in rows}


def test_the_processes_of_one_user_cost_a_tick_no_more_than_the_budget(host: Host) -> None:
    """The issue's figure: 200 processes of 4,000 descriptors cost 3.7 s of CPU a tick."""
    host.populate((HEAVY, 200))
    for second in range(5):
        before = host.effort
        host.tick(second)
        assert host.effort - before <= PROC_TIME_NS + LOOK_NS


def test_other_users_are_looked_at_all_the_same(host: Host) -> None:
    host.populate((HEAVY, 200), (LIGHT, 30))
    for second in range(5):
        host.tick(second)
        looked = [pid for pid in host.proc.sampled if host.owner[pid] == LIGHT]
        assert len(looked) == 30


def test_what_had_no_look_is_null_and_said_and_has_its_turn_later(host: Host) -> None:
    host.populate((HEAVY, 20))
    looked: set[int] = set()
    for second in range(8):
        rows = host.tick(second)
        now = set(host.proc.sampled)
        looked |= now
        postponed = host.message().health["postponed"]
        assert postponed["looks"] == 20 - len(now)
        assert host.message().health["cost"]["looks_waiting"] == 20 - len(now)
        unknown = {pid for pid, rate in rates(rows).items() if math.isnan(rate)}
        assert unknown >= set(host.owner) - now
    assert looked == set(host.owner)


def test_what_is_open_is_not_known_while_there_is_no_look(host: Host) -> None:
    host.populate((HEAVY, 20))
    host.proc.open_inodes = frozenset()  # every descriptor is closed
    host.tick(0)
    looked = set(host.proc.sampled)
    message = host.collector.message(wire.Topic(None, "flows"))
    assert message is not None
    assert message.connections is not None
    pids, states = (message.connections.columns[name].tolist() for name in ("pid", "open"))
    said = dict(zip(pids, states, strict=True))
    assert {pid for pid, state in said.items() if state == OPEN.index(False)} == looked
    assert {pid for pid, state in said.items() if state == OPEN.index(None)} == set(pids) - looked


def test_an_ordinary_host_with_more_active_processes_than_a_tick_looks_at_has_no_null(
    host: Host,
) -> None:
    host.cost_ns = {HEAVY: 150_000, LIGHT: 150_000}
    host.populate((HEAVY, 200), (LIGHT, 100))
    for second in range(4):
        rows = host.tick(second)
        assert len(host.proc.sampled) == PROC_BUDGET
        assert host.message().health["postponed"]["looks"] == 0
    assert not any(map(math.isnan, rates(rows).values()))


def test_a_list_of_all_processes_that_takes_long_goes_on_in_later_ticks(host: Host) -> None:
    host.tick(0)
    cost_ns = PROC_TIME_NS // 20
    host.proc.processes = [factories.seen(pid=pid, uid=HEAVY) for pid in range(1000, 1100)]

    def cost() -> None:
        host.effort += cost_ns

    left = []
    for at in range(12):
        host.proc.work = cost
        before = host.effort
        host.step(RESCAN_NS + at * SECOND)
        assert host.effort - before <= PROC_TIME_NS + cost_ns
        left.append(host.message().health["postponed"]["listed"])
    assert left[0] > 0
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0
    assert len(list(host.message().processes.rows())) == 100


def test_the_first_list_is_whole(host: Host) -> None:
    host.proc.processes = [factories.seen(pid=pid, uid=HEAVY) for pid in range(1000, 1100)]

    def cost() -> None:
        host.effort += PROC_TIME_NS

    host.proc.work = cost
    host.step(0)
    assert len(list(host.message().processes.rows())) == 100


def test_cgroups_that_only_proc_has_are_part_of_the_budget(host: Host) -> None:
    host.tick(0)
    host.kernel.events = [factories.seen(pid=pid, cgroup=None) for pid in range(1000, 1100)]
    host.proc.processes = []

    def cgroup(pid: int) -> bytes | None:
        host.effort += PROC_TIME_NS // 20
        return b"/a.slice"

    host.proc.cgroup = cgroup  # type: ignore[method-assign]  # it costs now
    host.collector.drain()
    host.step(SECOND)
    assert host.message().health["postponed"]["cgroups"] == 95
