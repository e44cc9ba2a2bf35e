"""A service with a fake kernel, a fake publisher and a clock that tests set."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pbmond import wire
from pbmond.collector import Clock, Collector, RunIdentity
from pbmond.containers.asking import NameLookup
from pbmond.publish.channel import Demand
from pbmond.service import Service
from pbmond.store.store import Store, StoreOptions
from pbmond.wire import Message, Topic
from tests import factories
from tests.fake_kernel import FakeHost, FakeKernel, FakeProc, FakeSignals

SECOND = 1_000_000_000
ALL = Topic(None, "processes")


class FakeFeed:
    """A publisher that takes ``room`` frames and demands what the test says."""

    def __init__(self) -> None:
        self.fd: int | None = None
        self.starting = True
        self.demands: list[Demand] = []
        self.frames: list[bytes] = []
        self.room = 1_000_000
        self.sent: Callable[[], None] = lambda: None  # what happens meanwhile

    def ensure(self, now_ns: int) -> bool:
        started, self.starting = self.starting, False
        return started

    def receive(self) -> list[Demand]:
        demands, self.demands = self.demands, []
        return demands

    def has_room(self, now_ns: int) -> bool:
        return self.room > 0

    def send(self, frame: bytes) -> bool:
        self.room -= 1
        self.frames.append(frame)
        self.sent()
        return True

    def want(self, *topics: Topic) -> None:
        self.demands += [Demand(topic, wanted=True) for topic in topics]

    def taken(self) -> list[tuple[Topic, Message]]:
        frames, self.frames = self.frames, []
        return [wire.decode(frame) for frame in frames]

    def topics(self) -> list[Topic]:
        return [topic for topic, _ in self.taken()]


class World:
    """A service and its surroundings; ``step`` runs its loop once."""

    def __init__(self) -> None:
        self.now = self.effort = 0
        self.wall_step = self.suspended = 0  # what other clocks are ahead of ``now``
        self.kernel, self.proc, self.feed = FakeKernel(), FakeProc(), FakeFeed()
        self.host = FakeHost()
        self.signals = FakeSignals()
        options = StoreOptions(2 * SECOND, 60 * SECOND, 60, lambda *_: True)
        store = Store(options, factories.STARTED_NS)
        clock = Clock(
            boot=lambda: factories.STARTED_NS + self.now + self.suspended,
            wall=lambda: factories.WALL_NS + self.now + self.suspended + self.wall_step,
            monotonic=lambda: self.now,
            effort=lambda: self.effort,
        )
        identity = RunIdentity("host", "boot", "epoch", 1, 0)
        log = logging.getLogger("test")
        self.collector = Collector(
            *(self.kernel, self.proc, store, identity, clock),
            host=self.host,
            containers=NameLookup(None, log),
            children=lambda: [("forker", 98), ("publisher", 99)],
        )
        self.service = Service(self.collector, self.feed, SECOND, clock, log)
        self.service.start()

    def step(self, now: int | None = None) -> bool:
        self.now = self.now if now is None else now
        return self.service.step(self.kernel.events_fd, self.signals, wait_ns=0)

    def message(self) -> Message:
        message = self.collector.message(ALL)
        assert message is not None
        return message

    def close(self) -> None:
        self.kernel.close()
        self.signals.close()
