"""The attached programs and their maps: tables in mapped memory, events, losses.

Reading takes no system call. So it cannot make the kernel skip a program (a processor that is in a
bpf(2) call on a map runs none), and it costs the same however many bytes move.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pbmond.kernel import events
from pbmond.kernel.records import (
    COUNTER,
    FILE_KEY,
    FLOW_KEY,
    OVERFLOW_KEY,
    Event,
    KernelRows,
    ProbeRuns,
)
from pbmond.kernel.ringbuffer import RingBuffer
from pbmond.loader import bpf
from pbmond.loader.kernel_maps import LOOKS_MAX

#: The counting tables, in the order of struct high_water: name and type of the key.
TABLES: Final = {"flow": FLOW_KEY, "file": FILE_KEY, "overflow": OVERFLOW_KEY}
#: Names for the indexes of the array "lost" (enum pbmon_lost).
LOST: Final = (
    "calls_without_connection",
    "calls_without_file",
    "bytes",
    "events",
    "async_results",
)
_SLOT_MASK: Final = np.uint64(0xFFFFFFFF)
_FIRST_WINDOW: Final = 4096
#: A table is crowded if so much of it is in use, and so much was taken since the last read.
_CROWDED: Final = 13 / 16
_MANY: Final = 1 / 32
_CHUNK: Final = 256  # bpf(2) calls in a row without preemption: under 2 ms
_GRACE_S: Final = 0.05
_SCHED_DEADLINE: Final = 6  # linux/sched.h; not in the os module
#: Policies with which no ordinary task preempts us.
_REAL_TIME: Final = frozenset((os.SCHED_FIFO, os.SCHED_RR, _SCHED_DEADLINE))


def slot_type(key: np.dtype[np.void]) -> np.dtype[np.void]:
    """Return the type of a slot: the key, then its counter (struct *_slot)."""
    return np.dtype([("key", key), ("counter", COUNTER)])


@dataclass(frozen=True, slots=True)
class HookStatus:
    """A hook and the outcome of attaching to it. ``error`` is None if it is attached."""

    name: str
    error: str | None


class MappedTable:
    """The slots of one table, mapped only as far as they are in use."""

    def __init__(self, maps: Mapping[str, int], name: str, capacity: int) -> None:
        """Use the three of ``maps`` (descriptors by name) whose names begin with ``name``."""
        self.capacity = capacity
        self.used = 0
        self._left = 0  # rows after the last read, without those released since
        self._taken = 0  # slots ever taken, at the last read
        self._index = maps[f"{name}_index"]
        self._free = maps[f"{name}_free"]
        self._descriptor = maps[f"{name}_slots"]
        self._type = slot_type(TABLES[name])
        self._slots = self._map(_FIRST_WINDOW)

    def _map(self, slots: int) -> NDArray[np.void]:
        """Map the first ``slots`` slots, in whole pages. The old window is freed with its array."""
        count = min(slots, self.capacity)
        size = -(-count * self._type.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
        memory = mmap.mmap(self._descriptor, size, mmap.MAP_SHARED)
        window: NDArray[np.void] = np.frombuffer(memory, self._type, count)
        return window

    def read(self, high: int, taken: int) -> KernelRows:
        """Copy the rows in use. ``high`` slots have ever been used, ``taken`` times (it wraps)."""
        self._cover(high)
        slots = self._slots[:high]
        live = slots[slots["counter"]["first_ns"] != 0]
        self.used = self._left = len(live)
        self._taken = taken
        return KernelRows(live["key"], live["counter"])

    def is_crowded(self, taken: int) -> bool:
        """Return whether much of the table was taken since the last read, and little is left."""
        new = (taken - self._taken) % (1 << 32)
        return new > self.capacity * _MANY and self._left + new > self.capacity * _CROWDED

    def _cover(self, high: int) -> None:
        if high > len(self._slots):
            self._slots = self._map(high + high // 8)

    def unlink(self, rows: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Delete the keys of rows, so that new bytes start new rows. Return their slots."""
        slots: NDArray[np.intp] = (rows & _SLOT_MASK).astype(np.intp)
        counters = self._slots["counter"][slots]
        slots = slots[(counters["id"] == rows) & (counters["first_ns"] != 0)]
        keys = np.ascontiguousarray(self._slots["key"][slots])
        deleted = 0
        for some in _chunks(keys):
            with _not_preempted():
                done = bpf.delete_all(self._index, some.tobytes(), len(some))
            deleted += done
            if done < len(some):
                break  # the rest is retired in a later tick
        slots = slots[:deleted]
        # A program may remember where a key was, and must no longer find it there.
        self._slots["key"][slots] = np.zeros((), self._type["key"])
        return slots

    def release(self, slots: NDArray[np.intp]) -> NDArray[np.void]:
        """Return the final counters of unlinked slots, and free the slots."""
        counters = self._slots["counter"]
        finals = counters[slots].copy()
        blank = np.zeros(len(slots), COUNTER)
        blank["id"] = finals["id"]  # the next row in this slot counts up from it
        counters[slots] = blank
        self._left -= len(slots)
        for some in _chunks(np.sort(slots)[::-1]):
            with _not_preempted():
                bpf.push_numbers(self._free, some.tolist())
        return finals


