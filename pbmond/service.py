"""The collector's loop: read the kernel, feed the store, publish what is wanted, on schedule.

The kernel, /proc, the store and the publisher come in from outside, behind the protocols below;
what runs here decides order and time, and nothing else.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from pbmond import wire
from pbmond.kernel.records import (
    Event,
    HostReading,
    ProbeRuns,
    ProcessSeen,
    ProcSample,
    Reading,
    Rows,
)
from pbmond.publish.channel import MAX_TOPICS, Demand
from pbmond.publish.messages import Messages, Meta
from pbmond.store.health import Cost, Health, Hooked, ProcessCost
from pbmond.store.store import Store
from pbmond.wire import Message, Topic

if TYPE_CHECKING:
    from pbmond.host.procfs import Used

#: How many processes are sampled in /proc in one tick at most, and how many quiet ones of them:
#: a sample takes 0.1 to 0.2 ms.
PROC_BUDGET: Final = 200
QUIET_BUDGET: Final = 4
#: How often all of /proc is listed. A process that forks, executes nothing and moves no byte causes
#: no event: only /proc tells that it came, and that it ended.
RESCAN_NS: Final = 10_000_000_000
#: First frames for newcomers between two ticks, per second; beyond that they wait for the tick.
NEWCOMERS_PER_S: Final = 32

_NO_PUBLISHER_NS: Final = 100_000_000  # how soon to try again while there is none


class Kernel(Hooked, Protocol):
    """The attached programs and their maps; counters are cumulative."""

    events_fd: int

    def drain(self) -> list[Event]:
        """Return all lifecycle events that wait."""

    def read(self) -> tuple[Rows, Rows, Rows]:
        """Return flows, files and overflow."""

    def lost(self) -> dict[str, int]:
        """Return what is missing since the start, by reason."""

    def runs(self) -> ProbeRuns:
        """Return what the programs ran, as of the last ``lost``."""

    def delete(
        self, flows: NDArray[np.uint64], files: NDArray[np.uint64], overflow: NDArray[np.uint64]
    ) -> tuple[NDArray[np.void], NDArray[np.void], NDArray[np.void]]:
        """Delete rows by id and return their final counters."""

    def usage(self) -> dict[str, dict[str, int]]:
        """Return used and capacity of each map, as of the last read."""


class Proc(Protocol):
    """What is read from /proc."""

    def scan(self, skip: Container[int]) -> list[ProcessSeen]:
        """Describe every living process whose pid is not in ``skip``."""

    def is_alive(self, pid: int, start_ns: int) -> bool:
        """Return whether a process still runs."""

    def sample(self, pid: int, start_ns: int) -> ProcSample:
        """Sample one process."""

    def cgroup(self, pid: int) -> bytes | None:
        """Return the cgroup of one process."""

    def used(self, pid: int) -> Used | None:
        """Return what a process of ours has used so far; None if it is gone."""


class Host(Protocol):
    """What the host counts by itself."""

    def read(self, now_ns: int) -> HostReading:
        """Read it; ``now_ns`` is CLOCK_MONOTONIC."""


class Feed(Protocol):
    """The publisher; ``pbmond.publish.supervisor.Supervisor`` is it."""

    @property
    def fd(self) -> int | None:
        """What to poll; None while there is no publisher."""

    @property
    def pid(self) -> int | None:
        """The publisher's process id; None while there is none."""

    def ensure(self, now_ns: int) -> bool:
        """Start a publisher if none runs; True if it did."""

    def receive(self) -> list[Demand]:
        """Return the demands that wait."""

    def has_room(self, now_ns: int) -> bool:
        """Return whether a frame would be taken now."""

    def send(self, frame: bytes) -> bool:
        """Hand a frame over, or return False at once."""


class Signals(Protocol):
    """The signals that the daemon gets; ``pbmond.system.signals.Signals`` is it."""

    @property
    def fd(self) -> int:
        """Readable once a signal has come."""

    def ending(self) -> bool:
        """Act on the signals that have come; return whether the daemon must end."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What names this host and this run in every message."""

    host: str
    boot_id: str
    epoch: str
    pid: int


@dataclass(frozen=True, slots=True)
class Clock:
    """The three clocks in ns, so that tests can turn them."""

    boot: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    wall: Callable[[], int] = time.time_ns
    monotonic: Callable[[], int] = time.monotonic_ns


