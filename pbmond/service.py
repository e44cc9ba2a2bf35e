"""The collector's loop: a tick at each interval, and snapshots to whoever wants them.

This module decides what happens when, and nothing else. The publisher and the signals come in from
outside, behind the protocols below.
"""

from __future__ import annotations

import logging
import select
from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import Final, Protocol

from pbmond.collector import Clock, Collector
from pbmond.publish.channel import MAX_TOPICS, Demand
from pbmond.wire import Topic

#: The most frames per second that new viewers get at once; beyond that they wait for the next tick.
NEWCOMERS_PER_S: Final = 32

#: Frames may take this part of each interval; the topics that are left over come first in the next.
SENDING_SHARE: Final = 0.5

#: After a tick, the next one may come early only after so many times as long as that one took.
EARLY_PAUSE: Final = 1

#: How often memory that is free is given back, when there is nothing to send.
GIVE_BACK_NS: Final = 10_000_000_000

_NO_PUBLISHER_NS: Final = 100_000_000  # how often to try to start one
_PUBLISHER_NS: Final = 2_000_000_000  # how often to see whether it is alive


class Feed(Protocol):
    """The publisher, as ``pbmond.publish.supervisor.Supervisor`` presents it."""

    @property
    def fd(self) -> int | None:
        """What to poll; None while there is no publisher."""

    def ensure(self, now_ns: int) -> bool:
        """Start a publisher if none runs; True if it did."""

    def receive(self) -> list[Demand]:
        """Return the demands that are waiting."""

    def has_room(self, now_ns: int) -> bool:
        """Return whether the publisher can take a frame now."""

    def send(self, frame: bytes) -> bool:
        """Hand a frame over; False if there is no room. Never waits."""


class SignalHandler(Protocol):
    """The signals that the daemon receives, as ``pbmond.system.signals.Signals`` handles them."""

    @property
    def fd(self) -> int:
        """Readable once a signal has come."""

    def ending(self) -> bool:
        """Act on the signals that have come; return whether the daemon must end."""