class Kernel:
    """The attached programs and their maps. Closing it, or exiting, detaches every program."""

    def __init__(
        self, descriptors: Mapping[str, Mapping[str, int]], about: Mapping[str, Any]
    ) -> None:
        """``descriptors`` are by kind and name. ``about`` is what else is known from the loader.

        The kinds are maps, programs (run by hooks), called (by those programs), links.
        """
        maps = descriptors["maps"]
        self._descriptors = [fd for kind in descriptors.values() for fd in kind.values()]
        self._programs = dict(descriptors["programs"])
        self._runs = ProbeRuns(0, 0)
        self._tables = {name: MappedTable(maps, name, about["capacities"][name]) for name in TABLES}
        self._lost = _array(maps["lost"], "<u8", len(LOST))
        self._use = _array(maps["high_water"], "<u4", 8 * bpf.processors()).reshape(-1, 2, 4)
        self._looks = _array(maps["looks"], "<u8", 1 + LOOKS_MAX)
        self._look = descriptors["called"]["raw_look"]
        self._ring = RingBuffer(maps["events"], about["events_size"])
        self.events_fd = maps["events"]
        self.modes: Mapping[str, str] = about["modes"]
        self.unseen: Sequence[str] = about["unseen"]
        self.blind: Sequence[str] = about["blind"]
        self.verified_instructions: int = about["verified_instructions"]
        self.hooks = tuple(HookStatus(hook["name"], hook["error"]) for hook in about["hooks"])

    def read(self) -> tuple[KernelRows, KernelRows, KernelRows]:
        """Return the rows of flows, files and overflow, with cumulative counters."""
        taken = self._taken()
        high = self._use[:, 0].max(axis=0).tolist()
        flows, files, overflow = (
            table.read(high[index], taken[index])
            for index, table in enumerate(self._tables.values())
        )
        return flows, files, overflow

    def look(self, files: NDArray[np.uint64]) -> list[Event]:
        """Compare the names of file rows (ids) with what they are now.

        Returns all waiting events, among them the new names. Rows whose name is no longer in memory
        get it with their next byte.
        """
        found = []
        for start in range(0, len(files), LOOKS_MAX):
            some = files[start : start + LOOKS_MAX]
            self._looks[0], self._looks[1 : 1 + len(some)] = 0, some
            while (done := int(self._looks[0])) < len(some):
                bpf.run_once(self._look, (len(some),))
                found += self.drain()  # however many names change, the ring buffer has room
                if self._looks[0] == done:  # a path that is too deep: leave it as it is
                    self._looks[0] += 1
        return found

    def _taken(self) -> list[int]:
        """Return how many slots of each table were ever taken. The sums wrap."""
        taken: list[int] = self._use[:, 1].sum(axis=0, dtype=np.uint32).tolist()
        return taken

    def is_crowded(self) -> bool:
        """Return whether a table has filled up so fast since the last read that it needs room."""
        tables = zip(self._tables.values(), self._taken(), strict=False)
        return any(table.is_crowded(taken) for table, taken in tables)

    def drain(self) -> list[Event]:
        """Return all waiting lifecycle events, oldest first."""
        parsed = (events.parse(record) for record in self._ring.records())
        return [event for event in parsed if event is not None]

    def lost(self) -> dict[str, int]:
        """Return how much has been lost since the start, by reason."""
        runs = [bpf.runs(program) for program in self._programs.values()]
        self._runs = ProbeRuns(sum(each.time_ns for each in runs), sum(each.calls for each in runs))
        missed = sum(each.missed for each in runs)
        return {**dict(zip(LOST, self._lost.tolist(), strict=True)), "skipped_calls": missed}

    def runs(self) -> ProbeRuns:
        """Return the runs of all programs, as of the last ``lost``, which asks for both."""
        return self._runs

    def usage(self) -> dict[str, dict[str, int]]:
        """Return the used slots and the capacity of each table, as of the last read."""
        return {
            f"{name}s" if name != "overflow" else name: {
                "used": table.used,
                "capacity": table.capacity,
            }
            for name, table in self._tables.items()
        }

    def delete(
        self, flows: NDArray[np.uint64], files: NDArray[np.uint64], overflow: NDArray[np.uint64]
    ) -> tuple[NDArray[np.void], NDArray[np.void], NDArray[np.void]]:
        """Delete rows by id and return their final counters (COUNTER arrays), exact to the byte.

        A program that found a row before its key was deleted may still add to it. So the values are
        read after every running program has ended. Rows that were already deleted are left out.
        """
        rows = (flows, files, overflow)
        tables = tuple(self._tables.values())
        if any(len(ids) for ids in rows):
            slots = [table.unlink(ids) for table, ids in zip(tables, rows, strict=True)]
            _wait_for_programs()
            first, second, third = (
                table.release(these) for table, these in zip(tables, slots, strict=True)
            )
            return first, second, third
        nothing = np.zeros(0, COUNTER)
        return nothing, nothing, nothing

    def close(self) -> None:
        """Detach everything.

        The kernel releases each tracepoint only after a grace period, so threads wait in parallel.
        """
        with ThreadPoolExecutor(len(self._descriptors)) as pool:
            list(pool.map(_close, self._descriptors))


