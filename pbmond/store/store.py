"""The store: what every process, connection and file has moved, tick by tick.

The difference between two readings is added to the process, so deleted keys, exits and reused PIDs
take nothing away: processes + retired = totals. Time comes with the readings, not from a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbmond.fields import COUNTERS, NO_UID
from pbmond.kernel.records import (
    FILE_KEY,
    FLOW_KEY,
    OVERFLOW_KEY,
    Baseline,
    Event,
    FileSeen,
    HostReading,
    KernelRows,
    ProcessExited,
    ProcessSeen,
    ProcSample,
    Reading,
)
from pbmond.store.before import Before
from pbmond.store.coverage import Coverage
from pbmond.store.movement import Movements
from pbmond.store.naming import Naming
from pbmond.store.openness import set_open
from pbmond.store.process_choices import (
    Due,
    Quiet,
    described,
    due,
    exited_before,
    known_from_proc,
    running,
)
from pbmond.store.process_index import ProcessKey
from pbmond.store.processes import ProcessTable, places_of
from pbmond.store.recent_rates import RATE_INDEXES, History, Plane
from pbmond.store.retired import Group, Retired
from pbmond.store.rows import Leave, Moved, RowState, RowTable
from pbmond.store.snapshot import StoreSnapshot, process_rates, sum_rates
from pbmond.store.values import ROWS, values_of

#: Written before a path whose beginning was cut off; whole paths begin with a slash.
CUT = b"..."


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How long rows stay. If more than ``exited_max`` processes have exited, the oldest go early.

    ``capacities`` are those of the kernel's tables of flows, files and overflow. When one is three
    quarters full, its quietest rows go early; their bytes stay with the process.
    ``socket_device`` is the device of all sockets, as the kernel numbers devices.
    ``visible(pid, name, uid)`` applies the configuration's include and exclude lists: a process
    that it hides is counted but never shown.
    """

    exited_linger_ns: int
    idle_linger_ns: int
    history_length: int
    visible: Callable[[int, bytes, int], bool]
    exited_max: int = 5_000
    capacities: tuple[int, int, int] = (131_072, 131_072, 65_536)
    socket_device: int = 0


@dataclass(frozen=True, slots=True)
class Retire:
    """Ids of the rows whose kernel keys may be deleted now."""

    flows: NDArray[np.uint64]
    files: NDArray[np.uint64]
    overflow: NDArray[np.uint64]


