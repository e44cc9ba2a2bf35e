"""Ticks every ten milliseconds, while millions of calls are counted, lose none of them."""

from __future__ import annotations

import logging
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from conservation import assert_conserved
from processes import row_of

from pbmond import wire
from pbmond.config import Config
from pbmond.fields import counter_names
from pbmond.kernel.attach import attach
from pbmond.kernel.maps import Kernel
from pbmond.kernel.records import HostReading, Reading
from pbmond.publish.topic_messages import Messages, Meta
from pbmond.selftest.private_daemon import now_ns
from pbmond.store.store import Store, StoreOptions

BLOCKS = 750_000
CALLS = 4 * BLOCKS  # a byte is read and sent, received and written
CALL_COUNTS = ("rx_calls", "tx_calls")
INTERVAL_S = 0.01
LINGER_NS = 600_000_000_000
#: The host's own counters play no part here.
NO_HOST = HostReading(None, None, None, None, frozenset(), None, None)
META = Meta("host", "boot", "epoch", 1, {})


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    kernel = attach(Config(), logging.getLogger("test"))
    try:
        yield kernel
    finally:
        kernel.close()


class Ticks:
    """The collector's tick, without /proc: what that says ends rows too."""

    def __init__(self, kernel: Kernel, idle_linger_ns: int) -> None:
        options = StoreOptions(LINGER_NS, idle_linger_ns, 60, lambda *_: True)
        if not idle_linger_ns:  # idle rows leave a table that is half full: one for a row always is
            options = replace(options, capacities=(1, 1, 1))
        self._kernel = kernel
        self._store = Store(options, now_ns())
        self.count = 0
        self.deleted_calls = 0

    def tick(self) -> wire.Message:
        kernel, store = self._kernel, self._store
        events = tuple(kernel.drain())
        flows, files, overflow = kernel.read()
        lost = kernel.lost()
        reading = Reading(now_ns(), time.time_ns(), flows, files, overflow, events, lost, NO_HOST)
        retire = store.apply(reading)
        finals = kernel.delete(retire.flows, retire.files, retire.overflow)
        store.fold(*finals)
        self.count += 1
        self.deleted_calls += sum(int(each[name].sum()) for each in finals for name in CALL_COUNTS)
        return Messages(store.snapshot(), META).of(wire.Topic(None, "processes"))


@contextmanager
def sender_and_receiver() -> Iterator[tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]]:
    """Two processes that move bytes, one at a time, over a socket pair; they end by themselves."""
    command = ["dd", "bs=1", f"count={BLOCKS}", "status=none"]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = subprocess.Popen([*command, "if=/dev/zero"], stdout=ours.fileno())
        receiver = subprocess.Popen([*command, "of=/dev/null"], stdin=theirs.fileno())
    with sender, receiver:
        yield sender, receiver


def moved(row: dict[str, Any], kind: str) -> tuple[int, ...]:
    """Bytes in and out, calls in and out, of one class."""
    return tuple(row[name] for name in counter_names(kind))


# An idle time of nothing deletes every row at every tick, in the middle of its calls.
@pytest.mark.parametrize("idle_linger_ns", [LINGER_NS, 0], ids=["kept", "deleted"])
def test_three_million_calls_between_ticks_of_ten_milliseconds(
    kernel: Kernel, idle_linger_ns: int
) -> None:
    ticks = Ticks(kernel, idle_linger_ns)
    with sender_and_receiver() as movers:
        while any(process.poll() is None for process in movers):
            due = time.monotonic() + INTERVAL_S
            assert_conserved(ticks.tick())
            time.sleep(max(0.0, due - time.monotonic()))
    message = ticks.tick()
    sender, receiver = (row_of(message, process.pid) for process in movers)
    assert [process.returncode for process in movers] == [0, 0]
    assert moved(sender, "device") == (BLOCKS, 0, BLOCKS, 0)
    assert moved(sender, "unix") == (0, BLOCKS, 0, BLOCKS)
    assert moved(receiver, "unix") == (BLOCKS, 0, BLOCKS, 0)
    assert moved(receiver, "device") == (0, BLOCKS, 0, BLOCKS)
    assert ticks.count > 20
    assert (ticks.deleted_calls >= CALLS) == (idle_linger_ns == 0)
    assert set(kernel.lost().values()) == {0}