def _close(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.close(descriptor)


def _array(descriptor: int, kind: str, count: int) -> NDArray[Any]:
    size = -(-count * np.dtype(kind).itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
    return np.frombuffer(mmap.mmap(descriptor, size, mmap.MAP_SHARED), kind, count)


def _chunks(elements: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(elements), _CHUNK):
        yield elements[start : start + _CHUNK]


def _wait_for_programs() -> None:
    try:
        bpf.wait_for_readers()
    except OSError:
        # Kernels booted with nohz_full refuse the call. A program runs for microseconds.
        time.sleep(_GRACE_S)


@contextlib.contextmanager
def _not_preempted() -> Iterator[None]:
    """Run as a real-time task for a moment.

    While a task is inside bpf(2) on a map, its processor runs no tracepoint program. If the task
    were preempted there, the calls of whatever ran instead would not be counted. (The kernel
    says how many there were, see ``lost``.)
    """
    before = os.sched_getscheduler(0)
    if before & ~os.SCHED_RESET_ON_FORK in _REAL_TIME or not _set_scheduler(os.SCHED_FIFO, 1):
        yield
        return
    try:
        yield
    finally:
        _set_scheduler(before, 0)  # the only priority that the other policies have


def _set_scheduler(policy: int, priority: int) -> bool:
    """Set this thread's scheduling policy. Returns False if that is not allowed."""
    try:
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except OSError:
        return False
    return True
