"""Counters by name: what they add up to, that none falls, and to whom growth belongs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import client_messages as made
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbmon_client.data import model
from pbmon_client.metrics.families import measured
from pbmon_client.metrics.ledger import OTHER
from pbmon_client.metrics.meter import Meter, MeterOptions
from pbmond.fields import COUNTERS

SECOND = 10**9
COUNTED = ("net_rx_bytes", "file_write_bytes", "file_write_calls", "disk_read_bytes")
PLACES = [COUNTERS.index(name) for name in COUNTED]

Counts = tuple[int, ...]
#: The names of every series of a dimension, and the values of COUNTED.
Seen = dict[str, Counts]


def snapshot(
    processes: list[dict[str, Any]], retired: list[dict[str, Any]] = [],  # noqa: B006
    *, seq: int = 1, scope: str = "all", **fields: Any,
) -> model.Snapshot:  # fmt: skip
    message = made.message(processes, retired=retired, seq=seq, **fields)
    return model.snapshot_of(message, model.Selection(), 0, scope, str)


def series(meter: Meter, dimension: str = "unit") -> Seen:
    sums = meter.ledgers[dimension].sums()
    return {name: tuple(values[at] for at in PLACES) for name, values in sums if any(values)}


def net(meter: Meter, dimension: str = "unit") -> dict[str, int]:
    return {name: counts[0] for name, counts in series(meter, dimension).items()}


def meter_of(top: int = 50, *, programs: bool = False) -> Meter:
    return Meter(MeterOptions(top, programs=programs), str)


# --- to whom growth belongs -----------------------------------------------------------------------


def row(pid: int, unit: bytes | None, count: int, **more: Any) -> dict[str, Any]:
    return made.process(pid, unit=unit, net_rx_bytes=count, **more)


def test_what_a_process_took_along_to_another_unit_stays_where_it_was_moved() -> None:
    meter = meter_of()
    meter.take(snapshot([row(1, b"a", 1000), row(2, b"a", 5)], seq=1))
    meter.take(snapshot([row(1, b"b", 1007), row(2, b"a", 25)], seq=2))
    assert net(meter) == {"a": 1025, "b": 7}


def test_the_fold_of_a_process_that_had_moved_changes_no_counter() -> None:
    meter = meter_of()
    meter.take(snapshot([row(1, b"a", 1000), row(2, b"a", 5)], seq=1))
    meter.take(snapshot([row(1, b"b", 1007), row(2, b"a", 5)], seq=2))
    retired = [
        made.process(0, unit=b"a", net_rx_bytes=1000), made.process(0, unit=b"b", net_rx_bytes=7)
    ]  # fmt: skip
    meter.take(snapshot([row(2, b"a", 8)], retired, seq=3))
    assert net(meter) == {"a": 1008, "b": 7}


def test_what_a_process_moved_after_it_was_last_seen_is_its_units() -> None:
    meter = meter_of()
    meter.take(snapshot([row(1, b"a", 10)], seq=1))
    meter.take(snapshot([], [made.process(0, unit=b"a", net_rx_bytes=12)], seq=2))
    assert net(meter) == {"a": 12}


def test_bytes_of_a_process_that_began_and_ended_between_scrapes_count() -> None:
    meter = meter_of()
    meter.take(snapshot([], seq=1))
    meter.take(snapshot([], [made.process(0, unit=b"a", net_rx_bytes=12)], seq=9))
    assert net(meter) == {"a": 12}


def test_a_user_keeps_what_was_moved_before_the_process_changed_its_user() -> None:
    meter = meter_of()
    meter.take(snapshot([row(1, None, 100, uid=0), row(2, None, 1, uid=0)], seq=1))
    meter.take(snapshot([row(1, None, 130, uid=1000), row(2, None, 4, uid=0)], seq=2))
    assert net(meter, "user") == {"0": 104, "1000": 30}


def test_what_a_program_moved_stays_after_its_processes_are_retired() -> None:
    meter = meter_of(programs=True)
    meter.take(snapshot([made.process(1, b"curl", net_rx_bytes=10)], seq=1))
    meter.take(snapshot([], [made.process(0, net_rx_bytes=13)], seq=2))
    assert net(meter, "program") == {"curl": 10, "_none": 3}


def test_units_that_the_daemon_no_longer_tells_apart_keep_their_counters() -> None:
    meter = meter_of()
    meter.take(snapshot([], [made.process(0, unit=b"a", net_rx_bytes=10)], seq=1))
    meter.take(snapshot([], [made.process(0, unit=b"(other)", net_rx_bytes=10)], seq=2))
    assert net(meter) == {"a": 10}


def test_a_process_that_leaves_what_a_viewer_sees_and_returns_counts_once() -> None:
    meter = meter_of()
    meter.take(snapshot([row(1, b"a", 100), row(2, b"b", 1)], seq=1, scope="own", now_ns=10**6))
    for seq in range(2, 6, 2):
        meter.take(snapshot([row(2, b"b", seq)], seq=seq, scope="own"))
        returned = [row(1, b"a", 100 + seq), row(2, b"b", seq)]
        meter.take(snapshot(returned, seq=seq + 1, scope="own"))
    assert net(meter) == {"a": 104, "b": 4}


def test_another_run_of_the_daemon_begins_at_zero() -> None:
    meter = meter_of()
    meter.take(snapshot([row(1, b"a", 100)], seq=5))
    meter.take(snapshot([row(1, b"a", 3)], seq=1, epoch="epoch-2"))
    assert net(meter) == {"a": 3}


def test_an_older_snapshot_and_the_same_again_change_nothing() -> None:
    meter = meter_of()
    meter.take(snapshot([row(1, b"a", 100)], seq=5))
    for seq, count in ((5, 100), (4, 90)):
        meter.take(snapshot([row(1, b"a", count)], seq=seq))
    meter.take(snapshot([row(1, b"a", 110)], seq=6))
    assert net(meter) == {"a": 110}


# --- which names have series ----------------------------------------------------------------------


def test_the_busiest_have_series_and_the_rest_share_one() -> None:
    meter = meter_of(2)
    meter.take(snapshot([row(pid, b"u%d" % pid, pid) for pid in range(1, 6)]))
    assert net(meter) == {"u5": 5, "u4": 4, OTHER: 6}


def test_a_unit_that_becomes_the_busiest_leaves_the_series_as_they_are() -> None:
    meter = meter_of(1)
    meter.take(snapshot([row(1, b"a", 10), row(2, b"b", 5)], seq=1))
    meter.take(snapshot([row(1, b"a", 11), row(2, b"b", 500)], seq=2))
    assert net(meter) == {"a": 11, OTHER: 500}


def test_a_unit_is_not_taken_for_the_others_by_its_name() -> None:
    meter = meter_of(1)
    meter.take(snapshot([row(1, OTHER.encode(), 10), row(2, b"b", 5)], seq=1))
    assert net(meter) == {"b": 5, OTHER: 10}


def test_the_number_of_series_is_bounded_however_many_counters_move() -> None:
    busy = dict.fromkeys(COUNTERS, 7)
    units = [
        made.process(pid, unit=b"u%d" % pid, container=b"docker:%d" % pid, uid=pid)
        | {name: count * pid for name, count in busy.items()}
        for pid in range(1, 200)
    ]
    interfaces = [made.interface(b"veth%d" % at, 5, 1) for at in range(90)]
    disks = [made.disk(b"sd%d" % at, 5, 1) for at in range(90)]
    many = snapshot(units, coverage=made.coverage(interfaces=interfaces, disks=disks))
    meter = meter_of()
    meter.take(many)
    assert sum(len(each.samples) for each in measured(meter, many, "1")) <= 1500
    for dimension in ("unit", "container", "user"):
        sums = [values for _name, values in meter.ledgers[dimension].sums()]
        assert list(map(sum, zip(*sums, strict=True))) == [many.totals[name] for name in COUNTERS]


# --- random histories -----------------------------------------------------------------------------


@dataclass
class Process:
    """What it moved under each (unit, uid) that it had; the last is the one that it has."""

    parts: list[tuple[tuple[int, int], list[int]]]
    start_ns: int

    def move(self, place: int, count: int) -> None:
        self.parts[-1][1][place] += count


@dataclass
class Host:
    """A daemon's view of a host: rows, and what was folded into retired rows."""

    processes: dict[int, Process] = field(default_factory=dict)
    retired: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    seq: int = 10

    def begin(self, pid: int, unit: int, count: int) -> None:
        began_ns = self.seq * SECOND - (SECOND // 2 if count % 2 else 5 * SECOND)
        self.processes.setdefault(pid, Process([((unit, unit % 2), [0] * 4)], began_ns))

    def move(self, pid: int, unit: int, count: int) -> None:
        if pid in self.processes:
            self.processes[pid].move(unit % 4, count)

    def change_unit(self, pid: int, unit: int, _count: int) -> None:
        if pid in self.processes:
            uid = self.processes[pid].parts[-1][0][1]
            self.processes[pid].parts.append(((unit, uid), [0] * 4))

    def change_user(self, pid: int, unit: int, _count: int) -> None:
        if pid in self.processes:
            same = self.processes[pid].parts[-1][0][0]
            self.processes[pid].parts.append(((same, unit), [0] * 4))

    def end(self, pid: int, unit: int, count: int) -> None:
        """Fold it, with bytes that no snapshot has seen; its number may be reused."""
        if pid in self.processes:
            self.move(pid, unit, count)
            self._fold(self.processes.pop(pid))

    def come_back(self, pid: int, unit: int, count: int) -> None:
        """Fold it, but it has late bytes, and so a row again: the same one, from zero."""
        if pid in self.processes:
            process = self.processes[pid]
            self._fold(process)
            process.parts = [(process.parts[-1][0], [0] * 4)]
            self.move(pid, unit, count)

    def merge_retired(self, _pid: int, unit: int, _count: int) -> None:
        oldest = next(iter(self.retired), None)
        if oldest is not None:
            self._retire((-1, oldest[1]), self.retired.pop(oldest))

    def _fold(self, process: Process) -> None:
        # As the daemon: by the units that it had, for the user that it was last.
        uid = process.parts[-1][0][1]
        for (unit, _uid), counts in process.parts:
            self._retire((unit, uid), counts)

    def _retire(self, owner: tuple[int, int], counts: list[int]) -> None:
        before = self.retired.get(owner, [0] * 4)
        self.retired[owner] = [one + other for one, other in zip(before, counts, strict=True)]

    def snapshot(self) -> model.Snapshot:
        rows = []
        for pid, process in self.processes.items():
            counts = map(sum, zip(*(counts for _owner, counts in process.parts), strict=True))
            (unit, uid), _counts = process.parts[-1]
            fields: dict[str, Any] = dict(zip(COUNTED, counts, strict=True))
            rows.append(made.process(pid, unit=name_of(unit), uid=uid, **fields)
                        | {"start_ns": process.start_ns})  # fmt: skip
        retired = [
            {"unit": name_of(unit), "uid": uid, **dict(zip(COUNTED, counts, strict=True))}
            for (unit, uid), counts in self.retired.items()
        ]
        return snapshot(rows, retired, seq=self.seq)


def name_of(unit: int) -> bytes | None:
    return b"(other)" if unit < 0 else b"u%d" % unit if unit else None


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                Host.begin,
                Host.begin,
                Host.move,
                Host.move,
                Host.move,
                Host.change_unit,
                Host.change_user,
                Host.end,
                Host.come_back,
                Host.merge_retired,
                None,
                None,
            ]
        ),
        st.integers(1, 8),
        st.integers(0, 6),
        st.integers(0, 1000),
    ),
    max_size=80,
)


