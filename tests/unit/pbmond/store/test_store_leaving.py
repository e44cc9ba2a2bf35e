"""How processes and rows leave the store, and which are never shown; their bytes stay."""

from __future__ import annotations

from typing import Any

import pytest

from pbmond.fields import STATES
from pbmond.kernel.records import FLAG_OWNER, Event
from pbmond.store import rows as rows_module
from pbmond.store.process_places import MAX_PLACES
from tests import factories as make
from tests.store_views import NO_COUNTERS, flow, message, new_store, process, processes, retired

EXITED = STATES.index("exited")

# --- leaving --------------------------------------------------------------------------------------


def test_an_exited_process_stays_for_a_while_and_is_then_added_to_its_unit() -> None:
    store = new_store()
    events: list[Event] = [make.seen(), make.exited(time_s=1)]
    assert not len(store.apply(make.reading(1, flows=[flow()], events=events)).flows)
    assert process(store)["state"] == STATES.index("exited")
    assert not len(store.apply(make.reading(10, flows=[flow()])).flows)
    retire = store.apply(make.reading(11, flows=[flow()]))
    assert retire.flows.tolist() == [1]
    store.fold(make.counters(make.counter(1, "net", (13, 20, 2, 2))), NO_COUNTERS, NO_COUNTERS)
    assert process(store)["net_rx_bytes"] == 13
    assert process(store)["connections"] == 0
    store.apply(make.reading(12))
    assert processes(store) == []
    row = retired(store)[b"web.service", 1000]
    assert (row["net_rx_bytes"], row["net_tx_bytes"], row["processes"]) == (13, 20, 1)
    assert message(store).totals["net_rx_bytes"] == 13


def test_a_unit_of_a_container_is_not_added_to_the_unit_of_that_name_on_the_host() -> None:
    store = new_store(exited_linger_ns=0)
    cgroup = b"/lxc.payload.web/system.slice/web.service"
    events: list[Event] = [make.seen(7), make.exited(7, disk=(1, 1)),
                           make.seen(8, cgroup=cgroup), make.exited(8, disk=(2, 2))]  # fmt: skip
    store.apply(make.reading(1, events=events))
    store.apply(make.reading(2))
    found = {row["unit"]: (row["container"], row["disk_read_bytes"])
             for row in message(store).retired.rows()}  # fmt: skip
    assert found == {b"web.service": (None, 1), b"web.service@lxc:web": (b"lxc:web", 2)}


def test_bytes_stay_with_the_unit_in_which_they_were_moved() -> None:
    store = new_store(exited_linger_ns=0)
    store.apply(make.reading(1, flows=[flow(values=(10, 0, 1, 0))], events=[make.seen()]))
    store.apply(make.reading(2, flows=[flow(values=(15, 0, 2, 0))]))
    store.apply_proc([make.sample(seen=make.seen(time_s=2, unit=b"late.service"))])
    store.apply(make.reading(3, flows=[flow(values=(115, 0, 3, 0))]))
    assert (process(store)["unit"], process(store)["net_rx_bytes"]) == (b"late.service", 115)
    retire = store.apply(
        make.reading(4, flows=[flow(values=(115, 0, 3, 0))], events=[make.exited()])
    )
    store.fold(make.counters(make.counter(1, "net", (116, 0, 3, 0))), NO_COUNTERS, NO_COUNTERS)
    assert len(retire.flows)
    store.apply(make.reading(5))
    rows = retired(store)
    # The move was seen at the end of the tick in which 5 bytes moved: they are the new unit's.
    assert rows[b"web.service", 1000]["net_rx_bytes"] == 10
    assert rows[b"late.service", 1000]["net_rx_bytes"] == 106
    assert [row["processes"] for row in rows.values()] == [1, 0]
    assert message(store).totals["net_rx_bytes"] == 116


def test_a_process_that_moves_to_and_fro_has_one_sum_for_each_unit() -> None:
    store = new_store(exited_linger_ns=0)
    for time_s in range(1, 101):
        unit = b"%d.service" % (time_s % 2)
        moved = flow(values=(time_s, 0, time_s, 0))
        store.apply(
            make.reading(time_s, flows=[moved], events=[make.seen(time_s=time_s, unit=unit)])
        )
    store.apply(make.reading(101, events=[make.exited()]))
    store.fold(make.counters(make.counter(1, "net", (100, 0, 100, 0))), NO_COUNTERS, NO_COUNTERS)
    store.apply(make.reading(102))
    assert {unit: row["net_rx_bytes"] for (unit, _), row in retired(store).items()} == {
        b"0.service": 50, b"1.service": 50
    }  # fmt: skip


