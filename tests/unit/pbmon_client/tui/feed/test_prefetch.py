"""Prefetching and sorting in pieces change nothing but the time."""

from __future__ import annotations

import random
import time
from itertools import product
from typing import Any

import client_messages
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbmon_client.data import model
from pbmon_client.present.arrange import ViewQuery, arrange, ordered
from pbmon_client.present.numbers import Units
from pbmon_client.present.search import named, understand
from pbmon_client.present.views import CONNECTIONS, HOSTS, PORTS, VIEWS
from pbmon_client.tui.feed import prefetch
from pbmon_client.tui.feed import render_priority as priority

_LINES = ("", "w1", "7", ":80", "192.0.2", "name ~ w and rx_bytes > 3", "not path = /f1")


def snapshot(seed: int) -> model.Snapshot:
    """Make a host on which pids, addresses and numbers repeat, and some are not known."""
    drawn = random.Random(seed)

    def identity() -> dict[str, Any]:
        pid = drawn.randrange(1, 9)
        return {"pid": pid, "start_ns": pid * drawn.choice((1, 1, 2))}

    def moved(*names: str) -> dict[str, Any]:
        return {name: drawn.choice((0, 0, 1, 5)) for name in names} | {
            f"{name}_per_s": drawn.choice((0.0, 0.0, 2.0, float("nan"))) for name in names
        }

    def connection() -> dict[str, Any]:
        return identity() | moved("rx_bytes", "tx_bytes") | {
            "class": drawn.choice((0, 1, 2)), "family": 2, "protocol": 6, "direction": 2,
            "remote": bytes((192, 0, 2, drawn.randrange(4))), "remote_port": drawn.choice((80, 7)),
        }  # fmt: skip

    def file() -> dict[str, Any]:
        path = drawn.choice((None, b"/F1", b"/f2"))
        return identity() | moved("read_bytes", "write_bytes") | {"class": 4, "path": path}

    def process() -> dict[str, Any]:
        name = drawn.choice((b"W1", b"w2"))
        return identity() | {"name": name, "ppid": drawn.randrange(9), "uid": drawn.randrange(3)}

    processes = {(row["pid"], row["start_ns"]): row for row in (process() for _ in range(12))}
    message = client_messages.message(
        list(processes.values()),
        [connection() for _ in range(30)],
        [file() for _ in range(30)],
        seq=2,
    )
    received = client_messages.received(message)
    return model.snapshot_of(received, model.Selection(flows=True), 1000, "all", str)


def shown(snapshot: model.Snapshot, query: ViewQuery) -> tuple[Any, ...]:
    """Return everything that could be drawn of a view."""
    made = arrange(snapshot, query)
    assert made is not None
    values_of = made.listing.window(made.order)
    # As text, for an unknown rate is not equal to itself.
    values = [
        repr(values_of(field.source(Units(totals=query.totals)))) for field in query.view.columns
    ]
    return list(made.order), made.count, [made.listing.key(row) for row in made.order], values


@pytest.mark.unmeasured
@pytest.mark.parametrize("seed", range(6))
def test_prefetched_rows_equal_rows_made_on_demand(seed: int) -> None:
    early = snapshot(seed)
    pauses: list[None] = []
    for totals in (False, True):
        prefetch.prepare_other_views(
            early, ViewQuery(VIEWS[0], totals=totals), lambda: pauses.append(None)
        )
    prefetch.prepare_search(early, named(_LINES[-1]), lambda: pauses.append(None))
    assert len(pauses) > 40  # it can be interrupted often
    for view, line, totals, reverse in product(VIEWS, _LINES, (False, True), (False, True)):
        query = ViewQuery(view, search=understand(line), totals=totals, reverse=reverse)
        assert shown(early, query) == shown(snapshot(seed), query)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("line", _LINES[1:])
def test_a_match_does_not_depend_on_other_rows(line: str, seed: int) -> None:
    host = snapshot(seed)
    search = understand(line)
    assert not search.error
    for table in (host.connections, host.files, host.processes):
        assert table is not None
        alone = [row for row in range(len(table)) if search.rows(table.take([row]), ()) == [0]]
        assert search.rows(table, ()) == alone


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("line", ["", "192.0.2.1", "w1"])
def test_groups_count_their_members_and_the_processes_of_those(line: str, seed: int) -> None:
    host = snapshot(seed)
    for view in (HOSTS, PORTS):
        made = arrange(host, ViewQuery(view, search=understand(line)))
        assert made is not None
        values_of = made.listing.window(made.order)
        columns = made.rows.table.columns
        members = [made.listing.members(row) for row in made.order]
        whose = [{(columns["pid"][m], columns["start_ns"][m]) for m in each} for each in members]
        assert values_of("members") == list(map(len, members))
        assert values_of("processes") == list(map(len, whose))
        assert sum(map(len, members)) == len(understand(line).rows(made.rows, ()) or made.rows)


@pytest.mark.parametrize("line", ["80", "w1", "1" * 5000, "name = w1", "rx_bytes = 0"])
def test_flows_are_found_where_no_process_is_shown(line: str) -> None:
    message = client_messages.message(
        [], [client_messages.flow(5, remote_port=80)], [client_messages.flow(5)], seq=2
    )
    received = client_messages.received(message)
    host = model.snapshot_of(received, model.Selection(flows=True), 1000, "all", str)
    prefetch.prepare_search(host, ("name",), lambda: None)
    search = understand(line)
    expected = [0] if line in ("80", "rx_bytes = 0") else []
    for view in (CONNECTIONS, HOSTS, PORTS):
        found = arrange(host, ViewQuery(view, search=search))
        assert found is not None
        assert list(found.order) == expected
    processes = arrange(host, ViewQuery(VIEWS[0], search=search))
    assert processes is not None
    assert not processes.order


@given(st.lists(st.integers(0, 5), max_size=40), st.booleans())
def test_rows_sorted_in_runs_are_sorted(column: list[int], reverse: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pbmon_client.present.arrange._RUN", 3)
        order = ordered(range(len(column)), column, reverse=reverse)
    assert order == sorted(range(len(column)), key=column.__getitem__, reverse=not reverse)


def test_a_user_counts_as_active_for_thirty_seconds_after_a_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    keys = priority.RenderPriority()
    assert not keys.user_active
    keys.key_pressed()
    assert keys.user_active
    now_s += 29
    assert keys.user_active
    now_s += 2
    assert not keys.user_active
