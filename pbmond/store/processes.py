"""The processes: identity, attributes and cumulative counters, a slot each in parallel arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbmond.fields import COUNTERS, NO_UID, STATES
from pbmond.host.cgroup import container_of, unit_of
from pbmond.kernel.records import START_TICK_NS, ProcessExited, ProcessSeen, ProcSample, same_start
from pbmond.store.values import ROWS

Visible = Callable[[int, bytes, int], bool]  # pid, name, uid

UNKNOWN_NAME = b"?"
#: Retired unit of the processes that the configuration hides.
EXCLUDED = b"(excluded)"
RUNNING = STATES.index("running")
EXITED = STATES.index("exited")
FREE = 255

#: The rows of COUNTERS that hold the bytes read from and written to disks.
DISK = slice(COUNTERS.index("disk_read_bytes"), COUNTERS.index("disk_write_bytes") + 1)
_CAPACITY = 256  # slots at first
TEXTS = ("name", "exe", "cmdline", "cgroup", "unit", "container")

INFO = np.dtype(
    [
        ("start_ns", "<u8"),
        ("told_ns", "<u8"),  # the same as viewers know it, who tell processes apart by it
        ("exited_ns", "<u8"),
        ("seen_ns", "<u8"),  # time of the newest ProcessSeen
        ("sampled_ns", "<u8"),  # tick of the newest ProcSample
        ("disk_ns", "<u8"),  # when the disk counters were last known
        ("disk_base", "<u8", 2),  # read and written before counting began
        ("disk_last", "<u8", 2),  # as last sampled
        ("born", "<u8"),  # tick in which the slot got this process
        ("pid", "<u4"),
        ("ppid", "<u4"),
        ("uid", "<u4"),
        ("netns", "<u4"),
        ("state", "u1"),
        ("visible", "?"),
        ("disk_known", "?"),  # the disk counters have a baseline
        ("disk_busy", "?"),  # they moved at the newest sample
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


@lru_cache(maxsize=4096)
def _cgroup_names(path: bytes) -> tuple[bytes, bytes | None, bytes | None]:
    # The path itself is returned so that processes of one cgroup share one object.
    return path, unit_of(path), container_of(path)


def _widened(array: NDArray[Any], capacity: int) -> NDArray[Any]:
    """Copy ``array`` with its last axis filled up to ``capacity`` by zeros."""
    wide = np.zeros((*array.shape[:-1], capacity), array.dtype)
    wide[..., : array.shape[-1]] = array
    return wide


class ProcessTable:
    """Owns the slots. ``begin`` a tick, then feed it; a slot stays with its process until freed."""

    def __init__(self, visible: Visible, started_ns: int) -> None:
        self._visible = visible
        self._started_ns = started_ns
        self._slots: dict[tuple[int, int], int] = {}
        self._in_tick: dict[tuple[int, int], int] = {}  # the same by START_TICK_NS
        self._newest: dict[int, int] = {}  # pid -> slot of its latest process
        self._free: list[int] = []
        self._now_ns = 0
        self._interval_ns = 0
        self._tick = 0
        self._texts: dict[str, list[bytes | None]] = {name: [] for name in TEXTS}
        self.high = 0  # slots ever used
        self.info = np.zeros(_CAPACITY, INFO)
        self.info["state"] = FREE
        self._counters = np.zeros((len(COUNTERS), _CAPACITY), np.uint64)
        self._before = np.zeros_like(self._counters)
        self._disk_elapsed_s = np.zeros(_CAPACITY)
        self._active = np.zeros(_CAPACITY, np.bool_)

    def _grow(self) -> None:
        capacity = 2 * self.high
        self.info = _widened(self.info, capacity)
        self.info["state"][self.high :] = FREE
        self._counters = _widened(self._counters, capacity)
        self._before = _widened(self._before, capacity)
        self._disk_elapsed_s = _widened(self._disk_elapsed_s, capacity)
        self._active = _widened(self._active, capacity)

    def begin(self, tick: int, now_ns: int, interval_ns: int) -> None:
        """Start a tick: what is counted from here on is its delta."""
        self._tick, self._now_ns, self._interval_ns = tick, now_ns, interval_ns
        self._before[:, : self.high] = self._counters[:, : self.high]
        self._disk_elapsed_s[:] = np.where(self.info["disk_known"], interval_ns / 1e9, np.nan)
        self._active[:] = False

    # --- identity -----------------------------------------------------------------------------

    def slots_of(
        self, pids: NDArray[np.uint32], starts_ns: NDArray[np.uint64]
    ) -> NDArray[np.int32]:
        """Return the slot of each (pid, start_ns), making those that are new."""
        pairs = zip(pids.tolist(), starts_ns.tolist(), strict=True)
        return np.fromiter((self.slot(*pair) for pair in pairs), np.int32, len(pids))

    def find(self, pid: int, start_ns: int) -> int | None:
        """Return the slot of a process, or None if there is no such process.

        /proc tells a start time less exactly than the kernel's keys (``records.same_start``).
        """
        slot = self._slots.get((pid, start_ns))
        if slot is not None:
            return slot
        near = self._in_tick.get((pid, start_ns // START_TICK_NS))
        if near is not None and same_start(int(self.info["start_ns"][near]), start_ns):
            return near
        return None

    def slot(self, pid: int, start_ns: int) -> int:
        """Return the slot of a process, making it if the process is new."""
        slot = self._slots.get((pid, start_ns))
        if slot is not None:
            return slot
        slot = self.find(pid, start_ns)
        if slot is None:
            return self._add(pid, start_ns)
        known_ns = int(self.info["start_ns"][slot])
        if start_ns > known_ns:  # it was found in /proc first: this is the exact time
            del self._slots[pid, known_ns]
            self._slots[pid, start_ns] = slot
            self.info["start_ns"][slot] = start_ns
            if self.info["born"][slot] == self._tick:  # nobody has seen it yet
                self.info["told_ns"][slot] = start_ns
        return slot

    def _add(self, pid: int, start_ns: int) -> int:
        if self._free:
            slot = self._free.pop()
        else:
            slot = self.high
            if slot == len(self.info):
                self._grow()
            self.high += 1
            for column in self._texts.values():
                column.append(None)
        self._slots[pid, start_ns] = slot
        self._in_tick[pid, start_ns // START_TICK_NS] = slot
        # Of a process as old as the daemon, the bytes before it cannot be told from those since.
        disk_known = start_ns >= self._started_ns
        info = self.info[slot]
        info["pid"], info["born"] = pid, self._tick
        info["start_ns"] = info["told_ns"] = start_ns
        info["uid"], info["state"], info["disk_known"] = NO_UID, RUNNING, disk_known
        info["disk_ns"] = start_ns
        self._disk_elapsed_s[slot] = self._interval_ns / 1e9 if disk_known else np.nan
        self._texts["name"][slot] = UNKNOWN_NAME
        self._update_visible(slot)
        self._end_predecessor(slot, pid, start_ns)
        return slot

    def _end_predecessor(self, slot: int, pid: int, start_ns: int) -> None:
        """Two processes cannot have one pid at a time: the older one has exited."""
        other = self._newest.get(pid)
        if other is None:
            self._newest[pid] = slot
        elif self.info["start_ns"][other] < start_ns:
            self._newest[pid] = slot
            self._exit(other, self._now_ns)
        else:
            self._exit(slot, self._now_ns)

    def _exit(self, slot: int, time_ns: int) -> None:
        if self.info["state"][slot] == RUNNING:
            self.info["state"][slot] = EXITED
            self.info["exited_ns"][slot] = time_ns

    def free(self, slot: int) -> tuple[tuple[bytes | None, int], NDArray[np.uint64]]:
        """Forget a process; return its (unit, uid) and its final counters."""
        info = self.info[slot]
        pid, uid = int(info["pid"]), int(info["uid"])
        group = (self._texts["unit"][slot] if info["visible"] else EXCLUDED, uid)
        counters = self._counters[:, slot].copy()
        start_ns = int(info["start_ns"])
        del self._slots[pid, start_ns]
        if self._in_tick.get((pid, start_ns // START_TICK_NS)) == slot:
            del self._in_tick[pid, start_ns // START_TICK_NS]
        if self._newest.get(pid) == slot:
            del self._newest[pid]
        self._counters[:, slot] = 0
        self._before[:, slot] = 0
        self.info[slot] = np.zeros((), INFO)
        self.info["state"][slot] = FREE
        for column in self._texts.values():
            column[slot] = None
        self._free.append(slot)
        return group, counters

    # --- what is told about processes ----------------------------------------------------------

    def seen(self, event: ProcessSeen) -> None:
        """Take the attributes of a process; those of an older program are not news."""
        slot = self.slot(event.pid, event.start_ns)
        same = self._texts["name"][slot] == event.name
        newer = event.time_ns >= self.info["seen_ns"][slot]
        if not newer and not same:
            return
        for name in ("exe", "cmdline", "cgroup"):
            old, value = self._texts[name][slot], getattr(event, name)
            # A program may hide what the one before showed; its cgroup it has inherited.
            kept = value is None and (same or name == "cgroup")
            if not kept and (newer or old is None):
                self._texts[name][slot] = value
        if newer:
            info = self.info[slot]
            info["seen_ns"], info["ppid"], info["uid"] = event.time_ns, event.ppid, event.uid
            info["netns"] = info["netns"] if event.netns is None else event.netns
            self._texts["name"][slot] = event.name
        self._update_cgroup(slot)
        self._update_visible(slot)

    def _update_cgroup(self, slot: int) -> None:
        path = self._texts["cgroup"][slot]
        if path is not None:
            names = _cgroup_names(path)
            for name, value in zip(("cgroup", "unit", "container"), names, strict=True):
                self._texts[name][slot] = value

    def _update_visible(self, slot: int) -> None:
        info = self.info[slot]
        name = self._texts["name"][slot]
        assert name is not None  # noqa: S101 - set in _add, never cleared while the slot is used
        info["visible"] = self._visible(int(info["pid"]), name, int(info["uid"]))

    def exited(self, event: ProcessExited) -> None:
        """Mark a process as exited, with its final disk counters."""
        slot = self.slot(event.pid, event.start_ns)
        self._exit(slot, event.time_ns)
        finals = event.disk_read_bytes, event.disk_write_bytes
        if self._sample_disk(slot, finals):
            bases = self.info["disk_base"][slot].tolist()
            self._raise_disk(
                slot, [final - base for final, base in zip(finals, bases, strict=True)]
            )

    def sample(self, sample: ProcSample) -> int | None:
        """Take what /proc said; return the slot, or None if the process is not known (any more)."""
        slot = self.find(sample.pid, sample.start_ns)
        if slot is None:
            return None
        self.info["sampled_ns"][slot] = self._now_ns
        if sample.gone:
            self._exit(slot, self._now_ns)
            return slot
        if sample.read_bytes is not None and sample.write_bytes is not None:
            self._sample_disk_growth(slot, (sample.read_bytes, sample.write_bytes))
        if sample.uid is not None and sample.uid != self.info["uid"][slot]:
            self.info["uid"][slot] = sample.uid
            self._update_visible(slot)
        if sample.name is not None and sample.name != self._texts["name"][slot]:
            self._texts["name"][slot] = sample.name  # prctl(PR_SET_NAME), which no event tells
            self._update_visible(slot)
        return slot

    def _sample_disk_growth(self, slot: int, values: tuple[int, int]) -> None:
        """Add what the living threads have moved since the sample before.

        Their sum falls when a thread exits; what that thread moved since is missing until the
        process exits, with the sum over all its threads.
        """
        last = self.info["disk_last"][slot].tolist()
        if self._sample_disk(slot, values):
            counted = self._counters[DISK, slot].tolist()
            grown = [new - old for new, old in zip(values, last, strict=True)]
            self._raise_disk(slot, [sum(each) for each in zip(counted, grown, strict=True)])

    def _sample_disk(self, slot: int, values: tuple[int, int]) -> bool:
        """Note a sample and its time; False if it is only the baseline."""
        info = self.info[slot]
        known = bool(info["disk_known"])
        if not known:
            info["disk_known"], info["disk_base"] = True, values
        elif info["disk_ns"] < self._now_ns:
            # The bytes since the sample before, which may be many ticks ago.
            elapsed_ns = max(self._now_ns - int(info["disk_ns"]), self._interval_ns)
            self._disk_elapsed_s[slot] = elapsed_ns / 1e9
        info["disk_ns"], info["disk_last"], info["disk_busy"] = self._now_ns, values, False
        return known

    def _raise_disk(self, slot: int, values: list[int]) -> None:
        """Set the disk counters, which never go down."""
        for row, value in enumerate(values, DISK.start):
            if value > int(self._counters[row, slot]):
                self._counters[row, slot] = value
                self.info["disk_busy"][slot] = True

    # --- counters -----------------------------------------------------------------------------

    def add(
        self, slots: NDArray[np.int32], classes: NDArray[np.uint8], deltas: NDArray[np.uint64]
    ) -> None:
        """Add ``deltas`` (rows, len(VALUES)) to the counters of each row's slot and class."""
        capacity = self._counters.shape[1]
        flat = ROWS[classes] * capacity + slots[:, np.newaxis]
        np.add.at(self._counters.reshape(-1), flat.reshape(-1), deltas.reshape(-1))
        self._active[slots] = True

    def exited_before(self, limit_ns: int, keep: int) -> NDArray[np.bool_]:
        """Tell by slot which exited processes need not be shown any longer.

        Those that exited at ``limit_ns`` or earlier, and all but the ``keep`` newest.
        """
        exited = self.info["state"] == EXITED
        if np.count_nonzero(exited) > keep:
            times = np.sort(self.info["exited_ns"][exited])
            limit_ns = max(limit_ns, int(times[-keep - 1]))
        if limit_ns < 0:
            return np.zeros_like(exited)
        return np.asarray(exited & (self.info["exited_ns"] <= np.uint64(limit_ns)))

    def due(self, budget: int, quiet_budget: int | None = None) -> list[tuple[int, int]]:
        """Return at most ``budget`` running processes whose /proc data is wanted most.

        Those without a disk baseline first, then those that moved bytes, then whichever was
        sampled longest ago: of these last at most ``quiet_budget``.
        """
        slots = np.flatnonzero(self.info["state"] == RUNNING)
        info = self.info[slots]
        quiet = ~(self._active[slots] | info["disk_busy"])
        order = np.lexsort((info["sampled_ns"], quiet, info["disk_known"]))[:budget]
        if quiet_budget is not None:
            urgent = len(quiet) - np.count_nonzero(quiet & info["disk_known"])
            order = order[: urgent + quiet_budget]
        chosen = info[order]
        return list(zip(chosen["pid"].tolist(), chosen["start_ns"].tolist(), strict=True))

    def freeze(self) -> ProcessRows:
        """Copy everything that a snapshot needs."""
        high = self.high
        counters = self._counters[:, :high].copy()
        return ProcessRows(
            info=self.info[:high].copy(),
            texts={name: column.copy() for name, column in self._texts.items()},
            counters=counters,
            deltas=counters - self._before[:, :high],
            disk_elapsed_s=self._disk_elapsed_s[:high].copy(),
        )
