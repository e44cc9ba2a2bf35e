"""When the collector gives free memory back: now and then, while nobody waits for a frame."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from pbmond import allocator
from pbmond.service import GIVE_BACK_NS, Service
from tests.service_world import ALL, SECOND, World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def test_free_memory_is_given_back_now_and_then_and_not_while_frames_wait(world: World) -> None:
    given: list[int] = []
    clock = world.collector._clock
    world.service = Service(
        *(world.collector, world.feed, SECOND, clock, logging.getLogger("test")),
        give_back=lambda: given.append(world.now),
    )
    world.feed.want(ALL)
    for second in range(11):
        world.feed.room = int(second not in (10,))
        world.step(second * SECOND)
    assert given == []
    world.feed.room = 1
    world.step(10 * SECOND + 1)
    world.step(10 * SECOND + 2)
    assert given == [10 * SECOND + 1]
    world.step(10 * SECOND + 1 + GIVE_BACK_NS)
    assert len(given) == 1  # a tick is due, and its frame has no room
    world.feed.room = 1
    world.step(10 * SECOND + 2 + GIVE_BACK_NS)
    assert len(given) == 2


def test_libc_takes_memory_back_without_complaint() -> None:
    allocator.give_back()
