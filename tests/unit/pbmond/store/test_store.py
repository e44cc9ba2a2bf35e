"""The store's processes: who is a row, its counters and rates, and what is asked of /proc."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pbmond.fields import CLASSES, COUNTERS, STATES, counter_names
from pbmond.kernel.records import Event
from pbmond.store.process_choices import Quiet
from tests import factories as make
from tests.store_views import flow, message, new_store, process, processes

OLD_NS = make.STARTED_NS - make.SECOND + 77  # a process older than the daemon
COARSE_NS = make.START_NS // 10_000_000 * 10_000_000  # as /proc gives it
NEXT_NS = make.START_NS + 5 * make.SECOND  # the next process of the same PID

# --- counters and rates ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CLASSES)
def test_each_class_has_counters_of_its_own(kind: str) -> None:
    store = new_store()
    store.apply(make.reading(flows=[(make.flow_key(), make.counter(1, kind, (11, 22, 3, 4)))]))
    row = process(store)
    moved = {name: row[name] for name in COUNTERS if row[name]}
    assert moved == dict(zip(counter_names(kind), (11, 22, 3, 4), strict=True))


def test_counters_of_all_rows_of_a_process_add_up_exactly_beyond_what_a_float_holds() -> None:
    store = new_store()
    big = (1 << 62) + 1
    rows = [flow(1, (big, 1, 1, 1), local_port=1), flow(2, (big, 1, 1, 1), local_port=2)]
    store.apply(make.reading(flows=rows, overflow=[(make.overflow_key(), make.counter(3))]))
    assert process(store)["net_rx_bytes"] == (1 << 63) + 3
    assert message(store).totals["net_rx_bytes"] == (1 << 63) + 3


def test_rates_are_unknown_in_the_first_snapshot_only() -> None:
    store = new_store()
    store.apply(make.reading(1, flows=[flow()]))
    assert np.isnan(process(store)["net_rx_bytes_per_s"])
    assert message(store).totals["net_rx_bytes_per_s"] is None
    assert message(store).interval_ns == 0
    store.apply(make.reading(2, flows=[flow()]))
    assert process(store)["net_rx_bytes_per_s"] == 0


def test_a_rate_is_over_the_real_interval() -> None:
    store = new_store()
    store.apply(make.reading(1, flows=[flow(values=(10, 20, 1, 2))]))
    store.apply(make.reading(3.5, flows=[flow(values=(1010, 20, 2, 2))]))
    assert process(store)["net_rx_bytes_per_s"] == 400
    assert message(store).totals["net_rx_bytes_per_s"] == 400
    assert message(store).interval_ns == 2_500_000_000
    (row,) = message(store).connections.rows()  # type: ignore[union-attr]  # the topic has them
    assert row["rx_bytes_per_s"] == 400


def test_the_rate_of_a_new_process_is_known() -> None:
    store = new_store()
    store.apply(make.reading(1))
    store.apply(make.reading(2, flows=[flow(values=(10, 20, 1, 2))]))
    assert process(store)["net_tx_bytes_per_s"] == 20
    assert process(store)["disk_read_bytes_per_s"] == 0


def test_rows_keep_their_values_when_others_come_and_go() -> None:
    store = new_store()
    store.apply(make.reading(1, flows=[flow(n, (n, 0, 1, 0), pid=n) for n in (5, 2, 9)]))
    store.apply(make.reading(2, flows=[flow(n, (2 * n, 0, 2, 0), pid=n) for n in (9, 4, 2, 5)]))
    assert {each["pid"]: each["net_rx_bytes"] for each in processes(store)} == {
        2: 4, 4: 8, 5: 10, 9: 18
    }  # fmt: skip
    assert process(store, 9)["net_rx_bytes_per_s"] == 9
    assert process(store, 4)["net_rx_bytes_per_s"] == 8


def test_a_row_that_one_reading_leaves_out_is_not_counted_again() -> None:
    store = new_store()
    store.apply(make.reading(1, flows=[flow(1, pid=1), flow(2)]))
    store.apply(make.reading(2, flows=[flow(1, pid=1)]))
    assert process(store)["net_rx_bytes"] == 10
    store.apply(make.reading(3, flows=[flow(1, pid=1), flow(2, (15, 20, 2, 2))]))
    assert process(store)["net_rx_bytes"] == 15
    assert process(store)["net_rx_bytes_per_s"] == 5


def test_a_row_that_a_reading_holds_twice_counts_once() -> None:
    store = new_store()
    store.apply(make.reading(1, flows=[flow(1), flow(1, (12, 20, 2, 2))]))
    assert process(store)["net_rx_bytes"] == 12


def test_overflow_rows_count_for_the_process_and_are_not_connections() -> None:
    store = new_store()
    counter = make.counter(1, "net", (5, 6, 1, 1))
    store.apply(make.reading(overflow=[(make.overflow_key(kind="file"), counter)]))
    row = process(store)
    assert (row["file_read_bytes"], row["net_rx_bytes"]) == (5, 0)
    assert (row["connections"], row["files"]) == (0, 0)
    assert message(store).connections.length == 0  # type: ignore[union-attr]  # the topic has them


# --- who a process is -----------------------------------------------------------------------------


def test_a_process_without_an_event_has_no_name_and_no_user_yet() -> None:
    store = new_store()
    store.apply(make.reading(1, flows=[flow()]))
    row = process(store)
    assert (row["name"], row["uid"], row["exe"]) == (b"?", 0xFFFFFFFF, None)
    store.apply(make.reading(2, flows=[flow()], events=[make.seen()]))
    row = process(store)
    assert (row["name"], row["uid"], row["unit"]) == (b"curl", 1000, b"web.service")
    assert row["net_rx_bytes"] == 10


def test_exec_changes_the_name_and_keeps_the_counters() -> None:
    store = new_store()
    store.apply(make.reading(1, flows=[flow()], events=[make.seen(name=b"sh")]))
    store.apply(
        make.reading(
            2,
            flows=[flow(values=(30, 20, 2, 2))],
            events=[make.seen(name=b"curl", time_s=1.5, exe=None, cmdline=None, cgroup=None)],
        )
    )
    row = process(store)
    assert (row["name"], row["exe"], row["cmdline"]) == (b"curl", None, None)
    assert (row["cgroup"], row["net_rx_bytes"]) == (b"/system.slice/web.service", 30)


def test_a_late_description_of_an_older_program_changes_nothing() -> None:
    store = new_store()
    events = [make.seen(name=b"curl", time_s=2), make.seen(name=b"sh", time_s=1, uid=0)]
    store.apply(make.reading(3, events=events))
    row = process(store)
    assert (row["name"], row["exe"], row["uid"]) == (b"curl", b"/usr/bin/curl", 1000)


def test_gaps_of_the_newest_program_are_not_filled_from_an_older_one() -> None:
    store = new_store()
    events = [make.seen(name=b"curl", time_s=2, exe=None), make.seen(name=b"sh", time_s=1)]
    store.apply(make.reading(3, events=events))
    assert process(store)["exe"] is None


def test_gaps_are_filled_from_another_event_of_the_same_program() -> None:
    store = new_store()
    nothing: dict[str, Any] = {"exe": None, "cmdline": None, "cgroup": None, "netns": None}
    events = [make.seen(time_s=2, **nothing), make.seen(time_s=1), make.seen(time_s=3, **nothing)]
    store.apply(make.reading(3, events=events))
    row = process(store)
    assert (row["exe"], row["unit"]) == (b"/usr/bin/curl", b"web.service")


def test_pid_reuse_starts_a_new_row_and_ends_the_old_one() -> None:
    store = new_store()
    store.apply(make.reading(1, flows=[flow()], events=[make.seen(name=b"old")]))
    again = flow(2, (1, 1, 1, 1), start_ns=NEXT_NS)
    store.apply(make.reading(6, flows=[flow(), again]))
    rows = {each["start_ns"]: each for each in processes(store)}
    assert rows[make.START_NS]["state"] == STATES.index("exited")
    assert rows[make.START_NS]["exited_ns"] == make.STARTED_NS + 6 * make.SECOND
    assert rows[NEXT_NS]["state"] == STATES.index("running")
    assert (rows[NEXT_NS]["name"], rows[NEXT_NS]["net_rx_bytes"]) == (b"?", 1)


def test_late_rows_of_an_earlier_process_do_not_end_the_later_one_with_its_pid() -> None:
    store = new_store()
    store.apply(make.reading(6, flows=[flow(2, start_ns=NEXT_NS)]))
    store.apply(make.reading(7, flows=[flow(2, start_ns=NEXT_NS), flow(1)]))
    states = {each["start_ns"]: each["state"] for each in processes(store)}
    assert states == {make.START_NS: 1, NEXT_NS: 0}


def test_only_the_latest_of_many_processes_with_one_pid_is_running() -> None:
    store = new_store()
    for number in range(3):
        start_ns = make.START_NS + number * make.SECOND
        store.apply(make.reading(number + 1, events=[make.seen(start_ns=start_ns)]))
    assert [each["state"] for each in processes(store)] == [1, 1, 0]


@pytest.mark.parametrize("proc_first", [True, False])
def test_the_coarse_start_of_proc_and_the_exact_one_are_one_process(proc_first: bool) -> None:
    store = new_store()
    found = make.seen(start_ns=COARSE_NS, name=b"nginx")
    if proc_first:
        store.apply(make.reading(1, events=[found]))
        store.apply(make.reading(2, flows=[flow()]))
    else:
        store.apply(make.reading(1, flows=[flow()]))
        store.apply(make.reading(2, flows=[flow()], events=[found]))
    row = process(store)
    assert (row["name"], row["net_rx_bytes"]) == (b"nginx", 10)
    assert row["state"] == STATES.index("running")


def test_a_process_keeps_the_start_by_which_viewers_know_it() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen(start_ns=COARSE_NS)]))
    assert process(store)["start_ns"] == COARSE_NS
    store.apply(make.reading(2, flows=[flow()]))
    (connection,) = message(store).connections.rows()  # type: ignore[union-attr]  # the topic has them
    assert (process(store)["start_ns"], connection["start_ns"]) == (COARSE_NS, COARSE_NS)


def test_the_exact_start_is_published_if_it_is_known_in_time() -> None:
    store = new_store()
    found = make.seen(start_ns=COARSE_NS)
    store.apply(make.reading(1, events=[found, make.seen()], flows=[flow()]))
    (connection,) = message(store).connections.rows()  # type: ignore[union-attr]  # the topic has them
    assert (process(store)["start_ns"], connection["start_ns"]) == (make.START_NS, make.START_NS)


def test_a_pid_used_twice_within_one_clock_tick_is_two_processes() -> None:
    store = new_store()
    store.apply(make.reading(1, flows=[flow(1), flow(2, start_ns=make.START_NS + 1)]))
    assert len(processes(store)) == 2


def test_a_sample_changes_the_user() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen(uid=0)]))
    store.apply_proc([make.sample(seen=make.seen(uid=1000))])
    assert process(store)["uid"] == 1000


def test_a_sample_brings_the_name_that_a_process_gave_itself() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen(name=b"python3")]))
    store.apply_proc([make.sample(seen=make.seen(name=b"worker"))])
    assert process(store)["name"] == b"worker"
    store.apply(make.reading(2, events=[make.seen(time_s=2, name=b"sh")]))  # by exec
    assert process(store)["name"] == b"sh"


def test_a_process_is_what_its_last_look_shows() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen()]))
    now = make.seen(
        time_s=1.5,
        cmdline=b"curl: idle",
        exe=b"/usr/bin/curl (deleted)",
        unit=b"late.service",
        netns=5,
        ppid=9,
    )
    store.apply_proc([make.sample(seen=now)])
    row = process(store)
    assert (row["cmdline"], row["exe"]) == (b"curl: idle", b"/usr/bin/curl (deleted)")
    assert (row["unit"], row["cgroup"]) == (b"late.service", b"/system.slice/late.service")
    assert (row["netns"], row["ppid"]) == (5, 9)


def test_an_event_from_before_a_look_does_not_bring_back_what_was() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen(name=b"sh")]))
    store.apply_proc([make.sample(seen=make.seen(time_s=3, cmdline=b"curl: idle"))])
    store.apply(make.reading(4, events=[make.seen(time_s=2)]))
    assert process(store)["cmdline"] == b"curl: idle"


def test_what_a_look_could_not_read_stays() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen()]))
    blind = make.seen(time_s=2, cmdline=None, exe=None, cgroup=None, netns=None)
    store.apply_proc([make.sample(seen=blind)])
    row = process(store)
    assert (row["exe"], row["cmdline"]) == (b"/usr/bin/curl", b"curl\0-v\0")
    assert (row["unit"], row["netns"]) == (b"web.service", make.NETNS)


def test_the_table_grows_with_the_processes() -> None:
    store = new_store()
    pids = range(1, 1001)
    store.apply(make.reading(1, flows=[flow(pid, (pid, 0, 1, 0), pid=pid) for pid in pids]))
    assert {each["pid"]: each["net_rx_bytes"] for each in processes(store)} == {
        pid: pid for pid in pids
    }


# --- disk -----------------------------------------------------------------------------------------


def test_disk_bytes_of_a_process_older_than_the_daemon_count_from_its_first_sample() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen(start_ns=OLD_NS)]))
    store.apply_proc([make.sample(start_ns=OLD_NS, disk=(1000, 2000))])
    assert process(store)["disk_read_bytes"] == 0
    store.apply(make.reading(2))
    store.apply_proc([make.sample(start_ns=OLD_NS, disk=(1500, 2000))])
    assert process(store)["disk_read_bytes"] == 500
    assert process(store)["disk_read_bytes_per_s"] == 500


def test_disk_bytes_of_a_younger_process_count_from_zero() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen()]))
    store.apply_proc([make.sample(disk=(1000, 2000))])
    assert process(store)["disk_write_bytes"] == 2000


def test_a_disk_rate_is_unknown_until_there_is_a_baseline() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen(start_ns=OLD_NS)]))
    store.apply(make.reading(2))
    assert np.isnan(process(store)["disk_read_bytes_per_s"])
    store.apply_proc([make.sample(start_ns=OLD_NS, disk=(1000, 2000))])
    store.apply(make.reading(3))
    assert process(store)["disk_read_bytes_per_s"] == 0


def test_a_disk_rate_covers_the_time_since_the_previous_sample() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen()]))
    store.apply_proc([make.sample(disk=(0, 0))])
    store.apply(make.reading(5))
    store.apply(make.reading(6))
    store.apply_proc([make.sample(disk=(1000, 0))])
    assert process(store)["disk_read_bytes_per_s"] == 200


def test_disk_bytes_survive_the_exit_of_a_thread() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen()]))
    for disk in ((100, 0), (40, 0), (45, 0)):
        store.apply_proc([make.sample(disk=disk)])
    assert process(store)["disk_read_bytes"] == 105
    # The exit has the figures of all threads, and so what no sample could see.
    store.apply(make.reading(2, events=[make.exited(disk=(130, 0))]))
    assert process(store)["disk_read_bytes"] == 130


def test_disk_bytes_before_the_baseline_are_not_counted_at_exit() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen(start_ns=OLD_NS)]))
    store.apply_proc([make.sample(start_ns=OLD_NS, disk=(100, 100))])
    store.apply(make.reading(2, events=[make.exited(start_ns=OLD_NS, disk=(110, 100))]))
    row = process(store)
    assert (row["disk_read_bytes"], row["disk_write_bytes"]) == (10, 0)


def test_disk_bytes_of_very_many_threads_are_the_kernels_sum() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen()]))
    store.apply_proc([make.sample(disk=(5, 1000))])
    store.apply(make.reading(2))
    store.apply_proc([make.sample(disk=(9, 4000), children=0)])  # with threads that have exited
    assert process(store)["disk_write_bytes"] == 4000
    store.apply(make.reading(3))
    store.apply_proc([make.sample(disk=(9, 4096), children=0)])
    assert (process(store)["disk_write_bytes"], process(store)["disk_write_bytes_per_s"]) == (
        4096,
        96,
    )


def test_disk_bytes_of_children_that_were_waited_for_are_not_the_processs() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen()]))
    store.apply_proc([make.sample(disk=(0, 100), children=0)])
    store.apply(make.reading(2))
    store.apply_proc([make.sample(disk=(0, 9000), children=7)])
    assert process(store)["disk_write_bytes"] == 100
    assert np.isnan(process(store)["disk_write_bytes_per_s"])
    store.apply(make.reading(3))
    store.apply_proc([make.sample(disk=(0, 9010), children=7)])
    assert process(store)["disk_write_bytes"] == 110
    store.apply(make.reading(4, events=[make.exited(disk=(0, 150))]))
    assert process(store)["disk_write_bytes"] == 150


# --- due ------------------------------------------------------------------------------------------


def test_due_processes_are_those_without_baseline_then_active_ones_then_the_rest() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen(pid) for pid in (1, 2, 3)]))
    events: list[Event] = [make.seen(4, OLD_NS), make.seen(5), make.exited(5)]
    store.apply(make.reading(2, flows=[flow(pid=2)], events=events))
    assert store.due(10).keys[:2] == [(4, OLD_NS), (2, make.START_NS)]
    assert {pid for pid, _ in store.due(10).keys} == {1, 2, 3, 4}
    assert store.due(1).keys == [(4, OLD_NS)]


def test_every_idle_process_is_due_in_its_turn() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen(pid) for pid in range(1, 8)]))
    asked = set()
    for time_s in range(2, 6):
        store.apply(make.reading(time_s))
        due = store.due(2).keys
        store.apply_proc([make.sample(*each) for each in due])
        asked.update(due)
    assert len(asked) == 7


def test_quiet_processes_are_due_every_ten_seconds_a_few_at_a_time() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen(pid) for pid in range(1, 8)]))
    quiet = Quiet(10 * make.SECOND, 3)
    store.apply_proc([make.sample(pid) for pid in range(1, 8)])
    store.apply(make.reading(10, flows=[flow(pid=7)]))
    assert [pid for pid, _ in store.due(10, quiet).keys] == [7]
    store.apply(make.reading(11, flows=[flow(pid=7)]))
    assert len(store.due(10, quiet).keys) == 3


def test_what_is_due_and_must_wait_is_told() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen(pid, time_s=0) for pid in range(1, 8)]))
    store.apply(make.reading(2, flows=[flow(pid, pid=pid) for pid in range(1, 6)]))
    due = store.due(2)
    assert (len(due.keys), len(due.beyond), due.oldest_ns) == (2, 3, 2 * make.SECOND)


def test_a_process_whose_disk_bytes_moved_is_due_again() -> None:
    store = new_store()
    store.apply(make.reading(1, events=[make.seen(pid) for pid in range(1, 4)]))
    store.apply_proc([make.sample(pid, disk=(int(pid == 2), 0)) for pid in range(1, 4)])
    store.apply(make.reading(2))
    assert store.due(1).keys == [(2, make.START_NS)]