def test_a_process_that_has_been_everywhere_is_bounded_and_loses_nothing() -> None:
    store = new_store(exited_linger_ns=0)
    for time_s in range(1, 101):
        seen = make.seen(time_s=time_s, unit=b"%d.service" % time_s)
        store.apply(make.reading(time_s, flows=[flow(values=(time_s, 0, 1, 0))], events=[seen]))
    store.apply(make.reading(101, events=[make.exited()]))
    store.fold(make.counters(make.counter(1, "net", (100, 0, 1, 0))), NO_COUNTERS, NO_COUNTERS)
    store.apply(make.reading(102))
    assert len(retired(store)) == MAX_PLACES + 2  # the last one, and (other)
    assert sum(row["net_rx_bytes"] for row in retired(store).values()) == 100


def test_a_process_that_lived_between_two_ticks_is_shown_at_least_once() -> None:
    store = new_store(exited_linger_ns=0)
    events: list[Event] = [make.seen(), make.exited(time_s=1, disk=(5, 6))]
    store.apply(make.reading(20, events=events))
    assert process(store)["name"] == b"curl"
    assert process(store)["disk_write_bytes"] == 6
    store.apply(make.reading(21))
    assert processes(store) == []
    assert retired(store)[b"web.service", 1000]["disk_write_bytes"] == 6


def retransmitting(segments: int, flags: int = FLAG_OWNER, detail: int = 0) -> Any:
    more = {"flags": flags, "detail": detail, "retransmitted_segments": segments}
    return make.flow_key(), make.counter(1, "net", (10, 20, 1, 2), **more)


def test_what_is_sent_again_after_the_process_has_exited_counts_for_it() -> None:
    store = new_store(exited_linger_ns=make.SECOND)
    events: list[Event] = [make.seen(), make.exited(time_s=1)]
    store.apply(make.reading(1, flows=[retransmitting(0)], events=events))
    for time_s, segments in ((30, 1), (60, 2)):
        retire = store.apply(make.reading(time_s, flows=[retransmitting(segments)]))
        assert not len(retire.flows)
    assert process(store)["retransmitted_segments"] == 2
    closed = retransmitting(3, flags=0)
    assert store.apply(make.reading(61, flows=[closed])).flows.tolist() == [1]
    store.fold(make.counters(closed[1]), NO_COUNTERS, NO_COUNTERS)
    store.apply(make.reading(62))
    assert processes(store) == []
    assert retired(store)[b"web.service", 1000]["retransmitted_segments"] == 3
    assert message(store).totals["retransmitted_segments"] == 3


def test_the_row_of_a_socket_that_others_keep_open_leaves_when_it_has_been_idle() -> None:
    store = new_store(exited_linger_ns=0, idle_linger_ns=600 * make.SECOND)
    store.apply(make.reading(0, flows=[retransmitting(0, detail=77)], events=[make.seen()]))
    store.apply_proc([make.sample(open_inodes=[(make.SOCKETS, 77)])])
    moved = retransmitting(1, detail=77)
    store.apply(make.reading(1, flows=[moved], events=[make.exited(time_s=1)]))
    assert not len(store.apply(make.reading(600, flows=[moved])).flows)
    assert store.apply(make.reading(601, flows=[moved])).flows.tolist() == [1]


def test_an_exited_process_stays_while_its_keys_cannot_be_deleted() -> None:
    store = new_store()
    store.apply(make.reading(1, flows=[flow()], events=[make.seen(), make.exited()]))
    for time_s in (20, 21):
        assert store.apply(make.reading(time_s, flows=[flow()])).flows.tolist() == [1]
        store.fold(NO_COUNTERS, NO_COUNTERS, NO_COUNTERS)
    store.apply(make.reading(22, flows=[flow(values=(17, 20, 2, 2)), flow(2, pid=8)]))
    assert process(store)["net_rx_bytes"] == 17
    assert process(store, 8)["net_rx_bytes"] == 10


def test_a_key_that_vanished_does_not_keep_its_process() -> None:
    store = new_store()
    store.apply(make.reading(1, flows=[flow()], events=[make.seen(), make.exited()]))
    assert store.apply(make.reading(20)).flows.tolist() == [1]
    store.fold(NO_COUNTERS, NO_COUNTERS, NO_COUNTERS)
    store.apply(make.reading(21))
    assert retired(store)[b"web.service", 1000]["net_rx_bytes"] == 10