class Store:
    """For each tick: ``apply``, ``fold`` what was deleted, ``apply_proc``, then ``snapshot``."""

    def __init__(self, options: StoreOptions, started_ns: int) -> None:
        """``started_ns``: CLOCK_BOOTTIME when counting began."""
        self._options = options
        self._processes = ProcessTable(options.visible, started_ns)
        self._retired = Retired()
        self._flows = RowTable(FLOW_KEY)
        self._files = RowTable(FILE_KEY)
        self._overflow = RowTable(OVERFLOW_KEY)
        self._naming = Naming()
        self._new_files = np.zeros(0, np.uint64)
        self._history = History(options.history_length)
        self._coverage = Coverage()
        self._baseline: Baseline | None = None  # until the first tick
        self._before = Before()
        self._listening: frozenset[tuple[int, int]] = frozenset()
        self._uncovered: list[tuple[RowTable, RowState, NDArray[np.int32], Moved]] = []
        self._moved = Movements()
        self._unread = np.zeros(len(COUNTERS), np.uint64)
        self._lost_events = 0
        self._tick = 0
        self._time_ns = 0
        self._wall_ns = 0
        self._interval_ns = 0

    def set_listening(self, ports: Iterable[tuple[int, int]]) -> None:
        """Take the (netns, port) pairs that were listening when the daemon started."""
        self._listening = frozenset(ports)

    def set_baseline(self, reading: HostReading) -> None:
        """Take the host's own counters as they were when the daemon began to count."""
        self._coverage.begin(reading)

    def set_before(self, baseline: Baseline) -> None:
        """Take what processes and connections had moved, read before the first tick."""
        self._baseline = baseline

    # --- a tick -------------------------------------------------------------------------------

    def apply(self, reading: Reading) -> Retire:
        """Take one reading, and return the keys that may be deleted now.

        Those are keys of processes that exited a while ago, and idle ones. Whether they are deleted
        or not, each is counted once. The arrays of the reading are kept: do not change them.
        """
        self._interval_ns = reading.time_ns - self._time_ns if self._tick else 0
        self._time_ns, self._wall_ns = reading.time_ns, reading.wall_ns
        self._tick += 1
        self._cover()
        self._moved = Movements()
        self._unread = np.zeros(len(COUNTERS), np.uint64)
        self._processes.begin(self._tick, reading.time_ns, self._interval_ns)
        self._compact()
        self._free_finished()
        self._note_lost(reading.lost)
        self._apply_events(reading.events)
        self._coverage.begin(reading.host)
        for table, rows in self._tables((reading.flows, reading.files, reading.overflow)):
            unknown, moved = table.advance(rows, reading.time_ns)
            keys = table.state.keys[unknown]
            if table is self._files:
                self._new_files = table.state.counters["id"][unknown]
            table.assign(unknown, self._processes.slots_of(keys["pid"], keys["start_ns"]))
            self._count(table, table.state.slots[moved.index], moved)
        self._processes.foresee(reading.ahead)
        self._take_before()
        self._drop(self._processes.empty_at_exit())
        return self._retire()

    def _compact(self) -> None:
        slots = len(self._processes.info)
        order = self._processes.compact()
        if order is not None:
            places = places_of(order, slots)
            for table in (self._flows, self._files, self._overflow):
                table.renumber(places)
            self._history.reorder(order)

    def _note_lost(self, lost: Mapping[str, int]) -> None:
        events = lost.get("events", 0)
        if events != self._lost_events:
            self._lost_events = events
            self._processes.lose()

    def _take_before(self) -> None:
        """Join the baseline with the rows of the first reading."""
        if self._baseline is None:
            return
        for accounting in self._baseline.processes:
            self._processes.set_before(accounting)
        state = self._flows.state
        self._before = Before(self._baseline.connections, state.keys, state.counters)
        self._baseline = None

    def _tables(
        self, parts: tuple[KernelRows, KernelRows, KernelRows]
    ) -> Iterable[tuple[RowTable, KernelRows]]:
        return zip((self._flows, self._files, self._overflow), parts, strict=True)

    def _apply_events(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, ProcessSeen):
                self._processes.seen(event)
            elif isinstance(event, ProcessExited):
                self._processes.exited(event)
            elif isinstance(event, FileSeen):
                self.name((event,))
            else:
                self._flows.names[event.id] = event

    def _count(self, table: RowTable, slots: NDArray[np.int32], moved: Moved) -> None:
        state, index, deltas = table.state, moved.index, moved.deltas
        classes = (state.keys if table is self._overflow else state.counters)["class"][index]
        self._processes.counters.add(slots, classes, deltas)
        if table is not self._overflow:
            self._moved.add(table, slots, moved)
        if table is not self._files:
            self._uncovered.append((table, state, slots, moved))

    def _cover(self) -> None:
        """Give the bytes of connections to interfaces and users: the tick's views are known."""
        for table, state, slots, moved in self._uncovered:
            uids = self._processes.views.uids(slots)
            if table is self._flows:
                self._coverage.add(state.keys, state.counters, moved.index, uids, moved.deltas)
            else:
                classes = state.keys["class"][moved.index]
                self._coverage.add_elsewhere(uids, classes, moved.deltas)
        self._uncovered.clear()

    # --- leaving ------------------------------------------------------------------------------

    def _finished(self) -> NDArray[np.bool_]:
        options = self._options
        limit_ns = self._time_ns - options.exited_linger_ns
        return exited_before(self._processes.info, limit_ns, options.exited_max)

    def _free_finished(self) -> None:
        """Move the finished processes that have no rows to the retired totals.

        This happens at the start of a tick: a process is in the snapshot of the tick in which it
        exited, and none has moved anything in the new tick, which the totals' rate would lack.
        """
        for parts in self._drop(self._finished()):
            for index, (group, counters) in enumerate(parts):
                self._retired.add(group, not index, counters)  # it is counted where it ended

    def _drop(self, slots: NDArray[np.bool_]) -> list[list[tuple[Group, NDArray[np.uint64]]]]:
        """Free those of ``slots`` that have no rows; return each one's final counters by group."""
        if slots.any():
            for table in (self._flows, self._files, self._overflow):
                slots[table.state.slots[table.state.slots >= 0]] = False
        return [self._processes.free(slot) for slot in np.flatnonzero(slots).tolist()]

    def _retire(self) -> Retire:
        finished = self._finished()
        tables = (self._flows, self._files, self._overflow)
        return Retire(
            *(
                table.retire(finished, self._leave(capacity))
                for table, capacity in zip(tables, self._options.capacities, strict=True)
            )
        )

    def _leave(self, capacity: int) -> Leave:
        options = self._options
        return Leave(
            idle_before_ns=self._time_ns - options.idle_linger_ns,
            closed_before_ns=self._time_ns - options.exited_linger_ns,
            quiet_before_ns=self._time_ns - self._interval_ns if self._interval_ns else -1,
            calm=capacity // 2,
            room=capacity * 3 // 4,
        )

    def fold(
        self, flows: NDArray[np.void], files: NDArray[np.void], overflow: NDArray[np.void]
    ) -> None:
        """Take the final values (COUNTER arrays) of the keys that were deleted in this tick.

        Keys of ``Retire`` that could not be deleted are returned again in the next tick.
        """
        finals = (flows, files, overflow)
        for table, counters in zip((self._flows, self._files, self._overflow), finals, strict=True):
            owners, moved, unread = table.fold(counters)
            self._count(table, owners, moved)
            if len(unread):
                self._retire_unread(unread)

    def _retire_unread(self, counters: NDArray[np.void]) -> None:
        """Count keys that were deleted before any reading showed them: their process is unknown."""
        sums = np.zeros(len(COUNTERS), np.uint64)
        np.add.at(sums, ROWS[counters["class"]], values_of(counters).T)
        self._unread += sums
        self._retired.add(Group(None, None, NO_UID), 0, sums)
        unknown = np.full(len(counters), NO_UID, np.uint32)
        self._coverage.add_elsewhere(unknown, counters["class"], values_of(counters).T)

    # --- names of files -----------------------------------------------------------------------

    def names_due(self, budget: int) -> NDArray[np.uint64]:
        """Return the ids of at most ``budget`` file rows whose names should be compared now."""
        return self._naming.due(self._files.state, budget)

    def new_files(self) -> NDArray[np.uint64]:
        """Return the ids of the file rows that this tick was the first to read."""
        return self._new_files

    def name(self, files: Iterable[FileSeen]) -> None:
        """Take the names that file rows have from now on."""
        for each in files:
            self._files.names[each.id] = each.path if each.whole else CUT + each.path

    # --- /proc --------------------------------------------------------------------------------

    def described(self) -> set[int]:
        """Return the PIDs of the running processes whose description has been seen."""
        return described(self._processes.info)

    def known_from_proc(self) -> list[ProcessKey]:
        """Return the running processes that only /proc has shown: their exit may cause no event."""
        return known_from_proc(self._processes.info)

    def running(self) -> list[ProcessKey]:
        """Return all processes whose end has not been seen."""
        return running(self._processes.info)

    def cgroups(self) -> set[tuple[bytes | None, int]]:
        """Return the cgroup and user of every process; None: the cgroup is not known."""
        return self._processes.cgroups()

    def due(self, budget: int, quiet: Quiet | None = None) -> Due:
        """Return at most ``budget`` processes whose /proc data should be read now.

        Those that have moved nothing are looked at as ``quiet`` says; None: as the budget allows.
        """
        return due(self._processes, budget, quiet)

    def apply_proc(
        self, samples: Sequence[ProcSample], postponed: Iterable[ProcessKey] = ()
    ) -> None:
        """Take the samples of processes that /proc gave in this tick.

        Of the ``postponed``, which should have had one, it is not known what they do on disks and
        have open.
        """
        listed: list[int] = []
        slots = (self._processes.postpone(*each) for each in postponed)
        unlisted = [slot for slot in slots if slot is not None]
        opened: list[tuple[int, int, int]] = []
        for sample in samples:
            slot = self._processes.sample(sample)
            if slot is None or sample.gone:
                continue
            if sample.open_inodes is None:
                unlisted.append(slot)
                continue
            listed.append(slot)
            opened.extend((slot, inode, device) for device, inode in sample.open_inodes)
        if listed or unlisted:
            found = np.array(opened, np.uint64).reshape(-1, 3)
            set_open(
                self._flows, self._files, (listed, unlisted, found), self._options.socket_device
            )

    # --- out ----------------------------------------------------------------------------------

    def snapshot(self) -> StoreSnapshot:
        """Return the state after this tick; later ticks do not change it."""
        self._processes.settle(self._flows.state, self._files.state)
        self._cover()
        processes = self._processes.freeze()
        rates = process_rates(processes, self._interval_ns)
        curves = rates[list(RATE_INDEXES)]
        host = sum_rates(curves, self._interval_ns).astype(np.float32)
        self._history.record(Plane(self._tick, host, curves.astype(np.float32)))
        return StoreSnapshot(
            time_ns=self._time_ns,
            wall_ns=self._wall_ns,
            interval_ns=self._interval_ns,
            processes=processes,
            rates=rates,
            retired=self._retired.rows(),
            own_retired=self._processes.own_retired.rows(),
            flows=self._flows.view(),
            before=self._before,
            files=self._files.view(),
            flows_moved=self._moved.of(self._flows),
            files_moved=self._moved.of(self._files),
            unread=self._unread,
            planes=self._history.planes(),
            listening=self._listening,
            coverage=self._coverage.freeze(first=not self._interval_ns),
        )
