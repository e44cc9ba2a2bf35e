"""What users see of processes that were not always theirs: what moved in that time only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbmond import wire
from pbmond.fields import NO_COUNT, NO_UID
from pbmond.kernel.records import Event
from pbmond.store.store import Store
from tests import factories as make
from tests.store_views import flow, message, new_store

USER = 1000
SOCKET = "net_rx_bytes"


def own(store: Store, pid: int | None = None, uid: int = USER) -> wire.Message:
    topic = f"uid/{uid}/flows" + ("" if pid is None else f"/{pid}")
    return message(store, wire.parse_topic(topic.encode()))


def pids(found: wire.Message) -> list[int]:
    return list(found.processes.columns["pid"])


def received(found: wire.Message) -> list[int]:
    assert found.connections is not None
    return [row["rx_bytes"] for row in found.connections.rows()]


def tick(
    store: Store,
    time_s: int,
    rx: Sequence[int] = (),
    events: Sequence[Event] = (),
    *,
    ahead: Sequence[Event] = (),
    looked: Any = None,
    lost: int = 0,
) -> wire.Message:
    """Take a reading in which rows 1, 2, ... of process 7 have received ``rx``, and a look."""
    rows = [flow(row, (moved, 0, 1, 0)) for row, moved in enumerate(rx, 1)]
    reading = make.reading(time_s, flows=rows, events=events)
    store.apply(replace(reading, ahead=tuple(ahead), lost={"events": lost}))
    if looked is not None:
        store.apply_proc([make.sample(disk=(0, 0), seen=told(looked, time_s + 0.5))])
    return own(store)


def told(viewer: int, time_s: float, name: bytes = b"curl") -> Any:
    return make.seen(time_s=time_s, name=name, uid=USER, viewer=viewer)


def test_a_process_that_is_a_users_from_its_first_byte_on_is_shown_whole() -> None:
    found = tick(new_store(), 1, [10], [told(USER, 0)])
    assert (pids(found), received(found), found.totals[SOCKET]) == ([7], [10], 10)


def test_another_users_process_shows_from_the_tick_after_it_is_known_to_be_ones_own() -> None:
    store = new_store()
    tick(store, 1, [100, 200], [told(NO_UID, 0)])
    store.apply_proc([])
    changed = tick(store, 2, [130, 200], [told(USER, 2)], looked=USER)
    assert (pids(changed), received(changed), changed.totals[SOCKET]) == ([], [], 0)
    found = tick(store, 3, [137, 200, 5])
    assert (pids(found), received(found)) == ([7], [7, 5])
    (row,) = found.processes.rows()
    assert (row[SOCKET], row["connections"], row["net_rx_bytes_per_s"]) == (12, 2, 12)
    assert (found.totals[SOCKET], found.history["net_rx_bytes_per_s"]) == (12, [12])
    assert row["before_read_bytes"] in (None, NO_COUNT)
    assert received(message(store)) == [137, 200, 5]


def test_what_only_proc_has_noticed_shows_a_tick_later() -> None:
    store = new_store()
    tick(store, 1, [100], [told(NO_UID, 0)], looked=USER)
    # Those 30 may have been read before the change.
    assert pids(tick(store, 2, [130], looked=USER)) == []
    found = tick(store, 3, [131])
    assert (received(found), found.totals[SOCKET]) == ([1], 1)


def test_a_process_that_is_a_users_no_longer_is_gone_and_its_sums_stay() -> None:
    store = new_store()
    tick(store, 1, [10], [told(USER, 0)])
    left = tick(store, 2, [999], [told(NO_UID, 2, b"sudo")])
    assert (pids(left), received(left), left.totals[SOCKET]) == ([], [], 10)
    (group,) = left.retired.rows()
    assert (group["uid"], group[SOCKET], group["processes"]) == (USER, 10, 0)
    assert tick(store, 3, [9999]).totals[SOCKET] == 10
    assert message(store).totals[SOCKET] == 9999


def test_what_moves_while_the_tick_is_read_is_not_shown() -> None:
    """The event comes after the reading that has the first bytes under another user."""
    store = new_store()
    tick(store, 1, [10], [told(USER, 0)])
    change = told(NO_UID, 2, b"sudo")
    left = tick(store, 2, [10, 999], ahead=[change])
    assert (pids(left), received(left), left.totals[SOCKET]) == ([], [], 10)
    assert pids(tick(store, 3, [10, 9999], [change])) == []


def test_a_process_whose_first_event_comes_after_its_first_bytes_were_read_is_whole() -> None:
    store = new_store()
    event = told(USER, 1)
    assert received(tick(store, 1, [10], ahead=[event])) == [10]
    assert received(tick(store, 2, [11], [event])) == [11]


def test_a_process_that_is_announced_only_after_its_bytes_were_read_is_not_believed() -> None:
    store = new_store()
    tick(store, 1, [10])
    assert pids(tick(store, 2, [11], [told(USER, 2)])) == []


def test_a_change_there_and_back_in_one_tick_hides_that_tick() -> None:
    store = new_store()
    tick(store, 1, [10], [told(USER, 0)])
    events = [told(NO_UID, 2, b"sudo"), told(USER, 2.5)]
    assert tick(store, 2, [1010], events, looked=USER).totals[SOCKET] == 10
    found = tick(store, 3, [1013])
    assert (received(found), found.totals[SOCKET]) == ([3], 13)


def test_bytes_that_the_kernel_has_announced_for_nobody_are_nobodys() -> None:
    """Only /proc has spoken for the process, perhaps after it moved them."""
    store = new_store()
    store.apply(make.reading(1, events=[make.seen(start_ns=make.START_NS // 10**7 * 10**7)]))
    store.snapshot()
    assert pids(tick(store, 2, [10])) == []


def test_after_lost_events_only_what_proc_confirms_is_shown() -> None:
    store = new_store()
    tick(store, 1, [10], [told(USER, 0)])
    lossy = tick(store, 2, [999], lost=1)
    assert (pids(lossy), lossy.totals[SOCKET]) == ([], 10)
    assert pids(tick(store, 3, [1000], lost=1, looked=USER)) == []
    found = tick(store, 4, [1001], lost=1)
    assert (received(found), found.totals[SOCKET]) == ([1], 11)


def test_the_first_event_of_a_process_is_not_believed_where_an_earlier_one_may_be_lost() -> None:
    store = new_store()
    assert pids(tick(store, 1, [10], [told(USER, 1)], lost=1)) == []


def test_disk_bytes_that_come_with_the_end_of_a_partly_shown_process_are_not_shown() -> None:
    store = new_store()
    tick(store, 1, [100], [told(NO_UID, 0)])
    tick(store, 2, [100], [told(USER, 2)], looked=USER)
    assert pids(tick(store, 3, [101])) == [7]
    end = tick(store, 4, [102], [make.exited(time_s=4, disk=(4096, 0))])
    assert (pids(end), end.totals["disk_read_bytes"], end.totals[SOCKET]) == ([], 0, 1)
    assert message(store).totals["disk_read_bytes"] == 4096


def test_a_partly_shown_process_retires_with_what_was_shown() -> None:
    store = new_store(exited_linger_ns=0)
    tick(store, 1, [100], [told(NO_UID, 0)])
    tick(store, 2, [100], [told(USER, 2)], looked=USER)
    tick(store, 3, [107], [make.exited(time_s=3)])
    store.fold(make.counters(make.counter(1, "net", (107, 0, 1, 0))), *[make.counters()] * 2)
    found = tick(store, 4)
    assert (pids(found), found.totals[SOCKET]) == ([], 7)
    (group,) = found.retired.rows()
    assert (group[SOCKET], group["processes"]) == (7, 1)
    assert message(store).totals[SOCKET] == 107


def test_the_payload_of_interfaces_is_that_of_the_time_that_shows() -> None:
    store = new_store()
    tick(store, 1, [100], [told(NO_UID, 0)])
    tick(store, 2, [150], [told(USER, 2)], looked=USER)
    found = tick(store, 3, [157])
    inside = [each["payload_rx_bytes"] for each in found.coverage["interfaces"]]
    assert sum(inside) + found.coverage["elsewhere"]["payload_rx_bytes"] == 7


def test_root_sees_its_processes_whole_whatever_they_were() -> None:
    store = new_store()
    tick(store, 1, [10], [told(USER, 0)])
    tick(store, 2, [20], [make.seen(time_s=2, uid=0)])
    assert (pids(own(store, uid=0)), own(store, uid=0).totals[SOCKET]) == ([7], 20)


@pytest.mark.unmeasured
@pytest.mark.parametrize("uid", [USER, 1001])
@given(
    st.lists(
        st.tuples(
            st.integers(0, 50),
            st.lists(st.sampled_from((USER, 1001, NO_UID)), max_size=3),
            st.booleans(),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_only_ticks_that_were_the_users_throughout_are_shown(uid: int, ticks: list[Any]) -> None:
    """Whatever happens, a user sees at most such bytes, in totals that never fall."""
    store, viewer, moved, allowed, shown = new_store(), NO_UID, 0, 0, 0
    tick(store, 1, [0], [told(NO_UID, 0)])
    for number, (more, changes, looks, is_late) in enumerate(ticks, 2):
        events = [told(each, number + 0.1 * at, b"%d" % at) for at, each in enumerate(changes)]
        moved += more
        throughout = viewer == uid and all(each == uid for each in changes)
        allowed += more if throughout else 0
        viewer = changes[-1] if changes else viewer
        late: Any = {"ahead": events} if is_late else {"events": events}
        tick(store, number, [moved], looked=viewer if looks else None, **late)
        if is_late:
            tick(store, number, [moved], events)
        found = own(store, uid=uid)
        assert shown <= found.totals[SOCKET] <= allowed
        assert found.totals[SOCKET] == sum(
            row[SOCKET] for table in (found.processes, found.retired) for row in table.rows()
        )
        assert sum(received(found)) == sum(row[SOCKET] for row in found.processes.rows())
        assert message(store).totals[SOCKET] == moved
        shown = found.totals[SOCKET]
