"""The processes: who they are, whether they run, and their counters, a slot each.

A slot is a position in parallel arrays. A process keeps its slot until it is freed. Index, texts,
counters and disk bytes of the slots have modules of their own; this one decides what changes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbmond.fields import NO_UID, STATES
from pbmond.kernel.records import START_TICK_NS, ProcessExited, ProcessSeen, ProcSample
from pbmond.store.process_counters import ProcessCounters, widened
from pbmond.store.process_disk import Bytes, ProcessDisk
from pbmond.store.process_index import ProcessIndex, ProcessKey
from pbmond.store.process_places import ProcessPlaces
from pbmond.store.process_texts import ProcessTexts
from pbmond.store.retired import Group

Visible = Callable[[int, bytes, int], bool]  # pid, name, uid

#: Retired unit of the processes that the configuration hides.
EXCLUDED = b"(excluded)"
RUNNING = STATES.index("running")
EXITED = STATES.index("exited")
FREE = 255

_CAPACITY = 256  # slots at first

INFO = np.dtype(
    [
        ("start_ns", "<u8"),
        ("shown_start_ns", "<u8"),  # as first published: viewers identify the process by it
        ("exited_ns", "<u8"),
        ("seen_ns", "<u8"),  # time of the newest ProcessSeen; 0: none yet
        ("sampled_ns", "<u8"),  # tick of the newest ProcSample
        ("born", "<u8"),  # tick in which the slot got this process
        ("pid", "<u4"),
        ("ppid", "<u4"),
        ("uid", "<u4"),
        ("netns", "<u4"),
        ("state", "u1"),
        ("visible", "?"),
    ]
)


@dataclass(frozen=True, slots=True)
class ProcessRows:
    """All slots at one moment, free ones too.

    ``counters`` and ``deltas`` are (len(COUNTERS), slots); ``disk_elapsed_s`` is the time
    that the disk deltas took.
    """

    info: NDArray[np.void]
    texts: dict[str, list[bytes | None]]
    counters: NDArray[np.uint64]
    deltas: NDArray[np.uint64]
    disk_elapsed_s: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Quiet:
    """How often processes that move nothing are looked at, and how many of them in one tick."""

    every_ns: int
    budget: int


@dataclass(frozen=True, slots=True)
class Due:
    """The processes to look at in this tick.

    ``waiting``: how many others moved bytes, too; ``oldest_ns``: the age of the oldest description
    of any process, None if there is none.
    """

    keys: list[ProcessKey]
    waiting: int
    oldest_ns: int | None


class ProcessTable:
    """``begin`` a tick, then feed it; ``counters`` are fed by the store."""

    def __init__(self, visible: Visible, started_ns: int) -> None:
        self._visible = visible
        self._index = ProcessIndex()
        self._texts = ProcessTexts()
        self._places = ProcessPlaces()
        self._disk = ProcessDisk(_CAPACITY, started_ns)
        self._now_ns = 0
        self._tick = 0
        self._unknown_until_exit: list[int] = []  # slots, in this tick
        self.counters = ProcessCounters(_CAPACITY)
        self.info = np.zeros(_CAPACITY, INFO)
        self.info["state"] = FREE

    def begin(self, tick: int, now_ns: int, interval_ns: int) -> None:
        """Start a tick: what is counted from here on is its delta."""
        self._tick, self._now_ns = tick, now_ns
        self._unknown_until_exit.clear()
        self.counters.begin(self._index.high)
        self._disk.begin(now_ns, interval_ns)

    # --- slots --------------------------------------------------------------------------------

    def slots_of(
        self, pids: NDArray[np.uint32], starts_ns: NDArray[np.uint64]
    ) -> NDArray[np.int32]:
        """Return the slot of each (pid, start_ns), making those that are new."""
        pairs = zip(pids.tolist(), starts_ns.tolist(), strict=True)
        return np.fromiter((self.slot(*pair) for pair in pairs), np.int32, len(pids))

    def slot(self, pid: int, start_ns: int) -> int:
        """Return the slot of a process, making it if the process is new."""
        slot = self._index.exact(pid, start_ns)
        if slot is not None:
            return slot
        slot = self._index.find(pid, start_ns)
        if slot is None:
            return self._add(pid, start_ns)
        known_ns = int(self.info["start_ns"][slot])
        if start_ns > known_ns:  # the known time is from /proc, this one is exact
            self._index.correct_start(slot, pid, known_ns, start_ns)
            self.info["start_ns"][slot] = start_ns
            if self.info["born"][slot] == self._tick:  # not published yet
                self.info["shown_start_ns"][slot] = start_ns
        return slot

    def _add(self, pid: int, start_ns: int) -> int:
        predecessor = self._index.newest(pid)
        slot = self._index.add(pid, start_ns)
        if slot == len(self.info):
            self._grow(2 * slot)
        info = self.info[slot]
        info["pid"], info["born"] = pid, self._tick
        info["start_ns"] = info["shown_start_ns"] = start_ns
        info["uid"], info["state"] = NO_UID, RUNNING
        self._texts.add(slot)
        self._disk.add(slot, start_ns)
        self._update_visible(slot)
        if predecessor is not None:  # two processes cannot have one PID at a time
            other, other_ns = predecessor
            self._exit(other if other_ns < start_ns else slot, self._now_ns)
        return slot

    def _grow(self, capacity: int) -> None:
        used = len(self.info)
        self.info = widened(self.info, capacity)
        self.info["state"][used:] = FREE
        self.counters.grow(capacity)
        self._disk.grow(capacity)

    def free(self, slot: int) -> list[tuple[Group, NDArray[np.uint64]]]:
        """Forget a process; return its final counters by group, the one it ended in first."""
        info = self.info[slot]
        place = self._texts.place(slot) or (None, None)
        visible, uid = bool(info["visible"]), int(info["uid"])
        parts = self._places.divide(slot, place, self.counters.clear(slot))
        self._index.remove(slot, int(info["pid"]), int(info["start_ns"]))
        self._texts.clear(slot)
        self._disk.clear(slot)
        self.info[slot] = np.zeros((), INFO)
        self.info["state"][slot] = FREE
        return [
            (Group(*(where if visible else (EXCLUDED, None)), uid), moved) for where, moved in parts
        ]

    # --- events and samples -------------------------------------------------------------------

    def seen(self, event: ProcessSeen) -> None:
        """Take a description; one of a program that has been replaced since is ignored."""
        self._describe(self.slot(event.pid, event.start_ns), event)

    def _describe(self, slot: int, event: ProcessSeen) -> None:
        info = self.info[slot]
        known = self._texts.name(slot), int(info["uid"])
        newer = bool(event.time_ns >= info["seen_ns"])
        if not newer and known[0] != event.name:
            return
        place = self._texts.place(slot)
        self._texts.describe(slot, event, newer=newer)
        if place is not None and place != self._texts.place(slot):
            # What it moved in this tick counts for where it is now.
            self._places.leave(slot, place, self.counters.before(slot))
        if newer:
            info["seen_ns"], info["ppid"], info["uid"] = event.time_ns, event.ppid, event.uid
            info["netns"] = info["netns"] if event.netns is None else event.netns
        if known != (self._texts.name(slot), int(info["uid"])):
            self._update_visible(slot)

    def _update_visible(self, slot: int) -> None:
        pid, uid = int(self.info["pid"][slot]), int(self.info["uid"][slot])
        self.info["visible"][slot] = self._visible(pid, self._texts.name(slot), uid)

    def exited(self, event: ProcessExited) -> None:
        """Mark a process as exited, with its final disk counters."""
        known = self._index.find(event.pid, event.start_ns) is not None
        slot = self.slot(event.pid, event.start_ns)
        if not known:
            self._unknown_until_exit.append(slot)
        self._exit(slot, event.time_ns)
        finals = event.disk_read_bytes, event.disk_write_bytes
        self._set_disk(slot, self._disk.final(slot, finals))

    def _exit(self, slot: int, time_ns: int) -> None:
        if self.info["state"][slot] == RUNNING:
            self.info["state"][slot] = EXITED
            self.info["exited_ns"][slot] = time_ns

    def sample(self, sample: ProcSample) -> int | None:
        """Take a sample from /proc; return the slot, None if the process is no longer known."""
        slot = self._index.find(sample.pid, sample.start_ns)
        if slot is None:
            return None
        self.info["sampled_ns"][slot] = self._now_ns
        if sample.gone:
            self._exit(slot, self._now_ns)
            return slot
        if sample.disk is not None:
            self._set_disk(slot, self._disk.sample(slot, sample.disk))
        if sample.seen is not None:
            self._describe(slot, sample.seen)
        return slot

    def _set_disk(self, slot: int, counted: Bytes | None) -> None:
        if counted is not None:
            self.counters.set_disk(slot, counted)

    # --- selections ---------------------------------------------------------------------------

    def exited_before(self, limit_ns: int, keep: int) -> NDArray[np.bool_]:
        """Mark the slots of exited processes that need not be shown any longer.

        Those exited at ``limit_ns`` or earlier, or are not among the ``keep`` newest.
        """
        exited = self.info["state"] == EXITED
        if np.count_nonzero(exited) > keep:
            times = np.sort(self.info["exited_ns"][exited])
            limit_ns = max(limit_ns, int(times[-keep - 1]))
        if limit_ns < 0:
            return np.zeros_like(exited)
        return np.asarray(exited & (self.info["exited_ns"] <= np.uint64(limit_ns)))

    def empty_at_exit(self) -> NDArray[np.bool_]:
        """Mark the slots of processes that moved nothing and were unknown until they exited now.

        They started before the daemon and ended before it had read /proc.
        """
        found = np.zeros(len(self.info), np.bool_)
        found[[s for s in self._unknown_until_exit if self.counters.moved_nothing(s)]] = True
        return found

    def described(self) -> set[int]:
        """Return the PIDs of the running processes whose description has been seen."""
        info = self.info
        return set(info["pid"][(info["state"] == RUNNING) & (info["seen_ns"] > 0)].tolist())

    def known_from_proc(self) -> list[ProcessKey]:
        """Return the running processes that only /proc has shown: their exit may cause no event."""
        info = self.info
        chosen = info[(info["state"] == RUNNING) & (info["start_ns"] % START_TICK_NS == 0)]
        return list(zip(chosen["pid"].tolist(), chosen["start_ns"].tolist(), strict=True))

    def due(self, budget: int, quiet: Quiet | None = None) -> Due:
        """Return at most ``budget`` running processes that /proc should be asked about most.

        First those without a disk baseline, then those that moved bytes, then those of the others
        that ``quiet`` allows, starting with the ones sampled longest ago.
        """
        slots = np.flatnonzero(self.info["state"] == RUNNING)
        info = self.info[slots]
        settled = ~self._disk.needs_baseline(slots)
        quiet_ones = settled & ~(self.counters.active[slots] | self._disk.busy(slots))
        order = np.lexsort((info["sampled_ns"], quiet_ones, settled))
        urgent = len(order) - int(np.count_nonzero(quiet_ones))
        if quiet is not None:
            rest = order[urgent:]
            waited_ns = self._now_ns - info["sampled_ns"][rest].astype(np.int64)
            order = np.append(order[:urgent], rest[waited_ns >= quiet.every_ns][: quiet.budget])
        chosen = info[order[:budget]]
        described = info["seen_ns"][info["seen_ns"] > 0].astype(np.int64)
        return Due(
            keys=list(zip(chosen["pid"].tolist(), chosen["start_ns"].tolist(), strict=True)),
            waiting=max(0, urgent - budget),
            oldest_ns=max(0, self._now_ns - int(described.min())) if len(described) else None,
        )

    def freeze(self) -> ProcessRows:
        """Copy everything that a snapshot needs."""
        high = self._index.high
        counters, deltas = self.counters.freeze(high)
        return ProcessRows(
            info=self.info[:high].copy(),
            texts=self._texts.freeze(),
            counters=counters,
            deltas=deltas,
            disk_elapsed_s=self._disk.elapsed_s[:high].copy(),
        )