def test_an_idle_row_leaves_and_its_bytes_stay_with_the_process() -> None:
    store = new_store(capacities=(2, 2, 2))  # more than half of it is in use
    store.apply(make.reading(1, flows=[flow(1), flow(2, local_port=2)]))
    moved = flow(2, (11, 20, 2, 2), local_port=2)
    store.apply(make.reading(50, flows=[flow(1), moved]))
    assert store.apply(make.reading(101, flows=[flow(1), moved])).flows.tolist() == [1]
    store.fold(make.counters(make.counter(1, "net", (10, 20, 1, 2))), NO_COUNTERS, NO_COUNTERS)
    assert (process(store)["net_rx_bytes"], process(store)["connections"]) == (21, 1)
    # The same connection wakes up: a new key with a new id, counting from zero.
    store.apply(make.reading(102, flows=[flow(3, (4, 0, 1, 0)), moved]))
    assert (process(store)["net_rx_bytes"], process(store)["connections"]) == (25, 2)
    assert process(store)["net_rx_bytes_per_s"] == 4


def socket_row(inode: int) -> Any:
    return make.flow_key(local_port=inode), make.counter(inode, detail=inode)


def test_an_idle_row_that_is_open_stays_while_its_table_has_room() -> None:
    store = new_store(capacities=(8, 8, 8))
    rows = [socket_row(inode) for inode in range(1, 5)]
    store.apply(make.reading(1, flows=rows))
    store.apply_proc([make.sample(open_inodes=[(make.SOCKETS, inode) for inode in range(1, 6)])])
    assert not len(store.apply(make.reading(900, flows=rows)).flows)
    # One row more than half of the table: the room is worth more now.
    rows.append(socket_row(5))
    assert store.apply(make.reading(901, flows=rows)).flows.tolist() == [1, 2, 3, 4]


def test_an_idle_row_that_may_be_open_stays_while_its_table_has_room() -> None:
    store = new_store(capacities=(8, 8, 8))
    rows = [socket_row(inode) for inode in range(1, 5)]
    store.apply(make.reading(1, flows=rows))
    store.apply_proc([make.sample(open_inodes=None)])  # it has too many to list them
    assert not len(store.apply(make.reading(900, flows=rows)).flows)
    rows[0] = make.flow_key(local_port=1), make.counter(1, "net", (11, 0, 1, 0), detail=1)
    store.apply(make.reading(901, flows=rows))
    assert {row["id"] for row in store.snapshot().flows.state.counters} == {1, 2, 3, 4}


def test_idle_files_that_are_open_keep_their_totals_while_the_table_has_room() -> None:
    store = new_store(capacities=(8, 8, 8))
    rows = [(make.file_key(inode=n), make.counter(n, "file", (5, 0, 1, 0))) for n in (1, 2)]
    store.apply(make.reading(1, files=rows))
    store.apply_proc([make.sample(open_inodes=[(0, 1), (0, 2)])])
    assert not len(store.apply(make.reading(9000, files=rows)).files)


def test_a_row_leaves_soon_after_its_descriptor_was_closed() -> None:
    store = new_store()
    rows = [socket_row(1), socket_row(2)]
    store.apply(make.reading(1, flows=rows))
    store.apply_proc([make.sample(open_inodes=[(make.SOCKETS, 1), (make.SOCKETS, 2)])])
    assert not len(store.apply(make.reading(900, flows=rows)).flows)
    store.apply_proc([make.sample(open_inodes=[(make.SOCKETS, 2)])])
    assert store.apply(make.reading(901, flows=rows)).flows.tolist() == [1]


def test_rows_are_retired_a_bounded_number_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "RETIRE_MAX", 2)
    store = new_store(capacities=(1, 1, 1))
    rows = [flow(n, local_port=n) for n in (1, 2, 3)]
    store.apply(make.reading(1, flows=rows))
    assert store.apply(make.reading(200, flows=rows)).flows.tolist() == [1, 2]
    finals = make.counters(*(make.counter(n, "net", (10, 20, 1, 2)) for n in (1, 2)))
    store.fold(finals, NO_COUNTERS, NO_COUNTERS)
    assert store.apply(make.reading(201, flows=rows[2:])).flows.tolist() == [3]


def test_a_deleted_key_that_was_never_read_is_still_counted() -> None:
    store = new_store()
    store.apply(make.reading(1))
    store.fold(make.counters(make.counter(9, "net", (3, 4, 1, 1))), NO_COUNTERS, NO_COUNTERS)
    assert retired(store)[None, 0xFFFFFFFF]["net_tx_bytes"] == 4
    assert message(store).totals["net_tx_bytes"] == 4