class Service:
    """Runs a collector on a schedule and hands its snapshots to the publisher."""

    def __init__(
        self,
        collector: Collector,
        feed: Feed,
        interval_ns: int,
        clock: Clock,
        log: logging.Logger,
        *,
        give_back: Callable[[], None] = lambda: None,
        children_say: Callable[[int], None] = lambda _: None,
        served: Callable[[], None] = lambda: None,
    ) -> None:
        """``children_say`` logs what children have said until now, CLOCK_MONOTONIC ns.

        ``served`` is told of each snapshot for which there is a publisher.
        """
        self._children_say = children_say
        self._served = served
        self._collector = collector
        self._feed = feed
        self._interval_ns = interval_ns
        self._clock = clock
        self._log = log
        self._wanted: dict[Topic, None] = {}
        self._outbox: dict[Topic, None] = {}  # wanted, and the current snapshot is not sent yet
        self._allowance = float(NEWCOMERS_PER_S)
        self._refilled_ns = 0
        self._budget_ns = 0  # what is left of it for frames until the next tick
        self._next_tick_ns = 0
        self._give_back = give_back
        self._given_back_ns = clock.monotonic()
        self._early_ns = 0  # no tick comes early before that

    def run(self, events_fd: int, signals: SignalHandler) -> None:
        """Run until a signal ends it; the first tick is immediate."""
        self.start()
        while self.step(events_fd, signals, max(0, self._due_ns() - self._clock.monotonic())):
            pass

    def start(self) -> None:
        """Make the first tick due now."""
        self._next_tick_ns = self._clock.monotonic()

    def step(self, events_fd: int, signals: SignalHandler, wait_ns: int) -> bool:
        """Wait at most ``wait_ns`` for something to do, and do it; False if the daemon must end."""
        if self._feed.ensure(self._clock.monotonic()):
            self._wanted.clear()  # viewers reconnect by themselves, and ask the new one
            self._outbox.clear()
        ready = self._poll(events_fd, signals.fd, wait_ns)
        if signals.fd in ready and signals.ending():
            return False
        if events_fd in ready:
            self._collector.drain()
        if self._collector.names_fd in ready:
            self._collector.take_names()
        if self._clock.monotonic() >= self._due_ns():
            self._tick()
        self._demands()
        self._send()
        if not self._outbox and self._clock.monotonic() >= self._given_back_ns + GIVE_BACK_NS:
            self._give_back()
            self._given_back_ns = self._clock.monotonic()
        self._children_say(self._clock.monotonic())
        return True

    def _poll(self, events_fd: int, signals_fd: int, timeout_ns: int) -> set[int]:
        poll = select.poll()
        poll.register(events_fd, select.POLLIN)
        poll.register(signals_fd, select.POLLIN)
        if self._collector.names_fd is not None:
            poll.register(self._collector.names_fd, select.POLLIN)
        if self._feed.fd is None:
            timeout_ns = min(timeout_ns, _NO_PUBLISHER_NS)
        else:
            timeout_ns = min(timeout_ns, _PUBLISHER_NS)
            sends = self._outbox and self._budget_ns > 0
            poll.register(self._feed.fd, select.POLLIN | (select.POLLOUT if sends else 0))
        return {fd for fd, _ in poll.poll(timeout_ns / 1_000_000)}

    def _due_ns(self) -> int:
        """Return when the next tick is due: early if a table fills up fast and needs room."""
        if self._collector.is_crowded():
            return min(self._next_tick_ns, self._early_ns)
        return self._next_tick_ns

    def _tick(self) -> None:
        began = self._clock.monotonic()
        self._collector.tick()
        if self._feed.fd is not None:
            self._served()
        self._budget_ns = round(self._interval_ns * SENDING_SHARE)
        # Topics that were left over come first, or they might never be sent.
        self._outbox = _in_turn({**self._outbox, **self._wanted})
        now = self._clock.monotonic()
        self._early_ns = now + EARLY_PAUSE * (now - began)
        # After an early tick, a whole interval begins.
        self._next_tick_ns = min(self._next_tick_ns, began) + self._interval_ns
        if self._next_tick_ns <= now:
            missed = (now - self._next_tick_ns) // self._interval_ns + 1
            self._next_tick_ns += missed * self._interval_ns
            self._log.warning("a snapshot took too long; skipped after it: %d", missed)

    def _demands(self) -> None:
        for demand in self._feed.receive():
            if not demand.wanted:
                self._wanted.pop(demand.topic, None)
                self._outbox.pop(demand.topic, None)
            elif demand.topic in self._wanted or len(self._wanted) < MAX_TOPICS:
                self._wanted[demand.topic] = None
                if self._may_send_early():
                    self._outbox[demand.topic] = None

    def _may_send_early(self) -> bool:
        """Return whether a frame may be sent before the next tick.

        The rate is limited, so that viewers who come and go cannot make the daemon expensive.
        """
        now = self._clock.monotonic()
        gained = (now - self._refilled_ns) * NEWCOMERS_PER_S / 1e9
        self._refilled_ns = now
        self._allowance = min(self._allowance + gained, float(NEWCOMERS_PER_S))
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    def _send(self) -> None:
        for topic in list(self._outbox):
            began_ns = self._clock.monotonic()
            if self._budget_ns <= 0 or not self._feed.has_room(began_ns):
                return
            frame = self._collector.frame(topic)
            if frame is None or not self._feed.send(frame):
                return
            del self._outbox[topic]
            if topic in self._wanted:  # it is the last in line now
                self._wanted[topic] = self._wanted.pop(topic)
            self._budget_ns -= self._clock.monotonic() - began_ns


def _in_turn(topics: Iterable[Topic]) -> dict[Topic, None]:
    """Let users take turns, so that hundreds of topics of some hold up no other's first."""
    by_user: dict[int | None, list[Topic]] = {}
    for topic in topics:
        by_user.setdefault(topic.uid, []).append(topic)
    rounds = zip_longest(*by_user.values())
    return {topic: None for round_ in rounds for topic in round_ if topic is not None}
