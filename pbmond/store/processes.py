"""The processes: who they are, whether they run, and their counters, a slot each.

A slot is a position in parallel arrays. A process keeps its slot until it is freed. Index, texts,
counters and disk bytes of the slots have modules of their own; this one decides what changes them.
``process_choices`` decides which of them are due.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pbmond.fields import NO_COUNT, NO_UID, STATES, TABLES
from pbmond.kernel.records import (
    START_TICK_NS,
    Event,
    IoAccounting,
    ProcessExited,
    ProcessSeen,
    ProcSample,
)
from pbmond.store.own_views import OwnRows, OwnViews, Word
from pbmond.store.process_counters import IN_PLACE, ProcessCounters, SlotOrder, resized
from pbmond.store.process_disk import Bytes, ProcessDisk
from pbmond.store.process_index import ProcessIndex
from pbmond.store.process_places import ProcessPlaces, Sums
from pbmond.store.process_texts import Place, ProcessTexts
from pbmond.store.retired import Group, Retired
from pbmond.store.rows import RowState

Visible = Callable[[int, bytes, int], bool]  # pid, name, uid

#: Retired unit of the processes that the configuration hides.
EXCLUDED = b"(excluded)"
RUNNING = STATES.index("running")
EXITED = STATES.index("exited")
FREE = 255

_CAPACITY = 256  # slots at first, and at least
#: Memory for slots is given back when it was so long that most of it was free.
ROOMY_NS = 10_000_000_000

BEFORE = tuple(name for name in TABLES["processes"] if name.startswith("before_"))
INFO = np.dtype(
    [
        ("start_ns", "<u8"),
        ("shown_start_ns", "<u8"),  # as first published: viewers identify the process by it
        ("exited_ns", "<u8"),
        ("seen_ns", "<u8"),  # time of the newest ProcessSeen; 0: none yet
        ("sampled_ns", "<u8"),  # tick of the newest ProcSample
        ("born", "<u8"),  # tick in which the slot got this process
        # What it had moved before counting began; NO_COUNT: not known.
        *((name, "<u8") for name in BEFORE),
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
    that the disk deltas took. ``own`` is what their users may see.
    """

    info: NDArray[np.void]
    texts: dict[str, list[bytes | None]]
    counters: NDArray[np.uint64]
    deltas: NDArray[np.uint64]
    disk_elapsed_s: NDArray[np.float64]
    own: OwnRows


def places_of(order: NDArray[np.intp], slots: int) -> NDArray[np.int32]:
    """Return the place in ``order`` of each of so many slots; -1: none, and so is the last."""
    places = np.full(slots + 1, -1, np.int32)
    places[order] = np.arange(len(order))
    return places


def _set_before(info: np.void, values: Sequence[int]) -> None:
    for name, value in zip(BEFORE, values, strict=True):
        info[name] = value