def test_late_rows_of_a_retired_process_bring_it_back() -> None:
    store = new_store(exited_linger_ns=0)
    store.apply(make.reading(1, events=[make.seen(), make.exited(disk=(1, 1))]))
    store.apply(make.reading(2))
    store.apply(make.reading(3, flows=[flow()]))
    assert process(store)["net_rx_bytes"] == 10
    assert message(store).totals["net_rx_bytes"] == 10


def test_a_reused_slot_is_like_a_new_one() -> None:
    store = new_store(exited_linger_ns=0)
    store.apply(make.reading(1, events=[make.seen(7), make.exited(7, disk=(500, 500))]))
    store.apply(make.reading(2, flows=[flow(pid=8)]))
    row = process(store, 8)
    assert (row["name"], row["unit"], row["exited_ns"]) == (b"?", None, 0)
    assert (row["net_rx_bytes_per_s"], row["disk_read_bytes"]) == (10, 0)
    assert row["disk_read_bytes_per_s"] == 0


def test_a_reused_pid_does_not_end_the_process_that_has_its_old_slot() -> None:
    store = new_store(exited_linger_ns=0)
    store.apply(make.reading(1, events=[make.seen(7), make.exited(7)]))
    store.apply(make.reading(2, events=[make.seen(8)]))
    store.apply(make.reading(6, events=[make.seen(7, make.START_NS + 5 * make.SECOND)]))
    assert process(store, 8)["state"] == STATES.index("running")


def test_the_oldest_of_too_many_exited_processes_leave_early() -> None:
    store = new_store(exited_max=2)
    events: list[Event] = [make.seen(pid) for pid in range(1, 6)]
    events += [make.exited(pid, time_s=pid / 10) for pid in range(1, 6)]
    store.apply(make.reading(1, events=events))
    assert len(processes(store)) == 5
    store.apply(make.reading(2))
    assert sorted(each["pid"] for each in processes(store)) == [4, 5]


def test_a_process_that_is_no_longer_in_proc_has_exited() -> None:
    store = new_store()
    store.apply(make.reading(1, flows=[flow()]))
    store.apply_proc([make.gone()])
    assert process(store)["state"] == STATES.index("exited")
    assert process(store)["exited_ns"] == make.STARTED_NS + make.SECOND


def test_a_description_after_the_exit_does_not_revive_the_process() -> None:
    store = new_store()
    events: list[Event] = [make.exited(disk=(5, 0)), make.seen(time_s=0.5)]
    store.apply(make.reading(1, events=events))
    row = process(store)
    assert (row["state"], row["name"]) == (STATES.index("exited"), b"curl")


# --- processes that were unknown until their exit -------------------------------------------------


def test_a_process_that_was_unknown_until_its_exit_is_no_row_if_it_moved_nothing() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.exited()]))
    assert processes(store) == []
    assert retired(store) == {}
    store.apply(make.reading(2, events=[make.seen()]))  # its slot is free again
    assert process(store)["name"] == b"curl"


def test_bytes_from_before_the_daemon_do_not_make_it_a_row() -> None:
    store = new_store()
    older_ns = make.STARTED_NS - make.SECOND
    events: list[Event] = [
        make.exited(start_ns=older_ns, disk=(5, 6)),
        make.seen(start_ns=older_ns),
    ]
    store.apply(make.reading(1, events=events))
    assert processes(store) == []


def test_a_process_that_was_unknown_until_its_exit_is_a_row_if_it_moved_bytes() -> None:
    store = new_store()
    store.apply(make.reading(1, flows=[flow()], events=[make.exited()]))
    assert (process(store)["state"], process(store)["net_rx_bytes"]) == (EXITED, 10)
    events: list[Event] = [make.exited(8, disk=(5, 6)), make.seen(8, name=b"worker")]
    store.apply(make.reading(2, flows=[flow()], events=events))
    row = process(store, 8)
    assert (row["name"], row["uid"], row["disk_write_bytes"]) == (b"worker", 1000, 6)


# --- hidden processes -----------------------------------------------------------------------------


