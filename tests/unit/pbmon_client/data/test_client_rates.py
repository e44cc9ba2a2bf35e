"""Which snapshots are shown, and rates over the time between two that are."""

from __future__ import annotations

import math
from typing import Any

import pytest
from client_messages import HEALTH, flow, message, process, received

from pbmon_client.data import rates
from pbmon_client.data.model import Selection
from pbmon_client.data.stream import Stream

SECOND = 10**9


def got(*processes: dict[str, Any], **fields: Any) -> Any:
    return received(message(processes, **fields))


def rate_of(result: Any, name: str = "net_rx_bytes_per_s") -> list[float]:
    return list(result.processes.columns[name])


def test_a_repeated_snapshot_is_not_newer_and_one_of_another_run_is() -> None:
    assert rates.newer(got(seq=5), None)
    assert rates.newer(got(seq=6), got(seq=5))
    assert not rates.newer(got(seq=5), got(seq=5))
    assert not rates.newer(got(seq=4), got(seq=5))
    assert rates.newer(got(seq=1, epoch="epoch-2"), got(seq=5))


def test_without_an_interval_every_snapshot_is_due() -> None:
    assert rates.due(got(seq=2), got(seq=1), None)


@pytest.mark.parametrize(
    ("elapsed_s", "due"), [(0.5, False), (1.0, False), (1.499, False), (1.5, True), (2.1, True)]
)
def test_the_snapshot_nearest_to_the_interval_is_due(elapsed_s: float, due: bool) -> None:
    now = got(seq=2, now_ns=SECOND + round(elapsed_s * SECOND))
    assert rates.due(now, got(seq=1), 2 * SECOND) is due


def test_the_first_snapshot_and_a_new_run_are_due_at_once() -> None:
    assert rates.due(got(seq=1), None, 60 * SECOND)
    assert rates.due(got(seq=1, epoch="epoch-2"), got(seq=9), 60 * SECOND)


def test_rates_cover_the_time_since_the_snapshot_shown_before() -> None:
    before = got(process(1, net_rx_bytes=1000), seq=2)
    now = got(process(1, net_rx_bytes=5000, net_rx_bytes_per_s=123.0), seq=4)
    result = rates.over_interval(now, before, "all")
    assert result.interval_ns == 2 * SECOND
    assert rate_of(result) == [2000.0]
    assert result.totals["net_rx_bytes_per_s"] == 2000.0
    assert result.totals["net_rx_bytes"] == 5000


def test_rates_follow_the_process_and_not_the_place_in_the_table() -> None:
    before = got(process(1), process(2, net_rx_bytes=100), seq=1)
    now = got(process(2, net_rx_bytes=300), process(1, net_rx_bytes=50), seq=2)
    assert rate_of(rates.over_interval(now, before, "all")) == [200.0, 50.0]


def test_a_pid_used_again_counts_from_zero() -> None:
    before = got(process(1, net_rx_bytes=100), seq=1)
    now = got(process(1, start_ns=SECOND + 77, net_rx_bytes=150), seq=2)
    assert rate_of(rates.over_interval(now, before, "all")) == [150.0]


def test_a_row_that_came_back_smaller_has_counted_from_zero() -> None:
    before = got(process(1, net_rx_bytes=100), seq=1)
    assert rate_of(rates.over_interval(got(process(1, net_rx_bytes=7), seq=2), before, "all")) == [
        7.0
    ]


def changed_user(before: list[Any], now: list[Any], scope: str = "own") -> Any:
    return rates.over_interval(got(*now, seq=4), got(*before, seq=2), scope)


STAYS = process(1, net_rx_bytes=100)
MOVED_ON = process(1, net_rx_bytes=500)
OTHER = process(2, net_rx_bytes=10**9)


def test_a_process_that_becomes_another_users_makes_no_total_negative() -> None:
    result = changed_user([STAYS, OTHER], [MOVED_ON])
    assert result.totals["net_rx_bytes_per_s"] is None
    assert result.coverage["attributed"]["disk_read_bytes_interval"] is None
    assert rate_of(result) == [200.0]


def test_a_process_that_becomes_ones_own_has_no_rate_of_its_whole_life() -> None:
    result = changed_user([STAYS], [MOVED_ON, OTHER])
    assert rate_of(result)[0] == 200.0
    assert math.isnan(rate_of(result)[1])
    assert result.totals["net_rx_bytes_per_s"] is None


def test_processes_that_begin_and_end_leave_the_own_totals_known() -> None:
    gone = process(3, state=1)
    begun = process(4, start_ns=3 * SECOND, net_rx_bytes=600)
    result = changed_user([STAYS, gone], [MOVED_ON, begun])
    assert rate_of(result) == [200.0, 300.0]
    assert result.totals["net_rx_bytes_per_s"] == 500.0


