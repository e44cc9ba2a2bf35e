"""What each topic of a snapshot carries: scopes, columns, names, open descriptors, history."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pbmond import wire
from pbmond.containers.names import ContainerNames
from pbmond.fields import COUNTERS, DIRECTIONS, RATES
from pbmond.kernel.records import (
    FLAG_ACCEPTED,
    FLAG_CONNECTED,
    FLAG_OTHER_DEVICE,
    FLAG_UNLINKED,
    Event,
    FileSeen,
    UnixSeen,
)
from pbmond.publish.topic_messages import Messages, Meta
from pbmond.store.store import Store
from tests import factories as make
from tests.store_views import flow, message, new_store, process

ALL_TOPICS = [b"all/processes", b"all/flows", b"all/flows/7", b"uid/1000/processes",
              b"uid/1000/flows", b"uid/1000/flows/7"]  # fmt: skip


def connections(store: Store, topic: bytes = b"all/flows") -> list[dict[str, Any]]:
    table = message(store, wire.parse_topic(topic)).connections
    assert table is not None
    return list(table.rows())


def files(store: Store, topic: bytes = b"all/flows") -> list[dict[str, Any]]:
    table = message(store, wire.parse_topic(topic)).files
    assert table is not None
    return list(table.rows())


def file(row_id: int = 1, pid: int = 7, inode: int = 1, **more: int) -> Any:
    return make.file_key(pid, inode=inode), make.counter(row_id, "file", (10, 20, 1, 2), **more)


def two_users() -> Store:
    """Return a store with a process of user 1000 (PID 7) and one of user 0 (PID 8)."""
    store = new_store()
    events = [make.seen(7, uid=1000), make.seen(8, uid=0, unit=b"db.service")]
    store.apply(make.reading(1, events=events))
    store.snapshot()
    rows = [flow(1), flow(2, (100, 200, 1, 2), pid=8)]
    store.apply(make.reading(2, flows=rows, files=[file(3), file(4, pid=8)]))
    return store


@pytest.mark.parametrize("topic", ALL_TOPICS)
def test_an_empty_store_has_a_message_for_every_topic(topic: bytes) -> None:
    store = new_store()
    store.apply(make.reading())
    found = message(store, wire.parse_topic(topic))
    assert (found.processes.length, found.retired.length) == (0, 0)
    assert set(found.totals) == {*COUNTERS, *RATES}
    assert all(found.totals[name] == 0 for name in COUNTERS)


@pytest.mark.parametrize("topic", [b"all/processes", b"uid/1000/processes"])
def test_the_topic_of_processes_has_no_connections_and_no_files(topic: bytes) -> None:
    found = message(two_users(), wire.parse_topic(topic))
    assert (found.connections, found.files) == (None, None)


def test_a_message_carries_its_times_and_its_meta() -> None:
    found = Messages(two_users().snapshot(), make.META).of(wire.Topic(None, "processes"))
    assert found.now_ns == make.STARTED_NS + 2 * make.SECOND
    assert found.time_ns == make.WALL_NS + found.now_ns
    assert found.interval_ns == make.SECOND
    assert (found.host, found.seq, found.health) == ("host", 1, {"status": "complete"})


# --- scopes ---------------------------------------------------------------------------------------


def test_a_user_sees_their_own_processes_rows_and_sums_only() -> None:
    store = two_users()
    found = message(store, wire.parse_topic(b"uid/1000/flows"))
    assert list(found.processes.columns["pid"]) == [7]
    assert [each["pid"] for each in connections(store, b"uid/1000/flows")] == [7]
    assert [each["pid"] for each in files(store, b"uid/1000/flows")] == [7]
    assert (found.totals["net_rx_bytes"], found.totals["net_rx_bytes_per_s"]) == (10, 10)
    assert found.history["net_rx_bytes_per_s"] == [None, 10]


def test_retired_sums_are_in_the_scope_of_their_user() -> None:
    store = new_store(exited_linger_ns=0, visible=lambda pid, _name, _uid: pid != 9)
    events: list[Event] = [make.seen(7, uid=1000), make.exited(7, disk=(1, 1)), make.seen(8, uid=0),
              make.exited(8, disk=(2, 2)), make.seen(9, uid=0)]  # fmt: skip
    store.apply(make.reading(1, flows=[flow(pid=9)], events=events))
    store.apply(make.reading(2, flows=[flow(pid=9)]))
    own = message(store, wire.parse_topic(b"uid/1000/processes"))
    assert own.retired.columns["unit"] == [b"web.service"]
    assert own.totals["disk_read_bytes"] == 1
    root = message(store, wire.parse_topic(b"uid/0/processes"))
    assert root.retired.columns["unit"] == [b"web.service", b"(excluded)"]
    assert list(root.retired.columns["net_rx_bytes"]) == [0, 10]
    assert list(root.retired.columns["processes"]) == [1, 1]
    assert (root.totals["disk_read_bytes"], root.totals["net_rx_bytes"]) == (2, 10)


@pytest.mark.parametrize("topic", [b"all/flows/8", b"uid/0/flows/8"])
def test_the_topic_of_one_pid_has_that_process_its_rows_and_its_history(topic: bytes) -> None:
    store = two_users()
    found = message(store, wire.parse_topic(topic))
    assert list(found.processes.columns["pid"]) == [8]
    assert [each["pid"] for each in connections(store, topic)] == [8]
    assert [each["pid"] for each in files(store, topic)] == [8]
    assert found.history["net_rx_bytes_per_s"] == [None, 100]
    assert found.totals["net_rx_bytes"] == (110 if topic.startswith(b"all") else 100)
    assert found.retired.length == 0


def test_the_topic_of_a_reused_pid_has_its_newest_process() -> None:
    store = new_store()
    old, new = make.START_NS, make.START_NS + make.SECOND
    events: list[Event] = [make.seen(7, old), make.exited(7, old), make.seen(7, new)]
    store.apply(make.reading(1, flows=[flow(1)], events=events))
    store.snapshot()
    rows = [flow(1), flow(2, (5, 6, 1, 1), start_ns=new)]
    store.apply(make.reading(2, flows=rows))
    found = message(store, wire.parse_topic(b"all/flows/7"))
    assert list(found.processes.columns["start_ns"]) == [new]
    assert [row["rx_bytes"] for row in connections(store, b"all/flows/7")] == [5]
    assert found.history["net_rx_bytes_per_s"] == [None, 5]
    assert message(store, wire.parse_topic(b"all/flows")).processes.length == 2


def test_the_topic_of_an_unknown_pid_is_empty() -> None:
    found = message(two_users(), wire.parse_topic(b"all/flows/9"))
    assert (found.processes.length, found.history["net_rx_bytes_per_s"]) == (0, [])


def test_the_pid_of_another_user_is_empty_in_ones_own_scope() -> None:
    store = two_users()
    assert connections(store, b"uid/1000/flows/8") == []
    found = message(store, wire.parse_topic(b"uid/1000/flows/8"))
    assert found.history["net_rx_bytes_per_s"] == []


def test_rows_of_hidden_processes_are_in_no_topic() -> None:
    store = new_store(visible=lambda pid, _name, _uid: pid != 7)
    store.apply(make.reading(1, flows=[flow()], files=[file(2)], events=[make.seen()]))
    for topic in (b"all/flows", b"all/flows/7", b"uid/1000/flows"):
        assert connections(store, topic) == []
        assert files(store, topic) == []


# --- history --------------------------------------------------------------------------------------


def test_history_keeps_the_newest_samples_oldest_first() -> None:
    store = new_store(history_length=3)
    for time_s in range(1, 7):
        store.apply(make.reading(time_s, flows=[flow(values=(time_s**2, 0, time_s, 0))]))
        store.snapshot()
    assert message(store).history["net_rx_bytes_per_s"] == [7, 9, 11]
    assert message(store, wire.parse_topic(b"all/flows/7")).history == message(store).history


def test_history_of_a_process_begins_with_it_even_in_a_slot_used_before() -> None:
    store = new_store(exited_linger_ns=0)
    store.apply(make.reading(1, events=[make.seen(7)]))
    store.snapshot()
    store.apply(make.reading(2, events=[make.exited(7)]))
    store.snapshot()
    store.apply(make.reading(3, flows=[flow(pid=9)]))
    assert message(store, wire.parse_topic(b"all/flows/9")).history["net_rx_bytes_per_s"] == [10]
    assert len(message(store).history["net_rx_bytes_per_s"]) == 3


# --- connections ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "family", "flags", "port", "expected"),
    [
        (6, 2, FLAG_ACCEPTED, 80, "in"),
        (6, 10, FLAG_CONNECTED, 41000, "out"),
        (6, 10, FLAG_CONNECTED, 443, "out"),  # from a port that was listening, too
        (262, 2, FLAG_CONNECTED, 41000, "out"),
        (6, 2, 0, 41000, "unknown"),  # older than the daemon, and it does not tell
        (132, 2, FLAG_ACCEPTED, 41000, "in"),
        (6, 2, 0, 443, "in"),  # was listening before the daemon began
        (17, 2, 0, 443, "unknown"),
        (6, 16, 0, 0, "unknown"),  # the sixth protocol of netlink is not TCP
    ],
)
def test_direction(protocol: int, family: int, flags: int, port: int, expected: str) -> None:
    store = new_store()
    store.set_listening({(4026531840, 443), (1, 41000)})
    key = make.flow_key(protocol=protocol, family=family, local_port=port)
    counter = make.counter(1, "net", flags=flags, netns=4026531840)
    store.apply(make.reading(flows=[(key, counter)]))
    assert DIRECTIONS[connections(store)[0]["direction"]] == expected


def test_a_connection_has_both_ends_and_its_times() -> None:
    store = new_store()
    ends: dict[str, Any] = {
        "local": np.void(bytes(range(16))),
        "remote": np.void(bytes(range(16, 32))),
        "local_port": 1,
        "remote_port": 2,
    }
    store.apply(make.reading(1, flows=[flow(**ends)]))
    store.apply(make.reading(2, flows=[flow(values=(11, 20, 2, 2), **ends)]))
    store.apply(make.reading(3, flows=[flow(values=(11, 20, 2, 2), **ends)]))
    (row,) = connections(store)
    assert (row["local"], row["remote"]) == (bytes(range(16)), bytes(range(16, 32)))
    assert (row["local_port"], row["remote_port"]) == (1, 2)
    assert (row["rx_bytes"], row["tx_bytes"], row["rx_calls"], row["tx_calls"]) == (11, 20, 2, 2)
    assert row["first_ns"] == make.START_NS
    assert row["last_ns"] == make.STARTED_NS + 2 * make.SECOND


def test_tcp_values_are_in_the_row_and_retransmissions_in_its_process_too() -> None:
    store = new_store(exited_linger_ns=0)
    events = [make.seen(7), make.seen(8)]
    first = make.counter(1, values=(1, 1, 1, 1, 2, 2896), rtt_us=850, tcp_state=1)
    store.apply(make.reading(1, flows=[(make.flow_key(), first)], events=events))
    # No byte moved, and yet a segment was sent again; the other process has a row of its own.
    again = make.counter(1, values=(1, 1, 1, 1, 3, 4344), rtt_us=900, tcp_state=8)
    other = make.counter(2, values=(1, 1, 1, 1, 5, 5))
    rows = [(make.flow_key(), again), (make.flow_key(8), other)]
    store.apply(make.reading(2, flows=rows))
    row, _other = connections(store)
    assert (row["rtt_us"], row["tcp_state"]) == (900, 8)
    names = ("retransmitted_segments", "retransmitted_bytes")
    assert [row[name] for name in names] == [3, 4344]
    assert [process(store, 7)[name] for name in names] == [3, 4344]
    assert [message(store).totals[name] for name in names] == [8, 4349]
    retire = store.apply(make.reading(3, flows=rows, events=[make.exited(7, time_s=3)]))
    assert list(retire.flows) == [1]
    store.fold(make.counters(again), make.counters(), make.counters())
    store.apply(make.reading(4, flows=rows[1:]))
    left = message(store)
    assert [left.retired.columns[name][0] for name in names] == [3, 4344]
    assert [left.totals[name] for name in names] == [8, 4349]


def test_unix_sockets_have_names_and_the_inode_of_their_peer() -> None:
    store = new_store()
    counter = make.counter(5, "unix")
    names = UnixSeen(5, b"/run/x.sock", b"\x00abstract", 77)
    store.apply(make.reading(1, events=[names]))
    store.apply(make.reading(2, flows=[flow(1), (make.flow_key(family=1, protocol=0), counter)]))
    inet, unix = connections(store)
    assert (inet["local_name"], inet["remote_name"], inet["remote"]) == (None, None, bytes(16))
    assert (unix["local_name"], unix["remote_name"]) == (b"/run/x.sock", b"\x00abstract")
    assert unix["remote"] == (77).to_bytes(16, "little")


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("row_first", [True, False])
def test_a_path_may_come_before_or_after_its_row(row_first: bool) -> None:
    store = new_store()
    event = FileSeen(1, b"/etc/hosts", whole=True)
    first, second = ([file()], ()) if row_first else ((), [event])
    store.apply(make.reading(1, files=first, events=second))
    store.apply(make.reading(2, files=[file()], events=[event] if row_first else ()))
    (row,) = files(store)
    assert (row["path"], row["read_bytes"], row["write_calls"]) == (b"/etc/hosts", 10, 2)


def test_a_truncated_path_says_so_and_an_unknown_one_is_none() -> None:
    store = new_store()
    event = FileSeen(1, b"/deep/down", whole=False)
    rows = [file(1), file(2, inode=2, flags=FLAG_UNLINKED, device=8 << 20 | 1)]
    store.apply(make.reading(1, files=rows, events=[event]))
    cut, unknown = files(store)
    assert (cut["path"], cut["unlinked"]) == (b".../deep/down", 0)
    assert (unknown["path"], unknown["unlinked"]) == (None, 1)
    assert (unknown["device"], unknown["inode"]) == (8 << 20 | 1, 2)


def test_names_of_rows_that_left_are_forgotten_and_all_others_kept() -> None:
    store = new_store()
    pairs = {row_id: b"/%d" % row_id for row_id in range(1, 2001)}
    events = [FileSeen(row_id, path, whole=True) for row_id, path in pairs.items()]
    rows = [file(row_id, inode=row_id) for row_id in range(1, 11)]
    store.apply(make.reading(1, files=rows, events=events[:1995]))
    early = store.snapshot()
    late = [file(row_id, inode=row_id) for row_id in range(1996, 2001)]
    # Those of this tick's events may be of rows that are not read yet.
    store.apply(make.reading(2, files=rows, events=events[1995:]))
    store.apply(make.reading(3, files=rows + late))
    paths = [each["path"] for each in files(store)]
    assert paths == [pairs[row_id] for row_id in (*range(1, 11), *range(1996, 2001))]
    assert len(store.snapshot().files.names) == 15
    assert set(range(1, 1996)) <= early.files.names.keys()  # its own are still there


# --- open descriptors -----------------------------------------------------------------------------


def test_open_is_unknown_then_as_sampled_and_false_after_the_exit() -> None:
    store = new_store()
    counter = make.counter(1, "net", detail=55)
    rows: dict[str, Any] = {"flows": [(make.flow_key(), counter)], "files": [file(2, inode=66)]}
    store.apply(make.reading(1, **rows))
    assert (connections(store)[0]["open"], files(store)[0]["open"]) == (2, 2)
    store.apply_proc([make.sample(open_inodes=[(9, 55), (0, 66), (9, 67)])])
    assert (connections(store)[0]["open"], files(store)[0]["open"]) == (1, 1)
    store.apply(make.reading(2, **rows))
    store.apply_proc([make.sample(open_inodes=[(9, 55)])])
    assert (connections(store)[0]["open"], files(store)[0]["open"]) == (1, 0)
    store.apply_proc([make.sample(open_inodes=None)])  # too many, or refused
    assert (connections(store)[0]["open"], files(store)[0]["open"]) == (2, 2)
    store.apply(make.reading(3, **rows, events=[make.exited(time_s=3)]))
    assert (connections(store)[0]["open"], files(store)[0]["open"]) == (0, 0)


def test_a_row_whose_device_is_not_sure_is_open_by_its_inode_number_alone() -> None:
    store = new_store()
    sure = make.counter(1, "file", device=1)
    unsure = make.counter(2, "file", device=1, flags=FLAG_OTHER_DEVICE)
    store.apply(
        make.reading(1, files=[(make.file_key(inode=55), sure), (make.file_key(inode=66), unsure)])
    )
    store.apply_proc([make.sample(open_inodes=[(9999, 55), (9999, 66)])])
    assert [each["open"] for each in files(store)] == [0, 1]
    store.apply_proc([make.sample(open_inodes=[(1, 55), (9999, 67)])])
    assert [each["open"] for each in files(store)] == [1, 0]


def test_an_inode_number_of_another_device_opens_nothing() -> None:
    store = new_store()
    rows: dict[str, Any] = {
        "flows": [(make.flow_key(), make.counter(1, "net", detail=55))],
        "files": [
            (make.file_key(inode=55), make.counter(2, "file", device=1)),
            (make.file_key(inode=66), make.counter(3, "file", device=2)),
        ],
    }
    store.apply(make.reading(1, **rows))
    store.apply_proc([make.sample(open_inodes=[(make.SOCKETS, 66), (1, 55), (1, 66)])])
    assert connections(store)[0]["open"] == 0  # 55 is a file
    assert [each["open"] for each in files(store)] == [1, 0]
    store.apply_proc([make.sample(open_inodes=[(make.SOCKETS, 55), (2, 55), (2, 66)])])
    assert connections(store)[0]["open"] == 1
    assert [each["open"] for each in files(store)] == [0, 1]


def test_a_descriptor_of_one_process_does_not_open_the_row_of_another() -> None:
    store = new_store()
    rows = [file(1, pid=7, inode=5), file(2, pid=8, inode=5), file(3, pid=8, inode=6)]
    rows.append(file(4, pid=9, inode=5))
    store.apply(make.reading(1, files=rows))
    samples = [make.sample(7, open_inodes=[(1, 5)]), make.sample(8, open_inodes=[(1, 6)])]
    store.apply_proc(samples)
    assert [each["open"] for each in files(store)] == [1, 0, 1, 2]


def test_a_process_that_has_nothing_open_has_no_open_rows() -> None:
    store = new_store()
    store.apply(make.reading(1, files=[file()]))
    store.apply_proc([make.sample(open_inodes=[])])
    assert files(store)[0]["open"] == 0


def test_a_socket_without_an_inode_number_stays_unknown() -> None:
    store = new_store()
    store.apply(make.reading(1, flows=[flow()]))
    store.apply_proc([make.sample(open_inodes=[(1, 5)])])
    assert connections(store)[0]["open"] == 2


# --- frozen ---------------------------------------------------------------------------------------


def test_the_next_tick_changes_nothing_in_a_snapshot() -> None:
    store = new_store()
    topic = wire.Topic(None, "flows")
    store.apply(make.reading(1, flows=[flow()], events=[make.seen()]))
    before, untouched = store.snapshot(), store.snapshot()
    frame = wire.encode(topic, Messages(before, make.META).of(topic))
    moved = flow(values=(11, 21, 2, 3))
    store.apply(make.reading(2, flows=[moved], events=[make.seen(name=b"sh", time_s=2)]))
    store.apply_proc(
        [make.sample(disk=(5, 5), open_inodes=[(1, 1)], seen=make.seen(time_s=3, uid=0))]
    )
    assert process(store)["uid"] == 0
    assert wire.encode(topic, Messages(untouched, make.META).of(topic)) == frame


# --- containers ---------------------------------------------------------------------------------


def test_names_of_containers_go_with_rows_and_stay_in_retired_ones() -> None:
    path, container = b"/docker/" + b"a" * 64, b"docker:" + b"a" * 64
    named = {
        (container, 1000): ContainerNames(b"web", b"image", b"pod", b"space"),
        (container, 1001): ContainerNames(b"of-another-user"),
        (b"lxc:other", 1000): ContainerNames(b"other"),
    }
    store = new_store()
    store.apply(make.reading(1, events=[make.seen(7, cgroup=path), make.seen(8)]))
    meta = Meta("host", "boot", "epoch", 1, {}, named)

    def names(table: wire.Table) -> dict[Any, list[Any]]:
        columns = ("container_name", "image", "pod", "namespace")
        return {row["container"]: [row[name] for name in columns] for row in table.rows()}

    expected = {container: [b"web", b"image", b"pod", b"space"], None: [None] * 4}
    for topic in ALL_TOPICS[:2]:
        found = Messages(store.snapshot(), meta).of(wire.parse_topic(topic))
        assert names(found.processes) == expected
    store.apply(make.reading(2, events=[make.exited(7, time_s=2), make.exited(8, time_s=2)]))
    for second in (60, 61):
        store.apply(make.reading(second))
    found = Messages(store.snapshot(), meta).of(wire.parse_topic(b"uid/1000/processes"))
    assert (found.processes.length, names(found.retired)) == (0, expected)