class ProcessTable:
    """``begin`` a tick, then feed it; ``counters`` are fed by the store."""

    def __init__(self, visible: Visible, started_ns: int) -> None:
        self._visible = visible
        self._index = ProcessIndex()
        self._texts = ProcessTexts()
        self._places = ProcessPlaces()
        self._tick = 0
        self._unknown_until_exit: list[int] = []  # slots, in this tick
        self.now_ns = 0
        self._crowded_ns = 0  # when the slots were in use last
        self.counters = ProcessCounters(_CAPACITY)
        self.disk = ProcessDisk(_CAPACITY, started_ns)
        self.views = OwnViews(_CAPACITY)
        #: What users have seen of processes that they see no longer.
        self.own_retired = Retired()
        self.info = np.zeros(_CAPACITY, INFO)
        self.info["state"] = FREE

    def begin(self, tick: int, now_ns: int, interval_ns: int) -> None:
        """Start a tick: what is counted from here on is its delta."""
        self._tick, self.now_ns = tick, now_ns
        self._unknown_until_exit.clear()
        self.counters.begin(self._index.high)
        self.disk.begin(now_ns, interval_ns)
        self.views.begin(tick)

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
            self._resize(2 * slot)
        info = self.info[slot]
        info["pid"], info["born"] = pid, self._tick
        info["start_ns"] = info["shown_start_ns"] = start_ns
        info["uid"], info["state"] = NO_UID, RUNNING
        _set_before(info, (NO_COUNT,) * 4)
        self._texts.add(slot)
        self.disk.add(slot, start_ns)
        self.views.add(slot)
        self._update_visible(slot)
        if predecessor is not None:  # two processes cannot have one PID at a time
            other, other_ns = predecessor
            self._exit(other if other_ns < start_ns else slot, self.now_ns)
        return slot

    def _resize(self, capacity: int, order: SlotOrder = IN_PLACE) -> None:
        used = len(self.info[order])
        self.info = resized(self.info, capacity, order)
        self.info["state"][used:] = FREE
        self.counters.resize(capacity, order)
        self.disk.resize(capacity, order)
        self.views.resize(capacity, order)

    def compact(self) -> NDArray[np.intp] | None:
        """If most slots have been free for a while, move the processes to the first ones.

        Call it right after ``begin``. Returns which slot each of them had, None if they stay.
        """
        capacity, used = len(self.info), len(self._index)
        roomy = 2 * used <= self._index.high or 4 * used <= capacity
        if capacity == _CAPACITY or not roomy:
            self._crowded_ns = self.now_ns
            return None
        if self.now_ns - self._crowded_ns < ROOMY_NS:
            return None
        order = np.flatnonzero(self.info["state"] != FREE)
        self.views.reorder(order, places_of(order, capacity))
        self._resize(max(_CAPACITY, 2 * used), order)
        self._texts.reorder(order.tolist())
        self._places.reorder(order.tolist())
        self._index = ProcessIndex()
        for process in self.info[["pid", "start_ns"]][:used].tolist():
            self._index.add(*process)
        return order

    def free(self, slot: int) -> list[tuple[Group, NDArray[np.uint64]]]:
        """Forget a process; return its final counters by group, the one it ended in first."""
        info = self.info[slot]
        place = self._texts.place(slot) or (None, None)
        visible, uid = bool(info["visible"]), int(info["uid"])
        final = self.counters.clear(slot)
        parts = self._places.divide(slot, place, final)
        own = [(place, final - self.views.before(slot))] if self.views.is_partial(slot) else parts
        for index, (where, moved) in enumerate(own):
            self._retire_own(slot, where, moved, processes=not index)
        self._index.remove(slot, int(info["pid"]), int(info["start_ns"]))
        self._texts.clear(slot)
        self._texts.cut(self._index.high)
        self.disk.clear(slot)
        self.views.clear(slot)
        self.info[slot] = np.zeros((), INFO)
        self.info["state"][slot] = FREE
        return [
            (Group(*(where if visible else (EXCLUDED, None)), uid), moved) for where, moved in parts
        ]

    def _retire_own(self, slot: int, place: Place, moved: Sums, *, processes: int) -> None:
        """Keep for a user what they have seen of a process, of whom the view ends."""
        uid = self.views.shown_to(slot)
        if uid != NO_UID:
            where = place if self.info["visible"][slot] else (EXCLUDED, None)
            self.own_retired.add(Group(*where, uid), processes, moved)

    def _close(self, slot: int) -> None:
        """End a view with what it showed when the tick began."""
        seen = self.counters.before(slot) - self.views.before(slot)
        if seen.any():
            place = self._texts.place(slot) or (None, None)
            self._retire_own(slot, place, seen, processes=0)
        self.views.close(slot)

    def _tell(self, slot: int, word: Word) -> None:
        if self.views.contradicts(slot, word):
            self._close(slot)
        born = int(self.info["born"][slot])
        early = self.views.is_known(slot) or (word.announced and born == self._tick)
        moved = not early and not self.counters.moved_nothing(slot)
        self.views.tell(slot, word, born, moved=moved)

    # --- events and samples -------------------------------------------------------------------

    def seen(self, event: ProcessSeen) -> None:
        """Take a description; one of a program that has been replaced since is ignored."""
        # Only the kernel gives starts exactly.
        announced = event.start_ns % START_TICK_NS != 0
        slot = self.slot(event.pid, event.start_ns)
        self._describe(slot, event, Word(event.viewer, announced))

    def foresee(self, events: Sequence[Event]) -> None:
        """Take what came after the reading: it may be about the last of the tick's bytes."""
        for event in events:
            if isinstance(event, ProcessSeen):
                slot = self._index.find(event.pid, event.start_ns)
                if slot is not None:
                    self._tell(slot, Word(event.viewer, announced=True, ahead=True))

    def lose(self) -> None:
        """Note that events were lost in this tick: who may see what is known from /proc only."""
        for slot in self.views.lose(self.info["state"] == RUNNING).tolist():
            self._close(slot)

    def _describe(self, slot: int, event: ProcessSeen, word: Word) -> None:
        info = self.info[slot]
        known = self._texts.name(slot), int(info["uid"])
        newer = bool(event.time_ns >= info["seen_ns"])
        self._tell(slot, word if newer else replace(word, newest=False))
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
        counted = self.disk.final(slot, finals)
        if counted is not None and self.views.is_partial(slot):
            self._close(slot)  # it may have moved them before the view began
        self._set_disk(slot, counted)

    def _exit(self, slot: int, time_ns: int) -> None:
        if self.info["state"][slot] == RUNNING:
            self.info["state"][slot] = EXITED
            self.info["exited_ns"][slot] = time_ns

    def sample(self, sample: ProcSample) -> int | None:
        """Take a sample from /proc; return the slot, None if the process is no longer known."""
        slot = self._index.find(sample.pid, sample.start_ns)
        if slot is None:
            return None
        self.info["sampled_ns"][slot] = self.now_ns
        if sample.gone:
            self._exit(slot, self.now_ns)
            return slot
        if sample.disk is None:
            self.disk.miss(slot)
        else:
            self._set_disk(slot, self.disk.sample(slot, sample.disk))
        if sample.seen is not None:
            word = Word(sample.seen.viewer, announced=False, ahead=True)
            self._describe(slot, sample.seen, word)
            if sample.disk is not None:
                self.views.confirm(slot)
        return slot

    def postpone(self, pid: int, start_ns: int) -> int | None:
        """Say that a process was due for a sample and had none; return what ``sample`` returns."""
        slot = self._index.find(pid, start_ns)
        if slot is not None:
            self.disk.miss(slot)
        return slot

    def set_before(self, accounting: IoAccounting) -> None:
        """Take the kernel's own counters of a process, read after counting began.

        What has been counted since is not before. All of it is subtracted, whether the kernel's
        counters have it or not: rather too little than a byte in both.
        """
        slot = self._index.find(accounting.pid, accounting.start_ns)
        if slot is None:
            return
        counted = self.counters.calls_moved(slot)
        calls = zip((accounting.read, accounting.write), counted, strict=True)
        moved = [max(0, theirs - ours) for theirs, ours in calls]
        _set_before(self.info[slot], (*moved, accounting.disk_read, accounting.disk_write))
        # Its disk bytes count from this reading on, not from the first look.
        if accounting.disk is not None and self.info["state"][slot] == RUNNING:
            self._set_disk(slot, self.disk.sample(slot, accounting.disk))

    def _set_disk(self, slot: int, counted: Bytes | None) -> None:
        if counted is not None:
            self.counters.set_disk(slot, counted)

    def empty_at_exit(self) -> NDArray[np.bool_]:
        """Mark the slots of processes that moved nothing and were unknown until they exited now.

        They started before the daemon and ended before it had read /proc.
        """
        found = np.zeros(len(self.info), np.bool_)
        found[[s for s in self._unknown_until_exit if self.counters.moved_nothing(s)]] = True
        return found

    def cgroups(self) -> set[tuple[bytes | None, int]]:
        """Return the cgroup and user of every process; None: the cgroup is not known."""
        return set(zip(self._texts.cgroups(), self.info["uid"].tolist(), strict=False))

    # --- out ----------------------------------------------------------------------------------

    def settle(self, flows: RowState, files: RowState) -> None:
        """End the tick: decide whose views show it, and whose show the next one."""
        for slot in self.views.unannounced(self.counters.active).tolist():
            self._close(slot)
        self.views.settle(self.counters, flows, files)

    def freeze(self) -> ProcessRows:
        """Copy everything that a snapshot needs."""
        high = self._index.high
        counters, deltas = self.counters.freeze(high)
        return ProcessRows(
            info=self.info[:high].copy(),
            texts=self._texts.freeze(),
            counters=counters,
            deltas=deltas,
            disk_elapsed_s=self.disk.elapsed_s[:high].copy(),
            own=self.views.freeze(high),
        )
