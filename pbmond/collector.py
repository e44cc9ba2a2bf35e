"""One tick: read the kernel and /proc, feed the store, keep the snapshot and its health.

The kernel, /proc, the host and the clocks come in from outside, behind the protocols below.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from pbmond.containers.asking import NameLookup
from pbmond.kernel.records import (
    Event,
    FileSeen,
    HostReading,
    KernelRows,
    ProbeRuns,
    ProcessSeen,
    ProcSample,
    Reading,
)
from pbmond.publish.moved_log import MovedLog
from pbmond.publish.topic_messages import Messages, Meta
from pbmond.rescan import AllProcesses, Rescan
from pbmond.store.health import Cost, Health, Hooks, Looks, NameLooks, Postponed, ProcessCost
from pbmond.store.process_choices import Quiet
from pbmond.store.process_index import ProcessKey
from pbmond.store.store import Store
from pbmond.turns import Queues, Turns
from pbmond.wire import Message, Topic, encode

if TYPE_CHECKING:
    from pbmond.host.procfs import Used

#: The most processes that are looked at in /proc in one tick. A look takes 0.1 to 0.2 ms.
PROC_BUDGET: Final = 180
#: The most file rows whose names are compared in one tick, and the most new ones besides. A
#: comparison takes about a microsecond.
NAME_BUDGET: Final = 4096
#: How often a process that moves nothing is looked at, and the most of them in one second.
QUIET_NS: Final = 10_000_000_000
QUIET_PER_S: Final = 20
#: How much time all work in /proc may take in one tick, unless the configuration says it.
PROC_TIME_NS: Final = 100_000_000
#: Of that time, what part may go to the list of all of /proc, to one process, and to the cgroups
#: of new processes.
RESCAN_PART, PROCESS_PART, CGROUPS_PART = 1 / 2, 1 / 4, 1 / 4
#: How often all of /proc is listed. If events were lost, that shows that any process ended.
RESCAN_NS: Final = 10_000_000_000


class KernelCounters(Hooks, Protocol):
    """The attached programs and their maps; counters are cumulative."""

    events_fd: int

    def drain(self) -> list[Event]:
        """Return all lifecycle events that are waiting."""

    def look(self, files: NDArray[np.uint64]) -> list[Event]:
        """Compare the names of file rows with what they are now; return all waiting events."""

    def read(self) -> tuple[KernelRows, KernelRows, KernelRows]:
        """Return flows, files and overflow."""

    def lost(self) -> dict[str, int]:
        """Return how much has been lost since the start, by reason."""

    def runs(self) -> ProbeRuns:
        """Return how often and how long our programs ran, as of the last ``lost``."""

    def delete(
        self, flows: NDArray[np.uint64], files: NDArray[np.uint64], overflow: NDArray[np.uint64]
    ) -> tuple[NDArray[np.void], NDArray[np.void], NDArray[np.void]]:
        """Delete rows by id and return their final counters."""

    def is_crowded(self) -> bool:
        """Return whether a map has filled up so fast since the last read that it needs room now."""

    def usage(self) -> dict[str, dict[str, int]]:
        """Return used and capacity of each map, as of the last read."""


class Proc(AllProcesses, Protocol):
    """What is read from /proc."""

    def sample(self, pid: int, start_ns: int, in_time: Callable[[], bool]) -> ProcSample:
        """Sample one process; what is long is left out once it is not ``in_time`` any more."""

    def cgroup(self, pid: int) -> bytes | None:
        """Return the cgroup of one process."""

    def used(self, pid: int) -> Used | None:
        """Return what one of our own processes has used so far; None if it is gone."""


class Host(Protocol):
    """The host's own counters."""

    def read(self, now_ns: int) -> HostReading:
        """Read them; ``now_ns`` is CLOCK_MONOTONIC."""


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What identifies this host and this run in every message; it began at ``began_ns``."""

    host: str
    boot_id: str
    epoch: str
    pid: int
    began_ns: int  # CLOCK_BOOTTIME


def effort_ns() -> int:
    """Return the CPU time of this thread, and an eighth of the time that passed, in ns.

    Only what we do counts in full: on a busy host the same work takes longer, and must still be
    done. But we do not wait for ever either.
    """
    return time.thread_time_ns() + time.monotonic_ns() // 8


@dataclass(frozen=True, slots=True)
class Clock:
    """The clocks in ns, so that tests can set them; ``effort`` measures work in /proc."""

    boot: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    wall: Callable[[], int] = time.time_ns
    monotonic: Callable[[], int] = time.monotonic_ns
    effort: Callable[[], int] = effort_ns


class Collector:
    """Turns the kernel's counters into snapshots, one per ``tick``. It never waits."""

    def __init__(
        self,
        kernel: KernelCounters,
        proc: Proc,
        store: Store,
        identity: RunIdentity,
        clock: Clock,
        *,
        host: Host,
        containers: NameLookup,
        children: Callable[[], Iterable[tuple[str, int]]] = list,
        proc_time_ns: int = PROC_TIME_NS,
    ) -> None:
        """``children`` returns role and process id of each other process of the daemon."""
        self._kernel = kernel
        self._proc = proc
        self._host = host
        self._containers = containers
        self._children = children
        self._store = store
        self._identity = identity
        self._clock = clock
        self._health = Health(kernel, identity.began_ns)
        self._events: list[Event] = []
        self._vanished: list[ProcSample] = []
        self._names = NameLooks(0, 0)
        self._proc_time_ns = proc_time_ns
        self._turns = Turns(clock.effort)
        self._rescan = Rescan(proc, clock.effort)
        self._rescan_ns = 0
        self._cgroups_ns = 0  # what their look-up has cost since the last tick
        self._unnamed = 0  # cgroups that were not looked up since then
        self._lost_events = 0  # as of the last reading
        self._made_up_for = 0  # of those, as of the last look at all of /proc
        self._looked_ns = 0
        self._seq = 0
        self._current: Messages | None = None
        self._moved = MovedLog()

    def drain(self) -> None:
        """Fetch the waiting events, so that the ring buffer does not fill up between ticks."""
        self._queue(self._kernel.drain())

    @property
    def names_fd(self) -> int | None:
        """What to poll for names of containers; None while nobody is asked."""
        return self._containers.fd

    def take_names(self) -> None:
        """Take the names of containers that have come."""
        self._containers.take(self._clock.monotonic())

    def _queue(self, events: Iterable[Event]) -> None:
        known = [self._with_cgroup(event) for event in events]
        self._events += known
        # At once: a container may have ended by the next tick.
        seen = [(each.cgroup, each.uid) for each in known if isinstance(each, ProcessSeen)]
        self._containers.see(seen, self._clock.monotonic())

    def is_crowded(self) -> bool:
        """Return whether the next tick, which makes room in the kernel's tables, is needed now."""
        return self._kernel.is_crowded()

    def _with_cgroup(self, event: Event) -> Event:
        """Look up a cgroup that the eBPF programs cannot name: one of a v1 hierarchy."""
        if not isinstance(event, ProcessSeen) or event.cgroup is not None:
            return event
        if self._cgroups_ns >= self._proc_time_ns * CGROUPS_PART:
            self._unnamed += 1
            return event
        began = self._clock.effort()
        found = self._proc.cgroup(event.pid)
        self._cgroups_ns += self._clock.effort() - began
        return replace(event, cgroup=found)

    def tick(self) -> None:
        """Read everything once and make it the current snapshot."""
        store, kernel = self._store, self._kernel
        self._current = None  # its memory is needed for the next one
        time_left_ns, self._cgroups_ns = self._proc_time_ns - self._cgroups_ns, 0
        began = self._clock.effort()
        # Known to have ended before this reading, which therefore has their last bytes.
        ended = [*self._vanished, *self._list(began)]
        if self._seq:  # the first list of all is not charged
            time_left_ns -= self._clock.effort() - began
        reading = self._read()
        retire = store.apply(reading)
        store.fold(*kernel.delete(retire.flows, retire.files, retire.overflow))
        self._name_new_files()
        samples, looks = self._look(time_left_ns)
        # Those may have moved bytes after the reading: they end with the next one.
        self._vanished = [sample for sample in samples if sample.gone]
        known = [*ended, *(sample for sample in samples if not sample.gone)]
        store.apply_proc(known, looks.late)
        self._containers.see(store.cgroups(), self._clock.monotonic())
        self.take_names()
        health = self._health.tick(reading.lost, kernel.usage(), self._cost(looks))
        self._seq += 1
        who = self._identity
        meta = Meta(who.host, who.boot_id, who.epoch, self._seq, health, self._containers.names())
        self._current = Messages(store.snapshot(), meta)
        self._moved.keep(self._current)

    def message(self, topic: Topic) -> Message | None:
        """Return the current snapshot as ``topic`` shows it; None before the first tick."""
        return None if self._current is None else self._current.of(topic)

    def frame(self, topic: Topic) -> bytes | None:
        """Return the current frame of ``topic``; None before the first tick."""
        if self._current is None:
            return None
        if topic.kind == "moved":
            return self._moved.frame(self._current)
        return encode(topic, self._current.of(topic))

    def _list(self, began: int) -> list[ProcSample]:
        """List /proc if it is time to: queue events for new processes, return those that ended.

        What one tick has no time for, the next ones do. Only the very first takes what it takes.
        """
        until = began + round(self._proc_time_ns * RESCAN_PART) if self._seq else 1 << 63
        now = self._clock.monotonic()
        if self._rescan.is_done and now >= self._rescan_ns:
            self._rescan_ns = now + RESCAN_NS
            lost, self._made_up_for = self._lost_events - self._made_up_for, self._lost_events
            # An exit among the lost events would not be noticed before the turn in ``_look``.
            self._rescan.begin(self._store.running() if lost else self._store.known_from_proc())
        if self._rescan.is_done:
            return []
        found = self._rescan.step(self._store.described, until)
        self._events += found.seen
        return [ProcSample.of_ended(*process) for process in found.ended]

    def _look(self, time_ns: int) -> tuple[list[ProcSample], Looks]:
        """Look in /proc at the processes that are due, for so much time."""
        began, spent = self._clock.monotonic(), self._clock.effort
        # A share of those of a second; without a tick before, those of one.
        elapsed_ns = began - self._looked_ns if self._looked_ns else 1_000_000_000
        self._looked_ns = began
        quiet = Quiet(QUIET_NS, max(1, QUIET_PER_S * elapsed_ns // 1_000_000_000))
        due = self._store.due(PROC_BUDGET, quiet)
        until, longest = spent() + time_ns, round(self._proc_time_ns * PROCESS_PART)

        def sample(process: ProcessKey) -> ProcSample:
            end = min(until, spent() + longest)
            return self._proc.sample(*process, lambda: spent() < end)

        waiting = Queues.of(due.turns)
        samples = self._turns.run(waiting, sample, until)
        # More than a tick may look at is usual. If time was short besides, all of them are late.
        late = [key for queue in waiting.values() for key in queue]
        late += due.beyond if late else ()
        cut = sum(each.cut for each in samples)
        unnamed, self._unnamed = self._unnamed, 0
        return samples, Looks(
            len(samples),
            self._clock.monotonic() - began,
            waiting.count() + len(due.beyond),
            due.oldest_ns,
            tuple(late),
            Postponed(len(late), cut, self._rescan.left, unnamed),
        )

    def _read(self) -> Reading:
        # Names before counters: the flags of the rows say whether a file has any.
        self._names = NameLooks(0, 0)
        self.drain()
        self._compare_names(self._store.names_due(NAME_BUDGET))
        # Events before counters: once an exit was seen, the counters of that process are final.
        self.drain()
        events, self._events = tuple(self._events), []
        # Also before counters: what moved until then is in them, however long reading them takes.
        time_ns, wall_ns = self._clock.boot(), self._clock.wall()
        flows, files, overflow = self._kernel.read()
        self.drain()  # a process whose last bytes were read may have become another user's
        # Right after the counters that it is compared with.
        host = self._host.read(self._clock.monotonic())
        lost = self._kernel.lost()
        self._lost_events = lost["events"]
        return Reading(
            time_ns=time_ns,
            wall_ns=wall_ns,
            flows=flows,
            files=files,
            overflow=overflow,
            events=events,
            lost=lost,
            host=host,
            ahead=tuple(self._events),
        )

    def _compare_names(self, files: NDArray[np.uint64]) -> None:
        """Have the kernel compare names of files, and queue events for those that changed."""
        began = self._clock.monotonic()
        self._queue(self._kernel.look(files))
        took_ns = self._clock.monotonic() - began
        self._names = NameLooks(self._names.files + len(files), self._names.took_ns + took_ns)

    def _name_new_files(self) -> None:
        """Files may have been renamed since they had their rows, all in one interval."""
        self._compare_names(self._store.new_files()[:NAME_BUDGET])
        # The other events belong to the next reading: an exit's bytes may not be in this one.
        self._store.name([event for event in self._events if isinstance(event, FileSeen)])
        self._events = [event for event in self._events if not isinstance(event, FileSeen)]

    def _cost(self, looks: Looks) -> Cost:
        now = self._clock.monotonic()
        processes = []
        for role, pid in (("collector", self._identity.pid), *self._children()):
            used = self._proc.used(pid)
            if used is not None:
                processes.append(ProcessCost(role, pid, used.cpu_ns, used.rss_bytes))
        return Cost(now, processes, self._kernel.runs(), looks, self._names)
