"""The collector's loop with a fake kernel, a fake publisher and a clock that tests set."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from pbmond.collector import RESCAN_NS
from pbmond.fields import STATES
from pbmond.kernel.records import START_TICK_NS, FileSeen, ProbeRuns
from pbmond.moved_wire import decode_moved
from pbmond.publish.channel import MAX_TOPICS, Demand
from pbmond.service import NEWCOMERS_PER_S
from pbmond.wire import Message, Topic
from tests import factories
from tests.service_world import ALL, SECOND, World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def process(message: Message, pid: int = 7) -> dict[str, object]:
    (row,) = [row for row in message.processes.rows() if row["pid"] == pid]
    return row


# --- the schedule -----------------------------------------------------------------------------


def test_the_first_tick_is_immediate_and_the_next_after_the_interval(world: World) -> None:
    world.step()
    assert world.message().seq == 1
    world.step(SECOND - 1)
    assert world.message().seq == 1
    world.step(SECOND)
    assert world.message().seq == 2


def test_ticks_keep_their_schedule_if_one_is_late(world: World) -> None:
    world.step()
    world.step(SECOND + SECOND // 2)
    assert world.message().interval_ns == SECOND + SECOND // 2
    world.step(2 * SECOND - 1)
    assert world.message().seq == 2
    world.step(2 * SECOND)
    assert (world.message().seq, world.message().interval_ns) == (3, SECOND // 2)


def test_missed_ticks_are_skipped_and_the_interval_is_the_real_one(world: World) -> None:
    world.step()
    world.step(5 * SECOND + 1)
    assert (world.message().seq, world.message().interval_ns) == (2, 5 * SECOND + 1)
    world.step(5 * SECOND + 2)
    assert world.message().seq == 2
    world.step(6 * SECOND)
    assert world.message().seq == 3


def test_only_a_signal_that_ends_the_daemon_ends_the_loop(world: World) -> None:
    assert world.step()
    world.signals.send(b"H")
    assert world.step(SECOND)
    assert world.message().seq == 2
    world.signals.send(b"E")
    assert not world.step()


# --- one tick ---------------------------------------------------------------------------------


def test_a_message_combines_counters_events_and_proc(world: World) -> None:
    world.kernel.flows = [(factories.flow_key(), factories.counter(1, "net", (10, 20, 1, 2)))]
    world.kernel.events = [factories.seen(name=b"curl")]
    world.step()
    row = process(world.message())
    assert (row["name"], row["net_rx_bytes"], row["net_tx_bytes"]) == (b"curl", 10, 20)
    assert world.proc.sampled == [7]
    assert world.message().totals["net_rx_bytes"] == 10


def test_events_drained_between_ticks_are_in_the_next_reading(world: World) -> None:
    world.step()
    world.kernel.events = [factories.seen(name=b"brief")]
    world.kernel.ring_half_full()
    world.step()
    assert world.kernel.events == []
    world.step(SECOND)
    assert process(world.message())["name"] == b"brief"


def test_a_new_name_is_in_the_snapshot_of_the_tick_that_finds_it(world: World) -> None:
    world.kernel.files = [(factories.file_key(), factories.counter(3, "file", (0, 1, 0, 1)))]
    world.kernel.events = [FileSeen(3, b"/srv/data.tmp", whole=True)]
    world.kernel.renamed = [FileSeen(3, b"/srv/data", whole=True)]
    world.step()
    message = world.collector.message(Topic(None, "flows"))
    assert message is not None
    assert message.files is not None
    assert [row["path"] for row in message.files.rows()] == [b"/srv/data"]
    assert world.kernel.looked == [3]


def test_a_cgroup_that_the_kernel_cannot_name_is_looked_up(world: World) -> None:
    world.proc.processes = [factories.seen(cgroup=b"/docker/" + b"0a" * 32)]
    world.proc.pids = lambda: []  # type: ignore[method-assign] # not found that way here
    world.kernel.events = [factories.seen(cgroup=None)]
    world.step()
    assert process(world.message())["container"] == b"docker:" + b"0a" * 32


def test_all_of_proc_is_listed_at_the_start_and_every_ten_seconds(world: World) -> None:
    world.proc.processes = [factories.seen(pid=8, name=b"idle")]
    world.step()
    assert process(world.message(), 8)["name"] == b"idle"
    for now in range(0, RESCAN_NS + 1, SECOND):
        world.step(now)
    assert world.proc.scans == 2


def test_a_pid_is_looked_up_again_only_after_its_process_exited(world: World) -> None:
    world.proc.processes = [factories.seen(pid=8, name=b"first")]
    world.step()
    world.proc.processes = [factories.seen(pid=8, start_ns=factories.START_NS + 1, name=b"next")]
    world.step(RESCAN_NS)
    assert process(world.message(), 8)["name"] == b"first"
    world.kernel.events = [factories.exited(pid=8, time_s=11)]
    world.step(RESCAN_NS + SECOND)
    world.step(2 * RESCAN_NS)
    rows = [row for row in world.message().processes.rows() if row["pid"] == 8]
    assert [row["name"] for row in rows] == [b"next"]


def test_a_process_that_ends_without_an_event_ends_with_the_next_scan(world: World) -> None:
    coarse_ns = factories.STARTED_NS + START_TICK_NS  # as /proc gives it
    world.proc.processes = [factories.seen(pid=8, start_ns=coarse_ns, name=b"fork")]
    world.step()
    world.proc.processes = []
    world.step(RESCAN_NS - SECOND)
    assert process(world.message(), 8)["state"] == STATES.index("running")
    world.step(RESCAN_NS)
    assert process(world.message(), 8)["state"] == STATES.index("exited")


def test_after_events_were_lost_the_next_scan_ends_every_process_that_is_gone(
    world: World,
) -> None:
    world.proc.processes = [factories.seen(pid=8)]
    world.kernel.events = [factories.seen(pid=8)]
    world.step()
    world.proc.processes = []
    world.step(RESCAN_NS)
    assert process(world.message(), 8)["state"] == STATES.index("running")  # its exit is an event
    world.kernel.losses = {"events": 1}
    world.step(RESCAN_NS + SECOND)
    world.step(2 * RESCAN_NS)
    assert process(world.message(), 8)["state"] == STATES.index("exited")


def test_a_process_that_vanishes_after_a_reading_exits_with_the_next_and_its_last_bytes(
    world: World,
) -> None:
    world.kernel.flows = [(factories.flow_key(), factories.counter(1, "net", (10, 20, 1, 2)))]
    world.step()
    world.proc.gone = {7}
    world.kernel.flows = [(factories.flow_key(), factories.counter(1, "net", (10, 22, 1, 3)))]
    world.step(SECOND)
    assert process(world.message())["state"] == STATES.index("running")
    world.kernel.flows = [(factories.flow_key(), factories.counter(1, "net", (10, 25, 1, 3)))]
    world.step(2 * SECOND)
    row = process(world.message())
    assert (row["state"], row["net_tx_bytes"]) == (STATES.index("exited"), 25)


def test_the_same_scan_finds_the_process_that_has_its_pid_now(world: World) -> None:
    start_ns = factories.STARTED_NS + START_TICK_NS
    world.proc.processes = [factories.seen(pid=8, start_ns=start_ns, name=b"first")]
    world.step()
    world.proc.processes = [factories.seen(pid=8, start_ns=start_ns + SECOND, name=b"next")]
    world.step(RESCAN_NS)
    rows = [row for row in world.message().processes.rows() if row["pid"] == 8]
    states = {row["name"]: row["state"] for row in rows}
    assert states == {
        b"first": STATES.index("exited"),
        b"next": STATES.index("running"),
    }


def test_keys_of_an_exited_process_are_deleted_without_losing_a_byte(world: World) -> None:
    world.kernel.flows = [(factories.flow_key(), factories.counter(1, "net", (10, 20, 1, 2)))]
    world.kernel.files = [(factories.file_key(), factories.counter(2, "file", (5, 6, 1, 1)))]
    world.kernel.overflow = [(factories.overflow_key(), factories.counter(3, "net", (1, 1, 1, 1)))]
    world.kernel.events = [factories.seen()]
    world.step()
    world.kernel.events = [factories.exited(time_s=1)]
    for now in range(1, 6):
        world.step(now * SECOND)
    assert sorted(int(each["id"]) for each in world.kernel.deleted) == [1, 2, 3]
    message = world.message()
    assert message.processes.length == 0
    assert message.totals["net_rx_bytes"] == 11
    assert [row["net_rx_bytes"] for row in message.retired.rows()] == [11]
    assert [row["file_write_bytes"] for row in message.retired.rows()] == [6]


def test_health_has_losses_modes_maps_and_cost(world: World) -> None:
    world.step()
    world.kernel.losses = {"events": 2}
    world.proc.cpu_ns = {1: SECOND // 100, 98: 0, 99: SECOND // 50}
    world.kernel.probes = ProbeRuns(time_ns=50_000, calls=200)
    world.step(SECOND)
    health = world.message().health
    assert health["status"] == "incomplete"
    assert health["lost"] == {"events": 2}
    assert health["modes"] == {"sockets": "tracepoint", "files": "syscall-exit"}
    assert health["unseen"] == ["swap"]
    assert health["maps"] == {"flows": {"used": 0, "capacity": 100}}
    assert health["cost"] == {
        "daemon_cpu_percent": 3.0,
        "daemon_rss_bytes": 198_000,
        "processes": [
            {"role": "collector", "pid": 1, "cpu_percent": 1.0, "rss_bytes": 1000},
            {"role": "forker", "pid": 98, "cpu_percent": 0.0, "rss_bytes": 98_000},
            {"role": "publisher", "pid": 99, "cpu_percent": 2.0, "rss_bytes": 99_000},
        ],
        "probe_ns_per_call": 250.0,
        "probe_calls_per_s": 200.0,
        "looks": 0,
        "looks_percent": 0.0,
        "looks_waiting": 0,
        "looks_oldest_s": None,
        "names": 0,
        "names_percent": 0.0,
        "verified_instructions": 1000,
    }


def test_a_publisher_that_is_gone_costs_nothing(world: World) -> None:
    world.step()
    del world.proc.cpu_ns[99]
    world.step(SECOND)
    cost = world.message().health["cost"]
    assert [process["role"] for process in cost["processes"]] == ["collector", "forker"]
    assert (cost["daemon_cpu_percent"], cost["daemon_rss_bytes"]) == (0.0, 99_000)


# --- publishing -------------------------------------------------------------------------------


def test_nothing_is_encoded_that_nobody_wants(world: World) -> None:
    world.step()
    world.step(SECOND)
    assert world.feed.frames == []


def test_a_newcomer_gets_the_current_snapshot_at_once(world: World) -> None:
    world.step()
    world.feed.want(ALL)
    world.step(SECOND // 10)
    assert [(topic, message.seq) for topic, message in world.feed.taken()] == [(ALL, 1)]


def test_a_viewer_that_comes_before_the_first_snapshot_gets_it_at_once(world: World) -> None:
    world.feed.want(ALL)
    world.step()
    assert [message.seq for _, message in world.feed.taken()] == [1]


def test_each_wanted_topic_is_sent_once_a_tick_until_nobody_wants_it(world: World) -> None:
    flows = Topic(1000, "flows", 7)
    world.feed.want(ALL, flows)
    world.step()
    world.feed.taken()
    world.step(SECOND)
    assert world.feed.topics() == [ALL, flows]
    world.feed.demands = [Demand(ALL, wanted=False)]
    world.step(SECOND + 1)
    world.step(2 * SECOND)
    assert world.feed.topics() == [flows]


def test_the_topic_of_a_missing_process_is_an_empty_message(world: World) -> None:
    world.feed.want(Topic(None, "flows", 4242))
    world.step()
    ((_, message),) = world.feed.taken()
    assert message.processes.length == 0


def test_a_publisher_without_room_misses_snapshots_and_never_blocks(world: World) -> None:
    topics = [Topic(uid, "processes") for uid in range(3)]
    world.feed.want(*topics)
    world.feed.room = 1
    world.step()
    assert world.feed.topics() == topics[:1]
    world.step(SECOND)
    world.feed.room = 1
    world.step(2 * SECOND)
    # The next in line, not the first again; and the newest snapshot, not the one it missed.
    assert [(topic, message.seq) for topic, message in world.feed.taken()] == [(topics[1], 3)]


def test_frames_take_half_of_an_interval_at_most_and_the_rest_comes_first_in_the_next(
    world: World,
) -> None:
    topics = [Topic(uid, "processes") for uid in range(5)]
    world.feed.want(*topics)
    world.step()
    world.feed.taken()

    def take_time() -> None:
        world.now += 200_000_000

    world.feed.sent = take_time
    seen = []
    for tick in range(1, 4):
        world.step(tick * SECOND)
        world.step(tick * SECOND + 900_000_000)  # there is time, but not for frames
        seen.append(world.feed.topics())
    assert seen == [topics[:3], [*topics[3:], topics[0]], topics[1:4]]


def test_hundreds_of_topics_of_some_users_hold_up_no_other_user(world: World) -> None:
    greedy = [Topic(uid, "flows", pid) for uid in range(1, 9) for pid in range(160)]
    honest = [Topic(None, "processes"), Topic(1000, "processes"), Topic(1000, "flows")]
    world.feed.want(*greedy, *honest)
    world.step()
    for tick in range(1, 6):
        world.feed.room = 40  # of 1,283
        world.feed.taken()
        world.step(tick * SECOND)
        served = world.feed.topics()
        assert len(served) == 40
        assert set(honest) <= set(served)
        assert len({topic.uid for topic in served}) == 10


def test_a_new_publisher_starts_with_nothing_wanted(world: World) -> None:
    world.feed.want(ALL)
    world.step()
    world.feed.taken()
    world.feed.starting = True
    world.step(SECOND)
    assert world.feed.topics() == []
    world.feed.want(ALL)
    world.step(SECOND)
    assert world.feed.topics() == [ALL]


def test_what_moved_is_sent_with_the_ticks_of_which_there_was_no_frame(world: World) -> None:
    moved = Topic(None, "moved")
    world.feed.want(moved)
    world.step()
    world.feed.room = 0
    world.step(SECOND)
    world.step(2 * SECOND)
    world.feed.room = 1
    world.step(3 * SECOND)
    messages = [decode_moved(frame) for frame in world.feed.frames]
    assert [(message.first, message.seq) for message in messages] == [(1, 1), (1, 4)]


def test_the_number_of_wanted_topics_is_limited(world: World) -> None:
    world.feed.want(*(Topic(uid, "processes") for uid in range(2 * MAX_TOPICS)))
    world.step()
    world.feed.taken()
    world.step(SECOND)
    assert len(world.feed.topics()) == MAX_TOPICS


def test_viewers_that_come_and_go_cannot_cause_frames_without_limit(world: World) -> None:
    world.step()
    sent = 0
    for now in itertools.count(0, SECOND // 1000):
        if now == SECOND:
            break
        world.feed.demands = [Demand(ALL, wanted=False), Demand(ALL, wanted=True)]
        world.step(now)
        sent += len(world.feed.taken())
    assert NEWCOMERS_PER_S <= sent <= 2 * NEWCOMERS_PER_S


def test_a_crowded_table_gets_its_tick_early_and_then_a_whole_interval(world: World) -> None:
    world.step()
    world.kernel.crowded = True
    world.step(SECOND // 4)
    world.kernel.crowded = False
    assert world.message().seq == 2
    world.step(SECOND)
    assert world.message().seq == 2
    world.step(SECOND * 5 // 4)
    assert world.message().seq == 3


def test_early_ticks_take_at_most_half_of_the_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = world.kernel.read

    def take_a_tenth_of_a_second() -> object:
        world.now += SECOND // 10
        return read()

    monkeypatch.setattr(world.kernel, "read", take_a_tenth_of_a_second)
    world.kernel.crowded = True
    world.step(0)
    world.step()
    world.step(SECOND // 10 + SECOND // 20)
    assert world.message().seq == 1
    world.step(SECOND // 5)
    assert world.message().seq == 2