def test_a_hidden_process_is_counted_and_never_shown() -> None:
    store = new_store(visible=lambda _pid, name, _uid: name != b"curl")
    rows = [flow(), flow(2, (1, 2, 1, 1), pid=8)]
    store.apply(make.reading(1, flows=rows, events=[make.seen()]))
    assert [each["pid"] for each in processes(store)] == [8]
    assert list(message(store).connections.columns["pid"]) == [8]  # type: ignore[union-attr]  # the topic has them
    row = retired(store)[b"(excluded)", 1000]
    assert (row["net_rx_bytes"], row["processes"]) == (10, 1)
    assert message(store).totals["net_rx_bytes"] == 11


def test_a_hidden_process_that_left_stays_among_the_excluded() -> None:
    store = new_store(exited_linger_ns=0, visible=lambda pid, _name, _uid: pid == 9)
    store.apply(make.reading(1, events=[make.seen(), make.exited(disk=(5, 5))]))
    store.apply(make.reading(2, events=[make.seen(8), make.exited(8, disk=(1, 1))]))
    row = retired(store)
    assert list(row) == [(b"(excluded)", 1000)]
    assert row[b"(excluded)", 1000]["disk_read_bytes"] == 6
    assert row[b"(excluded)", 1000]["processes"] == 2


# --- rows of living processes -------------------------------------------------------------------


def test_the_row_of_a_closed_connection_leaves_after_a_while_and_its_bytes_stay() -> None:
    store = new_store()
    rows = [(make.flow_key(), make.counter(1, "net", (10, 20, 1, 2), detail=77))]
    store.apply(make.reading(1, flows=rows, events=[make.seen()]))
    store.apply_proc([make.sample(open_inodes=[])])  # nothing is open any more
    assert not len(store.apply(make.reading(10, flows=rows)).flows)
    assert store.apply(make.reading(11, flows=rows)).flows.tolist() == [1]
    store.fold(make.counters(rows[0][1]), NO_COUNTERS, NO_COUNTERS)
    store.apply(make.reading(12))
    row = process(store)
    assert (row["connections"], row["net_rx_bytes"], row["net_tx_bytes"]) == (0, 10, 20)


def test_the_quietest_rows_of_a_table_that_fills_up_leave_early() -> None:
    store = new_store(capacities=(8, 8, 8))
    rows = [flow(number, local_port=number) for number in range(1, 9)]
    assert not len(store.apply(make.reading(1, flows=rows, events=[make.seen()])).flows)
    rows[0] = flow(1, (11, 20, 2, 2), local_port=1)
    rows[3] = flow(4, (11, 20, 2, 2), local_port=4)
    # Six of eight may stay.
    assert store.apply(make.reading(2, flows=rows)).flows.tolist() == [2, 3]


def test_a_closed_row_gives_its_room_before_an_open_one_that_has_been_quiet_longer() -> None:
    store = new_store(capacities=(8, 8, 8))
    rows = [socket_row(inode) for inode in range(1, 9)]
    store.apply(make.reading(1, flows=rows[:6]))
    store.apply(make.reading(2, flows=rows))
    store.apply_proc([make.sample(open_inodes=[(make.SOCKETS, inode) for inode in range(1, 7)])])
    assert store.apply(make.reading(3, flows=rows)).flows.tolist() == [7, 8]


def test_a_row_that_no_snapshot_has_shown_stays_even_in_a_full_table() -> None:
    store = new_store(capacities=(8, 8, 8))
    store.apply(make.reading(1))
    rows = [flow(number, local_port=number) for number in range(1, 9)]
    assert not len(store.apply(make.reading(2, flows=rows)).flows)


def test_bytes_of_rows_that_gave_their_room_are_counted_once() -> None:
    store = new_store(capacities=(8, 8, 8))
    rows = [flow(number, local_port=number) for number in range(1, 9)]
    store.apply(make.reading(1, flows=rows, events=[make.seen()]))
    assert len(store.apply(make.reading(2, flows=rows)).flows) == 2
    # Each has moved one more byte when its key is deleted.
    finals = [make.counter(number, "net", (11, 20, 1, 2)) for number in (1, 2)]
    store.fold(make.counters(*finals), NO_COUNTERS, NO_COUNTERS)
    store.apply(make.reading(3, flows=rows[2:]))
    row = process(store)
    assert (row["net_rx_bytes"], row["net_tx_bytes"], row["connections"]) == (82, 160, 6)


def test_a_table_with_room_keeps_its_rows() -> None:
    store = new_store(capacities=(8, 8, 8))
    rows = [flow(number, local_port=number) for number in range(1, 7)]
    for second in (1, 2, 3, 4):
        assert not len(store.apply(make.reading(second, flows=rows, events=[make.seen()])).flows)
