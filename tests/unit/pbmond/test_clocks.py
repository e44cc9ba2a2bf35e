"""Clocks that step, jump and stand still: rates stay finite and no byte is counted twice.

CLOCK_REALTIME is stepped by administrators and NTP, in both directions. CLOCK_BOOTTIME goes on
while the host sleeps, and CLOCK_MONOTONIC does not: so a suspend is a jump between the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from pbmon_client.data import model
from pbmon_client.data.rates import due, newer
from pbmon_client.data.stream import Stream
from pbmond import wire
from pbmond.fields import HISTORY, rate_columns
from pbmond.wire import Message
from tests import factories
from tests.service_world import ALL, SECOND, World

HOUR = 3600 * SECOND
YEAR = 365 * 24 * HOUR
BYTES = 1000  # that the process receives in each tick


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    made.kernel.events = [factories.seen(name=b"curl")]
    yield made
    made.close()


def tick(world: World, number: int) -> Message:
    """Make a tick, a second after the one before; ``number`` begins at 0."""
    received = (number + 1) * BYTES
    world.kernel.flows = [(factories.flow_key(), factories.counter(1, "net", (received, 0, 1, 0)))]
    world.step(number * SECOND)
    message = world.message()
    assert message.seq == number + 1
    return wire.decode(wire.encode(ALL, message))[1]


def rates_of(message: Message) -> list[float]:
    """Every rate that is known: of the processes, of the totals, and of the curves."""
    names = rate_columns("processes")
    found = [row[name] for row in message.processes.rows() for name in names]
    found += [message.totals[name] for name in names]
    found += [value for name in HISTORY for value in message.history[name]]
    return [value for value in found if value is not None and not math.isnan(value)]


def assert_sane(message: Message, number: int) -> None:
    assert message.interval_ns > 0 or number == 0
    assert all(0 <= rate < math.inf for rate in rates_of(message))
    assert message.totals["net_rx_bytes"] == (number + 1) * BYTES


@pytest.mark.parametrize("step", [-YEAR, -HOUR, -1, HOUR, 50 * YEAR], ids=str)
def test_a_step_of_the_wall_clock_changes_the_time_shown_and_no_rate(
    world: World, step: int
) -> None:
    before = [tick(world, number) for number in range(3)]
    world.wall_step = step
    after = [tick(world, number) for number in range(3, 6)]
    for number, message in enumerate(before + after):
        assert_sane(message, number)
        assert message.time_ns == factories.WALL_NS + number * SECOND + (step if number > 2 else 0)
    assert {message.interval_ns for message in (*before[1:], *after)} == {SECOND}
    assert {message.totals["net_rx_bytes_per_s"] for message in (*before[1:], *after)} == {BYTES}


def test_a_wall_clock_that_goes_back_and_forth_at_every_tick_hides_no_snapshot_from_a_viewer(
    world: World,
) -> None:
    stream = Stream(model.Selection(), 0, str)
    shown = []
    for number in range(8):
        world.wall_step = (-1) ** number * HOUR
        message = tick(world, number)
        assert_sane(message, number)
        shown.append(stream.take(message, "all", 1.0))
    assert all(shown)
    assert 0 < stream.patience_s < 10


def test_a_suspend_spreads_what_moved_over_the_time_that_it_took(world: World) -> None:
    """The host's clock since boot has gone on; ticks go on as if nothing had been."""
    for number in range(3):
        tick(world, number)
    world.suspended = 10 * HOUR
    slept = tick(world, 3)
    assert_sane(slept, 3)
    assert slept.interval_ns == 10 * HOUR + SECOND
    assert slept.totals["net_rx_bytes_per_s"] == pytest.approx(BYTES / (10 * 3600 + 1))
    awake = tick(world, 4)
    assert_sane(awake, 4)
    assert (awake.interval_ns, awake.totals["net_rx_bytes_per_s"]) == (SECOND, BYTES)
    assert [row["pid"] for row in awake.processes.rows()] == [7]


def test_after_a_suspend_a_viewer_goes_on_with_the_next_snapshot(world: World) -> None:
    """Shown every two seconds, and the host sleeps in between."""
    first, second = tick(world, 0), tick(world, 1)
    world.suspended = HOUR
    third, fourth = tick(world, 2), tick(world, 3)
    for message, before in ((second, first), (third, second), (fourth, third)):
        assert newer(message, before)
    assert due(third, second, 2 * SECOND)
    stream = Stream(model.Selection(), 0, str)
    for message in (first, second, third):
        stream.take(message, "all", 2.0)
    assert stream.patience_s <= 3 * 3600  # however long the host slept
    stream.take(fourth, "all", 2.0)
    assert stream.patience_s < 10


def test_clocks_that_stand_still_divide_nothing_by_zero(world: World) -> None:
    """Two ticks at one moment, as a coarse clock source or a debugger may make them."""
    tick(world, 0)
    world.kernel.crowded = True  # the next tick comes at once
    for received in (3000, 5000):
        counter = factories.counter(1, "net", (received, 0, 1, 0))
        world.kernel.flows = [(factories.flow_key(), counter)]
        world.step()
        message = world.message()
        assert message.totals["net_rx_bytes"] == received
        assert all(0 <= rate < math.inf for rate in rates_of(message))