@given(steps=STEPS, top=st.integers(1, 9))
@settings(max_examples=300, deadline=None)
def test_no_series_ever_falls_or_vanishes_and_their_sum_is_the_total(steps: Any, top: int) -> None:
    """None is a scrape; any number of ticks may pass between two of them."""
    host, meter = Host(), meter_of(top, programs=True)
    before: dict[str, Seen] = defaultdict(dict)
    for act, *arguments in [*steps, (None,)]:
        if act is not None:
            act(host, *arguments)
            continue
        host.seq += 1
        shown = host.snapshot()
        meter.take(shown)
        for dimension in ("unit", "container", "user", "program"):
            now = series(meter, dimension)
            for name, counts in before[dimension].items():
                assert all(new >= old for new, old in zip(now[name], counts, strict=True)), name
            assert len(now.keys() - {OTHER}) <= top
            total = list(map(sum, zip(*now.values(), strict=True))) or [0] * 4
            assert total == [shown.totals[name] for name in COUNTED]
            before[dimension] = now


@given(
    histories=st.lists(
        st.tuples(st.integers(1, 3), st.lists(st.integers(0, 50), min_size=6, max_size=6)),
        min_size=1, max_size=8,
    ),
)  # fmt: skip
@settings(deadline=None)
def test_a_process_that_stays_seen_counts_where_it_was(histories: Any) -> None:
    """Each process moves some bytes a tick, and goes to the next unit every second tick."""
    meter = meter_of()
    expected: dict[str, int] = defaultdict(int)
    for tick in range(6):
        rows = []
        for pid, (first, moves) in enumerate(histories, 1):
            unit = f"u{first + tick // 2}"
            expected[unit] += moves[tick]
            rows.append(row(pid, unit.encode(), sum(moves[: tick + 1])))
        meter.take(snapshot(rows, seq=tick + 1))
        assert net(meter) == {unit: count for unit, count in expected.items() if count}


@pytest.mark.parametrize("scope", ["own", "all"])
def test_payload_of_an_interface_never_falls(scope: str) -> None:
    meter = meter_of()
    for seq, payload in enumerate((10, 7, 9), 1):
        shown = made.interface(b"eth0", {"payload_rx_bytes": payload})
        coverage = made.coverage(interfaces=[shown])
        meter.take(snapshot([], seq=seq, scope=scope, coverage=coverage))
    (name, values), _other = meter.devices["interfaces"].sums()
    assert (name, values[4]) == ("eth0", 12)