class Collector:
    """Turns the kernel's counters into snapshots: one ``tick`` each, without any waiting."""

    def __init__(
        self,
        kernel: Kernel,
        proc: Proc,
        store: Store,
        identity: Identity,
        clock: Clock,
        *,
        host: Host,
    ) -> None:
        self._kernel = kernel
        self._proc = proc
        self._host = host
        self._store = store
        self._identity = identity
        self._clock = clock
        self._health = Health(kernel)
        self._events: list[Event] = []
        self._rescan_ns = 0
        self._seq = 0
        self._current: Messages | None = None

    def drain(self) -> None:
        """Take the waiting events over, so that the ring buffer does not fill between ticks."""
        self._events += [self._placed(event) for event in self._kernel.drain()]

    def _placed(self, event: Event) -> Event:
        """Look up a cgroup that the kernel's side cannot name: one of a v1 hierarchy."""
        if isinstance(event, ProcessSeen) and event.cgroup is None:
            return replace(event, cgroup=self._proc.cgroup(event.pid))
        return event

    def tick(self, publisher_pid: int | None) -> None:
        """Read everything once and make it the current snapshot."""
        store, kernel = self._store, self._kernel
        gone = self._rescan()
        reading = self._read()
        retire = store.apply(reading)
        store.fold(*kernel.delete(retire.flows, retire.files, retire.overflow))
        due = store.due(PROC_BUDGET, QUIET_BUDGET)
        store.apply_proc([*gone, *(self._proc.sample(*process) for process in due)])
        health = self._health.tick(reading.lost, kernel.usage(), self._cost(publisher_pid))
        self._seq += 1
        who = self._identity
        meta = Meta(who.host, who.boot_id, who.epoch, self._seq, health)
        self._current = Messages(store.snapshot(), meta)

    def message(self, topic: Topic) -> Message | None:
        """Return the current snapshot as ``topic`` shows it; None before the first tick."""
        return None if self._current is None else self._current.of(topic)

    def _rescan(self) -> list[ProcSample]:
        """List /proc if it is time to: take newcomers as events, return the end of the others."""
        now = self._clock.monotonic()
        if now < self._rescan_ns:
            return []
        self._rescan_ns = now + RESCAN_NS
        ended = [each for each in self._store.known_from_proc() if not self._proc.is_alive(*each)]
        # One of their pids may be somebody else's by now.
        self._events += self._proc.scan(self._store.described() - {pid for pid, _ in ended})
        return [ProcSample.of_ended(*process) for process in ended]

    def _read(self) -> Reading:
        # Events before counters: what an exited process moved is final by the time it is read.
        self.drain()
        events, self._events = tuple(self._events), []
        flows, files, overflow = self._kernel.read()
        # Next to the counters that it is compared with.
        host = self._host.read(self._clock.monotonic())
        return Reading(
            time_ns=self._clock.boot(),
            wall_ns=self._clock.wall(),
            flows=flows,
            files=files,
            overflow=overflow,
            events=events,
            lost=self._kernel.lost(),
            host=host,
        )

    def _cost(self, publisher_pid: int | None) -> Cost:
        now = self._clock.monotonic()
        processes = []
        for role, pid in (("collector", self._identity.pid), ("publisher", publisher_pid)):
            used = None if pid is None else self._proc.used(pid)
            if pid is not None and used is not None:
                processes.append(ProcessCost(role, pid, used.cpu_ns, used.rss_bytes))
        return Cost(now, processes, self._kernel.runs())


class Service:
    """Runs a collector on a schedule and hands its snapshots to the publisher."""

    def __init__(
        self, collector: Collector, feed: Feed, interval_ns: int, clock: Clock, log: logging.Logger
    ) -> None:
        self._collector = collector
        self._feed = feed
        self._interval_ns = interval_ns
        self._clock = clock
        self._log = log
        self._wanted: dict[Topic, None] = {}
        self._outbox: dict[Topic, None] = {}  # wanted topics that the current snapshot is due to
        self._allowance = float(NEWCOMERS_PER_S)
        self._refilled_ns = 0
        self._next_tick_ns = 0

    def run(self, events_fd: int, signals: Signals) -> None:
        """Run until a signal ends it; the first tick is at once."""
        self.start()
        while self.step(events_fd, signals, max(0, self._next_tick_ns - self._clock.monotonic())):
            pass

    def start(self) -> None:
        """Make the first tick due now."""
        self._next_tick_ns = self._clock.monotonic()

    def step(self, events_fd: int, signals: Signals, wait_ns: int) -> bool:
        """Wait ``wait_ns`` at most for something to do, and do it; False when the daemon ends."""
        if self._feed.ensure(self._clock.monotonic()):
            self._wanted.clear()  # viewers come back by themselves, and ask the new one
            self._outbox.clear()
        ready = self._poll(events_fd, signals.fd, wait_ns)
        if signals.fd in ready and signals.ending():
            return False
        if events_fd in ready:
            self._collector.drain()
        if self._clock.monotonic() >= self._next_tick_ns:
            self._tick()
        self._demands()
        self._send()
        return True

    def _poll(self, events_fd: int, signals_fd: int, timeout_ns: int) -> set[int]:
        poll = select.poll()
        poll.register(events_fd, select.POLLIN)
        poll.register(signals_fd, select.POLLIN)
        if self._feed.fd is None:
            timeout_ns = min(timeout_ns, _NO_PUBLISHER_NS)
        else:
            poll.register(self._feed.fd, select.POLLIN | (select.POLLOUT if self._outbox else 0))
        return {fd for fd, _ in poll.poll(timeout_ns / 1_000_000)}

    def _tick(self) -> None:
        self._collector.tick(self._feed.pid)
        # Those that the publisher had no room for come first now, or they might never be sent.
        self._outbox = {**self._outbox, **self._wanted}
        now = self._clock.monotonic()
        self._next_tick_ns += self._interval_ns
        if self._next_tick_ns <= now:
            missed = (now - self._next_tick_ns) // self._interval_ns + 1
            self._next_tick_ns += missed * self._interval_ns
            self._log.warning("a tick took too long: %d skipped", missed)

    def _demands(self) -> None:
        for demand in self._feed.receive():
            if not demand.wanted:
                self._wanted.pop(demand.topic, None)
                self._outbox.pop(demand.topic, None)
            elif demand.topic in self._wanted or len(self._wanted) < MAX_TOPICS:
                self._wanted[demand.topic] = None
                if self._newcomer():
                    self._outbox[demand.topic] = None

    def _newcomer(self) -> bool:
        """Return whether a frame may be sent between ticks: viewers must not drive our cost."""
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
            if not self._feed.has_room(self._clock.monotonic()):
                return
            message = self._collector.message(topic)
            if message is None or not self._feed.send(wire.encode(topic, message)):
                return
            del self._outbox[topic]