def test_the_totals_of_everybody_are_always_known() -> None:
    retired = [{"unit": None, "net_rx_bytes": 10**9, "processes": 1}]
    after = got(MOVED_ON, retired=retired, seq=4)
    result = rates.over_interval(after, got(STAYS, OTHER, seq=2), "all")
    assert result.totals["net_rx_bytes_per_s"] == 200.0


def test_a_connection_that_comes_with_its_process_has_no_rate_of_its_whole_life() -> None:
    def snapshot(seq: int, *connections: Any) -> Any:
        return received(message([], connections, [], seq=seq))

    old = flow(1, first_ns=SECOND, rx_bytes=10**9)
    new = flow(1, first_ns=2 * SECOND + 1, rx_bytes=80)
    result: Any = rates.over_interval(snapshot(4, old, new), snapshot(2), "own")
    assert math.isnan(result.connections.columns["rx_bytes_per_s"][0])
    assert result.connections.columns["rx_bytes_per_s"][1] == 40.0


def test_the_daemons_rates_stay_where_nothing_comparable_was_shown() -> None:
    now = got(process(1, net_rx_bytes=9, net_rx_bytes_per_s=4.5), seq=3)
    assert rates.over_interval(now, None, "all") is now
    assert rates.over_interval(now, got(process(1), seq=2, epoch="epoch-2"), "all") is now
    assert rates.over_interval(now, got(process(1), seq=3), "all") is now


def test_connections_and_files_have_rates_over_the_interval_too() -> None:
    def snapshot(seq: int, moved: int, first_ns: int) -> Any:
        ends = {"family": 2, "local": b"\x0a\0\0\1", "remote": b"\x0a\0\0\2", "remote_port": 80}
        connections = [
            flow(1, **ends, rx_bytes=moved),
            flow(1, **ends, tx_bytes=moved, first_ns=first_ns),
        ]
        files = [flow(1, inode=5, read_bytes=moved), flow(1, inode=6, write_bytes=moved)]
        return received(message([process(1)], connections, files, seq=seq))

    result: Any = rates.over_interval(
        snapshot(3, 700, first_ns=SECOND + 60), snapshot(1, 300, first_ns=50), "all"
    )
    assert list(result.connections.columns["rx_bytes_per_s"]) == [200.0, 0.0]
    # The same ends with another first byte: a key that was retired and came back.
    assert list(result.connections.columns["tx_bytes_per_s"]) == [0.0, 350.0]
    assert list(result.files.columns["read_bytes_per_s"]) == [200.0, 0.0]
    assert list(result.files.columns["write_bytes_per_s"]) == [0.0, 200.0]


NO_LOSS: dict[str, int] = {}


def with_health(seq: int, lost: int, *reasons: str, **fields: Any) -> Any:
    status = "incomplete" if reasons else "complete"
    losses = {"lost": {"events": lost, "bytes": 0}, "lost_interval": NO_LOSS}
    health = {"status": status, "reasons": list(reasons), **losses}
    return got(seq=seq, now_ns=seq * SECOND, health=HEALTH | health, **fields)


def shown_health(*messages: Any, interval_s: float | None) -> list[tuple[Any, ...]]:
    stream = Stream(Selection(), 0, str)
    views = [stream.take(each, "all", interval_s) for each in messages]
    every = [view.health for view in views if view is not None]
    return [(each["status"], each["reasons"], each["lost_interval"]) for each in every]


def test_a_loss_in_a_snapshot_that_is_not_shown_makes_the_next_shown_one_incomplete() -> None:
    ticks = [with_health(1, 4), with_health(2, 7, "lost: events"), *(with_health(n, 7)
             for n in range(3, 8))]  # fmt: skip
    assert shown_health(*ticks, interval_s=3) == [
        ("complete", [], NO_LOSS),
        ("incomplete", ["lost: events"], {"events": 3, "bytes": 0}),
        ("complete", [], {"events": 0, "bytes": 0}),
    ]


def test_a_loss_in_a_snapshot_that_never_arrived_shows_by_its_count() -> None:
    seen = shown_health(with_health(1, 0), with_health(5, 2), interval_s=None)
    assert seen[1] == ("incomplete", ["lost: events"], {"events": 2, "bytes": 0})


def test_a_map_that_was_full_in_between_makes_the_interval_incomplete() -> None:
    ticks = [with_health(1, 0), with_health(2, 0, "map full: files"), with_health(3, 0)]
    assert shown_health(*ticks, interval_s=2)[1][:2] == ("incomplete", ["map full: files"])


def test_what_another_run_of_the_daemon_lost_is_not_compared() -> None:
    seen = shown_health(with_health(1, 9), with_health(5, 2, epoch="epoch-2"), interval_s=2)
    assert seen[1] == ("complete", [], NO_LOSS)
