"""What processes and connections had moved before the daemon: never in what was counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pbmond.fields import COUNTERS, NO_COUNT, RATES
from pbmond.kernel.records import BEFORE, FLAG_OPENED, Baseline, DiskBytes, IoAccounting
from tests import factories as make
from tests.store_views import flow, message, new_store, process

OLD_NS = make.STARTED_NS - make.SECOND + 77  # a process older than the daemon
COARSE_NS = OLD_NS // 10_000_000 * 10_000_000  # as /proc gives it
UNKNOWN = (NO_COUNT,) * 4
SOCKET = 4711
PORTS = {"local_port": 80, "remote_port": 5000}


def accounting(
    pid: int = 7, start_ns: int = COARSE_NS, disk: DiskBytes | None = None
) -> IoAccounting:
    return IoAccounting(pid, start_ns, 1000, 2000, 4096, 8192, disk)


def connection(rx: int = 500, tx: int = 600, inode: int = SOCKET, **more: int) -> tuple[int, ...]:
    row = {"netns": make.NETNS, **PORTS, **more}
    return rx, tx, row["netns"], inode, row["local_port"], row["remote_port"]


def baseline(*processes: IoAccounting, connections: Sequence[tuple[int, ...]] = ()) -> Baseline:
    return Baseline(processes, np.array(list(connections), BEFORE))


def row(
    row_id: int = 1, values: tuple[int, ...] = (0, 0, 0, 0), pid: int = 7, **counter: int
) -> tuple[Any, Any]:
    """Make a row of the connection of ``connection``."""
    shown = {"netns": make.NETNS, "detail": SOCKET, **counter}
    key = make.flow_key(pid, OLD_NS, **PORTS)
    return key, make.counter(row_id, "net", values, **shown)


def of_process(shown: dict[str, Any]) -> tuple[int, ...]:
    return tuple(
        shown[f"before_{what}_bytes"] for what in ("read", "write", "disk_read", "disk_write")
    )


def of_connections(store: Any) -> dict[int, tuple[int, int]]:
    connections = message(store).connections
    assert connections is not None
    return {
        each["pid"]: (each["before_rx_bytes"], each["before_tx_bytes"])
        for each in connections.rows()
    }


# --- processes ------------------------------------------------------------------------------------


def test_a_process_that_was_alive_shows_the_kernels_counters() -> None:
    store = new_store()
    store.set_before(baseline(accounting()))
    store.apply(make.reading(events=[make.seen(start_ns=COARSE_NS)]))
    assert of_process(process(store)) == (1000, 2000, 4096, 8192)
    assert not any(process(store)[name] for name in COUNTERS)


def test_without_a_baseline_nothing_is_known() -> None:
    store = new_store()
    store.apply(make.reading(flows=[row(values=(1, 1, 1, 1))]))
    assert of_process(process(store)) == UNKNOWN
    assert of_connections(store) == {7: (NO_COUNT, NO_COUNT)}


def test_what_was_counted_while_the_baseline_was_read_is_not_before() -> None:
    store = new_store()
    store.set_before(baseline(accounting()))
    written = make.file_key(start_ns=OLD_NS), make.counter(2, "file", (40, 50, 1, 1))
    store.apply(make.reading(flows=[flow(1, (100, 3000, 1, 1), start_ns=OLD_NS)], files=[written]))
    assert of_process(process(store))[:2] == (1000 - 140, 0)  # never less than nothing
    store.apply(make.reading(2, flows=[flow(1, (900, 9000, 1, 1), start_ns=OLD_NS)]))
    assert of_process(process(store))[:2] == (1000 - 140, 0)  # what comes later changes nothing


def test_a_process_that_began_later_has_none() -> None:
    store = new_store()
    store.set_before(baseline(accounting()))
    store.apply(make.reading(flows=[flow(start_ns=make.START_NS, pid=8)]))
    assert of_process(process(store, 8)) == UNKNOWN


def test_a_reused_pid_does_not_inherit() -> None:
    store = new_store(exited_linger_ns=0)
    store.set_before(baseline(accounting()))
    store.apply(make.reading(1, events=[make.seen(start_ns=COARSE_NS)]))
    store.apply(make.reading(2, events=[make.exited(start_ns=OLD_NS, time_s=2)]))
    store.apply(make.reading(3, events=[make.seen(start_ns=make.START_NS + make.SECOND)]))
    assert of_process(process(store)) == UNKNOWN
    # Nor does one that took the PID before the baseline was joined.
    other = new_store()
    other.set_before(baseline(accounting()))
    other.apply(make.reading(1, events=[make.seen(start_ns=make.START_NS)]))
    assert of_process(process(other)) == UNKNOWN


def test_disk_bytes_count_from_the_baseline_on() -> None:
    store = new_store()
    store.set_before(baseline(accounting(disk=DiskBytes(1024, 2048))))
    store.apply(make.reading(1, events=[make.seen(start_ns=COARSE_NS)]))
    assert store.due(10).keys == [(7, COARSE_NS)]
    store.apply_proc([make.sample(start_ns=COARSE_NS, disk=(1024 + 5, 2048 + 7))])
    shown = process(store)
    assert (shown["disk_read_bytes"], shown["disk_write_bytes"]) == (5, 7)
    assert of_process(shown)[2:] == (4096, 8192)


def test_before_is_in_no_sum_and_no_rate() -> None:
    store = new_store(exited_linger_ns=0)
    store.set_before(baseline(accounting(), connections=[connection()]))
    store.apply(make.reading(1, flows=[row(values=(3, 4, 1, 1))]))
    store.apply(make.reading(2, flows=[row(values=(3, 4, 1, 1))]))
    totals = message(store).totals
    assert {name: totals[name] for name in totals if totals[name]} == {
        "net_rx_bytes": 3, "net_tx_bytes": 4, "net_rx_calls": 1, "net_tx_calls": 1
    }  # fmt: skip
    assert not any(process(store)[name] for name in RATES if not name.startswith("disk"))


# --- connections ----------------------------------------------------------------------------------


def test_a_connection_that_was_open_shows_the_kernels_counters_when_it_moves() -> None:
    store = new_store()
    others = [connection(1, 2, inode) for inode in (SOCKET - 1, SOCKET + 1)]
    store.set_before(baseline(connections=[*others, connection()]))
    store.apply(make.reading(1))
    store.apply(make.reading(2, flows=[row(values=(3, 4, 1, 1))]))
    assert of_connections(store) == {7: (500, 600)}


def test_what_a_connection_moved_while_the_baseline_was_read_is_not_before() -> None:
    store = new_store()
    store.set_before(baseline(connections=[connection()]))
    store.apply(make.reading(1, flows=[row(values=(100, 700, 1, 1))]))
    assert of_connections(store) == {7: (400, 0)}
    store.apply(make.reading(2, flows=[row(values=(300, 900, 1, 1))]))
    assert of_connections(store) == {7: (400, 0)}


def test_each_row_of_a_shared_connection_shows_the_whole_of_it() -> None:
    store = new_store()
    store.set_before(baseline(connections=[connection()]))
    store.apply(make.reading(1, flows=[row(1, (100, 0, 1, 0), 7), row(2, (50, 10, 1, 1), 8)]))
    # A third process that gets the socket later has the same.
    rows = [row(1, (100, 0, 1, 0), 7), row(2, (50, 10, 1, 1), 8), row(3, (9, 9, 1, 1), 9)]
    store.apply(make.reading(2, flows=rows))
    assert of_connections(store) == dict.fromkeys((7, 8, 9), (350, 590))


def test_another_connection_of_the_same_socket_number_has_none() -> None:
    differing: tuple[dict[str, int], ...] = (
        {"inode": SOCKET + 1},
        {"netns": make.NETNS + 1},
        {"local_port": 81},
        {"remote_port": 81},
    )
    for other in differing:
        store = new_store()
        store.set_before(baseline(connections=[connection(**other)]))
        store.apply(make.reading(1, flows=[row(values=(3, 4, 1, 1))]))
        assert of_connections(store) == {7: (NO_COUNT, NO_COUNT)}


def test_a_connection_whose_opening_was_seen_has_none() -> None:
    store = new_store()
    store.set_before(baseline(connections=[connection()]))
    store.apply(make.reading(1, flows=[row(values=(3, 4, 1, 1), flags=FLAG_OPENED)]))
    assert of_connections(store) == {7: (NO_COUNT, NO_COUNT)}
