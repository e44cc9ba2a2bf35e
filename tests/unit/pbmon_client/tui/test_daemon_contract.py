"""Snapshots made by the daemon's own code, in the real interface: what it sends is what shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tui_driver import Driver

from pbmon_client.tui.draw.detail import subject
from pbmond import wire
from pbmond.fields import HISTORY
from pbmond.kernel.records import Event
from pbmond.store.store import Store
from tests import factories as make
from tests.store_views import flow, message, new_store

PROCESSES = wire.Topic(None, "processes")
#: What the daemon may send with one process's topic: that process alone, or every process.
BOTH = pytest.mark.parametrize("everybody", [True, False])


def busy_store(ticks: int = 5) -> Store:
    """Return a store in which 7 sends ever more, and 8 reads a file at an even pace."""
    store = new_store()
    events = [make.seen(7, name=b"sender"), make.seen(8, name=b"reader")]
    for tick in range(1, ticks + 1):
        key = make.file_key(8)
        file = make.counter(2, "file", (tick * 500, 0, tick, 0))
        store.apply(
            make.reading(
                tick,
                flows=[flow(1, (0, tick * tick * 1000, 0, tick), remote_port=443)],
                files=[(key, file)],
                events=events if tick == 1 else [],
            )
        )
        if tick < ticks:
            store.snapshot()
    return store


def detail(store: Store, pid: int, *, everybody: bool) -> wire.Message:
    """Return the message of a process's own topic."""
    sent = message(store, wire.Topic(None, "flows", pid))
    if everybody:
        return replace(sent, processes=message(store, PROCESSES).processes)
    columns = sent.processes.columns
    kept = [row for row, owner in enumerate(columns["pid"]) if owner == pid]
    alone: dict[str, Any] = {}
    for name, code in wire.TABLES["processes"].items():
        values = columns[name]
        alone[name] = [values[row] for row in kept]
        if code != "text":
            alone[name] = type(values)(values.typecode, alone[name])
    return replace(sent, processes=wire.Table(len(kept), alone))


def viewer(store: Store) -> Driver:
    """Return an interface that was started just now, with the busiest process selected."""
    driver = Driver(120, 40)
    driver.take(message(store, PROCESSES))
    driver.type("home")
    assert "sender" in driver.selected()
    return driver


def curve_of(driver: Driver, at: int) -> list[float | None]:
    found = subject(driver.app.state)
    assert found is not None
    return list(found.curves[at])


@BOTH
def test_a_process_has_its_history_from_before_the_viewer_started(everybody: bool) -> None:
    store = busy_store()
    driver = viewer(store)
    sent = HISTORY.index("net_tx_bytes_per_s")
    assert len(curve_of(driver, sent)) == 1
    driver.take_detail(detail(store, 7, everybody=everybody))
    assert curve_of(driver, sent) == [None, 3000.0, 5000.0, 7000.0, 9000.0]


@BOTH
def test_the_next_row_waits_for_its_own_detail_and_then_shows_it(everybody: bool) -> None:
    store = busy_store()
    driver = viewer(store)
    driver.take_detail(detail(store, 7, everybody=everybody))
    assert ":443" in driver.text()
    driver.type("down")
    assert "reader" in driver.selected()
    assert driver.source.requests[-1].pid == 8
    assert "no connection and no file" not in driver.text()
    assert "no connections" not in driver.text()
    assert "waiting for connections and files" in driver.text()
    assert len(curve_of(driver, 0)) == 1  # and not the former process's history
    driver.take_detail(detail(store, 8, everybody=everybody))
    assert "one file" in driver.text()
    assert curve_of(driver, HISTORY.index("file_read_bytes_per_s"))[1:] == [500.0] * 4


@BOTH
def test_detail_that_comes_late_is_not_taken_for_the_selected_process(everybody: bool) -> None:
    store = busy_store()
    driver = viewer(store)
    driver.type("down")
    driver.take_detail(detail(store, 7, everybody=everybody), pid=7)
    assert "waiting for connections and files" in driver.text()


def test_a_process_is_not_shown_the_history_of_another_with_the_same_number() -> None:
    store = new_store()
    first, second = make.START_NS, make.START_NS + 5 * make.SECOND
    for tick in range(1, 5):
        events: list[Event] = []
        if tick == 1:
            events = [make.seen(7, first, b"first")]
        if tick == 3:
            events = [make.exited(7, first, 2.5), make.seen(7, second, b"second")]
        old = make.flow_key(7, first), make.counter(1, "net", (9000 * min(tick, 2), 0, 1, 0))
        new = make.flow_key(7, second), make.counter(2, "net", (tick, 0, 1, 0))
        store.apply(make.reading(tick, flows=[old, new][: 1 + (tick > 2)], events=events))
        if tick < 4:
            store.snapshot()
    driver = Driver(120, 40)
    driver.take(message(store, PROCESSES))
    for name in ("second", "first"):
        while name not in driver.selected():
            driver.type("down")
        driver.take_detail(message(store, wire.Topic(None, "flows", 7)))
        newest = name == "second"
        assert (len(curve_of(driver, 0)) > 1) is newest


@pytest.mark.parametrize("key", list("123456789"))
def test_every_view_of_the_daemons_snapshot_is_drawn(key: str) -> None:
    driver = viewer(busy_store())
    driver.take(replace(message(busy_store()), seq=2))
    driver.type(key)
    assert driver.rows()
    driver.type("enter")
    assert "sender" in driver.text() or "reader" in driver.text()
