"""The interface runs without the cycle collector: snapshots and keys make no cycles."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Iterator

import pytest
from client_messages import flow, message, process
from tui_driver import Driver

_KEYS = (
    *"123456789", "j", "G", "/", "w", "esc", "/", *"pid=7", "enter", "/", "esc", "s", "r", "S",
    "a", "u", "o", "o", "p", "p", "t", "?", "q", "enter", "down", "esc", " ", " ", "K", "esc", "9",
    "/", "(", "enter", "esc", "1",
)  # fmt: skip


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def send(driver: Driver, seq: int) -> None:
    pids = range(seq, seq + 9)
    driver.receive(
        message(
            [process(pid, b"w%d" % pid, ppid=pid - 1, net_rx_bytes_per_s=1.0) for pid in pids],
            [flow(pid, family=2, remote=pid.to_bytes(16, "little")) for pid in pids],
            [flow(pid, path=b"/f%d" % pid) for pid in pids],
            seq=seq,
        )
    )
    driver.draw()


def test_a_snapshot_is_freed_as_soon_as_the_next_ones_have_come(no_collector: None) -> None:
    driver = Driver(120, 40)
    alive = []
    for seq, key in enumerate("123456789", start=2):
        send(driver, seq)
        snapshot = driver.app.state.newest
        assert snapshot is not None
        assert snapshot.connections is not None
        alive.append(weakref.ref(snapshot.connections))
        driver.type(key)
        driver.draw()
    assert [ref() is None for ref in alive[:-1]] == [True] * 8


class _Cycle:
    def __init__(self) -> None:
        self.itself = self


def test_cycles_are_collected_only_while_nobody_types(no_collector: None) -> None:
    driver = Driver(120, 40)
    cycle = weakref.ref(_Cycle())
    driver.terminal._on_input(["j"], [])
    driver.wait(3600)
    driver.tick()
    assert cycle() is not None
    driver.terminal._priority._pressed_s -= 3600
    driver.tick()
    assert cycle() is None
    again = weakref.ref(_Cycle())
    driver.wait(60)
    driver.tick()
    assert again() is not None  # not so soon after the last time


def test_neither_keys_nor_snapshots_leave_cycles_behind(no_collector: None) -> None:
    driver = Driver(120, 40)
    numbers = itertools.count(1)
    send(driver, next(numbers))
    for _ in range(2):  # the first time fills what is kept for good
        gc.collect()
        for key in _KEYS:
            driver.type(key)
            send(driver, next(numbers))
    assert gc.collect() == 0
