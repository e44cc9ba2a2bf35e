"""Which rows a view lists, in which order, and what its groups and trees are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from client_messages import flow, message, process, received
from hypothesis import given
from hypothesis import strategies as st

from pbmon_client.data import model
from pbmon_client.present.arrange import Arranged, GroupScope, ViewQuery, arrange, ordered
from pbmon_client.present.busy_first import BusyFirst
from pbmon_client.present.search import understand
from pbmon_client.present.view_columns import Style
from pbmon_client.present.views import (
    BUSIEST,
    BY_NAME,
    CONNECTIONS,
    FILES,
    HOSTS,
    PORTS,
    PROCESSES,
    PROGRAMS,
    TREE,
    USERS,
    VIEWS,
)
from pbmon_client.tui.session.curves import Curves, curve_names, points_of
from pbmond.fields import RATES, SHOWN

PEER = bytes([192, 0, 2, 9]).ljust(16, b"\0")
OTHER = bytes([192, 0, 2, 8]).ljust(16, b"\0")
PROCESS_ROWS = [
    process(1, b"init", ppid=0, exe=b"/sbin/init", uid=0),
    process(10, b"web", exe=b"/bin/web", unit=b"web.service", net_tx_bytes_per_s=50.0,
            net_tx_bytes=900, cmdline=b"web\0--port\080"),
    process(11, b"web", exe=b"/bin/web", unit=b"web.service", net_tx_bytes_per_s=70.0,
            net_tx_bytes=100, ppid=10, start_ns=11_000),
    process(12, b"copy", exe=None, uid=7, file_read_bytes_per_s=60.0, file_read_bytes=5),
]  # fmt: skip
CONNECTION_ROWS = [
    flow(10, family=2, protocol=6, remote=PEER, remote_port=443, direction=2,
         tx_bytes_per_s=50.0, tx_bytes=900, tcp_state=1, rtt_us=700, retransmitted_segments=2),
    flow(11, family=2, protocol=6, remote=PEER, remote_port=40_001, local_port=80, direction=1,
         tx_bytes_per_s=70.0, tx_bytes=100, first_ns=2, tcp_state=1, rtt_us=300,
         retransmitted_segments=5),
    flow(11, family=2, protocol=6, remote=OTHER, remote_port=53, local_port=40_002, direction=0,
         tx_bytes_per_s=0.0, tx_bytes=1, first_ns=3),
    flow(12, **{"class": 2}, family=1, remote_name=b"/run/log.sock", first_ns=4),
]  # fmt: skip
FILE_ROWS = [
    flow(12, **{"class": 4}, path=b"/srv/Data", read_bytes_per_s=60.0, read_bytes=5),
    flow(10, **{"class": 6}, path=b"/dev/null", write_bytes=7, first_ns=9),
]  # fmt: skip


def snapshot(seq: int = 2, *, flows: bool = True, **fields: Any) -> model.Snapshot:
    sent = message(
        PROCESS_ROWS,
        CONNECTION_ROWS if flows else None,
        FILE_ROWS if flows else None,
        seq=seq,
        **fields,
    )
    return model.snapshot_of(
        received(sent), model.Selection(flows=True), 0, "all", lambda uid: f"u{uid}"
    )


def rows(query: ViewQuery, shown: model.Snapshot | None = None) -> Arranged:
    found = arrange(shown or snapshot(), query)
    assert found is not None
    return found


def values(found: Arranged, name: str) -> list[Any]:
    return list(found.listing.window(list(found.order))(name) or ())


def test_a_host_has_the_longest_round_trip_and_all_that_was_sent_again() -> None:
    found = rows(ViewQuery(HOSTS, sort="rtt_us"))
    assert values(found, "host") == ["192.0.2.9", "192.0.2.8", "unix sockets"]
    assert values(found, "rtt_us") == [700, None, None]
    assert values(found, "retransmitted_segments") == [7, None, None]
    (field,) = (field for field in HOSTS.columns if field.name == "rtt_us")
    assert field.write(found.listing.window(list(found.order)), Style(), 8) == [
        "0.7 ms",
        "",
        "",
    ]


# --- order --------------------------------------------------------------------------------------


@given(st.lists(st.none() | st.floats() | st.just(math.nan)), st.booleans())
def test_unknown_values_come_last_and_equal_ones_stay(
    column: list[float | None], reverse: bool
) -> None:
    order = ordered(range(len(column)), column, reverse=reverse)
    assert sorted(order) == list(range(len(column)))
    known = [column[row] for row in order if column[row] is not None and column[row] == column[row]]
    unknown = order[len(known) :]
    assert all(column[row] is None or column[row] != column[row] for row in unknown)
    assert known == sorted(known, reverse=not reverse)  # type: ignore[type-var]  # none is None
    for first, second in pairwise(order):
        if column[first] == column[second]:
            assert first < second


def test_the_busiest_come_first_and_idle_ones_by_what_they_moved() -> None:
    assert values(rows(ViewQuery(PROCESSES)), "pid") == [11, 12, 10, 1]
    assert values(rows(ViewQuery(PROCESSES, totals=True)), "pid") == [10, 11, 12, 1]
    assert values(rows(ViewQuery(PROCESSES, reverse=True)), "pid") == [1, 10, 12, 11]
    hidden = frozenset({"net"})
    assert values(rows(ViewQuery(PROCESSES, hidden=hidden)), "pid") == [12, 1, 10, 11]


_RATES = st.sampled_from([0.0, 0.0, math.nan, 1.0, 2.5])


@given(
    st.lists(st.tuples(_RATES, st.integers(0, 3)), max_size=30),
    st.integers(1, 6), st.integers(0, 30), st.booleans(),
)  # fmt: skip
def test_equal_rates_are_ordered_by_what_was_moved_in_all_rows_and_in_any_of_them(
    moved: list[tuple[float, int]], every: int, first: int, reverse: bool
) -> None:
    sent = message([
        process(pid, net_rx_bytes_per_s=rate, net_rx_bytes=total, uid=pid % every)
        for pid, (rate, total) in enumerate(moved)
    ])  # fmt: skip
    shown = model.snapshot_of(received(sent), model.Selection(), 0, "all", str)

    def expected(pids: Iterable[int]) -> list[int]:
        sign = 1 if reverse else -1
        rates = [0.0 if math.isnan(rate) else rate for rate, _total in moved]
        return sorted(pids, key=lambda pid: (sign * rates[pid], sign * moved[pid][1]))

    for text, uids in (("", range(every)), ("uid = 0", (0,)), ("uid > 1", range(2, every))):
        query = ViewQuery(PROCESSES, search=understand(text), reverse=reverse)
        order = expected(pid for pid in range(len(moved)) if pid % every in uids)
        found = rows(query, shown)
        assert found.order[first : first + 3] == order[first : first + 3]
        assert [*found.order] == order
        assert len(found.order) == len(order)


def test_rows_at_rest_are_not_put_in_order_until_somebody_looks_at_them() -> None:
    looked = []

    def at_rest() -> list[int]:
        looked.append(True)
        return [9, 1, 4]

    order = BusyFirst([7, 3, 5], 6, at_rest)
    some = order.among({3, 1, 9})
    assert (len(order), order[0], order[-4], order[:3], order[1::-1]) == (
        6,
        7,
        5,
        [7, 3, 5],
        [3, 7],
    )
    assert (len(some), some[0], some[:1], order[9:]) == (3, 3, [3], [])
    assert not looked
    assert (order[3], order[-1], order[2:4], [*some]) == (9, 4, [5, 9], [3, 9, 1])
    assert order.index(1) == 4
    with pytest.raises(IndexError):
        order[6]
    assert looked == [True]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_every_column_of_every_view_sorts_both_ways(view: Any) -> None:
    shown = snapshot()
    for field in view.columns:
        for sort in {field.sort, field.counter or field.sort, BUSIEST}:
            one = rows(ViewQuery(view, sort=sort), shown)
            other = rows(ViewQuery(view, sort=sort, reverse=True), shown)
            assert sorted(one.order) == sorted(other.order)
            assert one.count == len(one.order) or view.tree


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_row_is_found_again_by_its_key(view: Any) -> None:
    found = rows(ViewQuery(view))
    for place in range(len(found.order)):
        assert found.index_of(found.key_at(place)) == place
    assert found.index_of(("nobody",)) is None


def test_a_view_of_flows_has_no_rows_before_they_come() -> None:
    assert arrange(snapshot(flows=False), ViewQuery(CONNECTIONS)) is None


# --- groups -------------------------------------------------------------------------------------


def test_programs_are_grouped_by_executable_else_by_name() -> None:
    found = rows(ViewQuery(PROGRAMS))
    assert values(found, "program") == ["web", "copy", "init"]
    assert values(found, "members") == [2, 1, 1]
    assert values(found, "net_tx_bytes") == [1000, 0, 0]
    assert values(found, "net_tx_bytes_per_s") == [120.0, 0.0, 0.0]


def test_users_are_named_as_the_snapshot_names_them() -> None:
    assert values(rows(ViewQuery(USERS, sort="user")), "user") == ["u0", "u1000", "u7"]


def test_hosts_sum_their_connections_and_count_their_processes() -> None:
    found = rows(ViewQuery(HOSTS))
    assert values(found, "host") == ["192.0.2.9", "192.0.2.8", "unix sockets"]
    assert values(found, "members") == [2, 1, 1]
    assert values(found, "processes") == [2, 1, 1]
    assert values(found, "tx_bytes") == [1000, 1, 0]


@pytest.mark.parametrize("more", [0, 30])
def test_a_row_is_as_busy_as_its_known_rates_say(more: int) -> None:
    """Be it one of few that are left to order, or of all."""
    listed = [process(1, b"a", net_rx_bytes_per_s=math.nan, file_read_bytes_per_s=30.0),
              process(2, b"a", net_rx_bytes_per_s=20.0),
              process(3, b"a", net_rx_bytes_per_s=40.0),
              *(process(pid) for pid in range(10, 10 + more))]  # fmt: skip
    shown = model.snapshot_of(received(message(listed, seq=2)), model.Selection(), 0, "all", str)
    query = ViewQuery(PROCESSES, search=understand("name = a"))
    assert values(rows(query, shown), "pid") == [3, 1, 2]


def test_the_port_of_a_service_is_the_one_that_was_connected_to() -> None:
    found = rows(ViewQuery(PORTS, sort="port"))
    assert values(found, "port") == [443, 80, 53, None]
    assert values(found, "direction") == ["out", "in", "unknown", None]
    assert values(found, "protocol") == ["tcp", "tcp", "tcp", "unix sockets"]


def test_sums_of_unknown_rates_are_unknown() -> None:
    unknown = [process(1, b"a", net_rx_bytes_per_s=math.nan),
               process(2, b"b", net_rx_bytes_per_s=5.0),
               process(3, b"b", net_rx_bytes_per_s=math.nan)]  # fmt: skip
    shown = model.snapshot_of(received(message(unknown, seq=2)), model.Selection(), 0, "all", str)
    found = rows(ViewQuery(PROGRAMS, sort="net_rx_bytes_per_s"), shown)
    assert values(found, "net_rx_bytes_per_s") == [5.0, None]


def test_numbers_that_only_name_something_are_not_summed() -> None:
    assert rows(ViewQuery(PROGRAMS)).listing.raw("uid") is None


@pytest.mark.parametrize("view", [v for v in VIEWS if v.grouping], ids=lambda view: view.name)
def test_groups_add_up_to_the_whole(view: Any) -> None:
    found = rows(ViewQuery(view))
    whole = rows(ViewQuery(BY_NAME[view.table]))
    for name in ("net_tx_bytes", "tx_bytes"):
        if name in SHOWN[view.table]:
            assert sum(values(found, name)) == sum(values(whole, name))
    assert sum(values(found, "members")) == whole.count


# --- narrowing ----------------------------------------------------------------------------------


def within(view: Any, place: int = 0) -> GroupScope:
    return GroupScope(view, rows(ViewQuery(view)).key_at(place), "label")


def test_the_members_of_a_group_are_listed_in_any_view() -> None:
    web = within(PROGRAMS)
    assert set(values(rows(ViewQuery(PROCESSES, (web,))), "pid")) == {10, 11}
    assert set(values(rows(ViewQuery(CONNECTIONS, (web,))), "pid")) == {10, 11}
    assert values(rows(ViewQuery(FILES, (web,))), "pid") == [10]
    peer = within(HOSTS)
    assert set(values(rows(ViewQuery(PROCESSES, (peer,))), "pid")) == {10, 11}
    assert values(rows(ViewQuery(FILES, (peer,))), "pid") == [10]
    assert set(values(rows(ViewQuery(CONNECTIONS, (web, peer))), "first_ns")) == {1, 2}


def test_a_group_that_is_gone_has_no_members() -> None:
    gone = GroupScope(PROGRAMS, b"/bin/gone", "gone")
    assert not rows(ViewQuery(PROCESSES, (gone,))).order


def test_owners_are_found_when_only_some_processes_are_shown() -> None:
    sent = received(message(PROCESS_ROWS, CONNECTION_ROWS, FILE_ROWS, seq=2))
    chosen = model.Selection(pids=frozenset({11, 12}), flows=True)
    shown = model.snapshot_of(sent, chosen, 0, "all", str)
    copy = GroupScope(PROCESSES, (12, 12_000), "copy")
    assert values(rows(ViewQuery(FILES, (copy,)), shown), "pid") == [12]
    query = ViewQuery(PROCESSES, search=understand("remote_port = 53"))
    assert values(rows(query, shown), "pid") == [11]


@pytest.mark.parametrize(
    ("text", "view", "pids"),
    [
        ("web", PROCESSES, {10, 11}),
        ("WEB --PORT", PROCESSES, {10}),
        ("u7", PROCESSES, set()),
        ("12", PROCESSES, {12}),
        ("web.service", CONNECTIONS, {10, 11}),
        ("192.0.2.8", CONNECTIONS, {11}),
        ("443", CONNECTIONS, {10}),
        ("192.0.2.9:443", CONNECTIONS, {10}),
        ("log.sock", CONNECTIONS, {12}),
        ("data", FILES, {12}),
        ("user = u7", FILES, {12}),
        ("remote_address in 192.0.2.8/31", PROCESSES, {10, 11}),
        ("path ~ null", PROCESSES, {10}),
        ("path ~ null", CONNECTIONS, set()),
    ],
)
def test_words_and_expressions_find_rows(text: str, view: Any, pids: set[int]) -> None:
    found = rows(ViewQuery(view, search=understand(text)))
    assert set(values(found, "pid")) == pids


@given(
    st.lists(st.sampled_from((*["c"] * 12, "ca", "bc", "abc")), min_size=24, max_size=60),
    st.sampled_from(("a", "ab", "bc", "c")),
)
def test_a_word_is_found_in_the_rows_that_have_it_be_they_few_or_many(
    names: list[str], word: str
) -> None:
    """Not in two neighbours together."""
    sent = message([process(pid, name.encode()) for pid, name in enumerate(names, 1)])
    shown = model.snapshot_of(received(sent), model.Selection(), 0, "all", str)
    found = rows(ViewQuery(PROCESSES, search=understand(word), sort=None), shown)
    assert values(found, "pid") == [pid for pid, name in enumerate(names, 1) if word in name]


def test_a_search_narrows_the_members_of_groups() -> None:
    found = rows(ViewQuery(PROGRAMS, search=understand("pid = 10")))
    assert values(found, "program") == ["web"]
    assert values(found, "net_tx_bytes") == [900]


@given(st.text(max_size=30))
def test_any_line_is_a_search(text: str) -> None:
    search = understand(text)
    rows(ViewQuery(PROCESSES, search=search))
    rows(ViewQuery(CONNECTIONS, search=search))


def test_active_rows_are_those_that_move_or_before_rates_are_known_that_moved() -> None:
    assert set(values(rows(ViewQuery(PROCESSES, active=True)), "pid")) == {10, 11, 12}
    assert values(rows(ViewQuery(HOSTS, active=True)), "host") == ["192.0.2.9"]
    rates: dict[str, Any] = dict.fromkeys(RATES, math.nan)
    unknown = [process(1, b"a", net_tx_bytes=5, **rates), process(2, b"b", **rates)]
    shown = model.snapshot_of(received(message(unknown, seq=1)), model.Selection(), 0, "all", str)
    assert values(rows(ViewQuery(PROCESSES, active=True), shown), "pid") == [1]


def test_hidden_classes_hide_flows() -> None:
    assert set(values(rows(ViewQuery(CONNECTIONS, hidden=frozenset({"unix"}))), "pid")) == {10, 11}
    assert values(rows(ViewQuery(FILES, hidden=frozenset({"device"}))), "pid") == [12]


def test_pinned_rows_come_first_and_only_if_they_are_there() -> None:
    found = rows(ViewQuery(PROCESSES, pinned=((1, 1000), (99, 99))))
    assert values(found, "pid") == [1, 11, 12, 10]
    assert found.pinned == 1


# --- trees --------------------------------------------------------------------------------------


def test_children_follow_their_parents_and_busy_branches_come_first() -> None:
    found = rows(ViewQuery(TREE))
    assert values(found, "pid") == [1, 10, 11, 12]
    tree = found.tree
    assert tree is not None
    assert [tree.lead(row) for row in found.order] == ["", "├ ", "│ └ ", "└ "]


def test_a_filtered_tree_keeps_the_ancestors() -> None:
    found = rows(ViewQuery(TREE, search=understand("pid = 11")))
    assert values(found, "pid") == [1, 10, 11]
    assert found.tree is not None
    assert set(found.tree.wanted) == {2}


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 3)), max_size=14),
    st.booleans(),
)
def test_every_process_is_in_the_tree_once_whatever_the_parents(
    family: list[tuple[int, int, int]], reverse: bool
) -> None:
    made = [process(pid, ppid=ppid, start_ns=start) for pid, ppid, start in family]
    shown = model.snapshot_of(received(message(made, seq=2)), model.Selection(), 0, "all", str)
    found = rows(ViewQuery(TREE, reverse=reverse), shown)
    assert sorted(found.order) == list(range(len(family)))


# --- curves -------------------------------------------------------------------------------------


def test_curves_hold_the_rates_of_the_last_snapshots() -> None:
    curves = Curves()
    for seq in (2, 3):
        curves.record(points_of(snapshot(seq), HOSTS))
    names = curve_names("processes")
    web = rows(ViewQuery(PROGRAMS)).key_at(0)
    assert curves.of(PROGRAMS, web)[names.index("net_tx_bytes_per_s")] == [120.0, 120.0]
    assert curves.of(PROCESSES, (12, 12_000))[names.index("file_read_bytes_per_s")] == [60.0, 60.0]
    peer = rows(ViewQuery(HOSTS)).key_at(0)
    assert curves.of(HOSTS, peer) == [[None, None], [120.0, 120.0]]
    assert curves.of(PORTS, peer) == [[None, None], [None, None]]
    assert curves.host()[names.index("file_read_bytes_per_s")] == [60.0, 60.0]


def test_a_snapshot_without_rates_leaves_no_sample() -> None:
    curves = Curves()
    curves.record(points_of(snapshot(1), PROCESSES))
    assert curves.host() == [[], [], [], []]


def test_no_more_than_sixty_samples_are_kept() -> None:
    curves = Curves()
    points = points_of(snapshot(2), PROCESSES)
    for _ in range(100):
        curves.record(points)
    assert len(curves.host()[0]) == 60
