"""Finds the slot of a process by its PID and start time, and hands out slots."""

from __future__ import annotations

import heapq

from pbmond.kernel.records import START_TICK_NS, same_start

ProcessKey = tuple[int, int]  # pid, start_ns


class ProcessIndex:
    """Slots by process. The lowest free slot is used first, so that the highest become free."""

    def __init__(self) -> None:
        self._slots: dict[ProcessKey, int] = {}
        # The same by clock tick, because /proc gives start times no more exactly.
        self._by_tick: dict[ProcessKey, tuple[int, int]] = {}  # (pid, tick) -> slot, start_ns
        self._newest: dict[int, tuple[int, int]] = {}  # pid -> slot, start_ns
        self._free: list[int] = []  # a heap
        self._is_free: set[int] = set()
        self.high = 0  # one past the highest slot in use

    def __len__(self) -> int:
        return len(self._slots)

    def exact(self, pid: int, start_ns: int) -> int | None:
        """Return the slot of the process that is known by exactly this start."""
        return self._slots.get((pid, start_ns))

    def find(self, pid: int, start_ns: int) -> int | None:
        """Return the slot of a process, None if it has none; ``start_ns`` exact or from /proc."""
        slot = self._slots.get((pid, start_ns))
        if slot is not None:
            return slot
        near, known_ns = self._by_tick.get((pid, start_ns // START_TICK_NS), (None, 0))
        return near if near is not None and same_start(known_ns, start_ns) else None

    def newest(self, pid: int) -> tuple[int, int] | None:
        """Return slot and start of the latest process with that PID, None if there is none."""
        return self._newest.get(pid)

    def add(self, pid: int, start_ns: int) -> int:
        """Return a slot for a new process."""
        while self._free and self._free[0] not in self._is_free:
            heapq.heappop(self._free)  # it was given back at the top
        if self._free:
            slot = heapq.heappop(self._free)
            self._is_free.remove(slot)
        else:
            slot = self.high
            self.high += 1
        self._enter(slot, pid, start_ns)
        return slot

    def correct_start(self, slot: int, pid: int, known_ns: int, start_ns: int) -> None:
        """Replace the start that /proc gave by the exact one."""
        del self._slots[pid, known_ns]
        self._enter(slot, pid, start_ns)

    def _enter(self, slot: int, pid: int, start_ns: int) -> None:
        self._slots[pid, start_ns] = slot
        self._by_tick[pid, start_ns // START_TICK_NS] = slot, start_ns
        newest = self._newest.get(pid)
        if newest is None or newest[1] < start_ns:
            self._newest[pid] = slot, start_ns

    def remove(self, slot: int, pid: int, start_ns: int) -> None:
        """Free the slot of a process."""
        del self._slots[pid, start_ns]
        tick = pid, start_ns // START_TICK_NS
        if self._by_tick.get(tick, (None,))[0] == slot:
            del self._by_tick[tick]
        if self._newest.get(pid, (None,))[0] == slot:
            del self._newest[pid]
        heapq.heappush(self._free, slot)
        self._is_free.add(slot)
        while self.high - 1 in self._is_free:
            self.high -= 1
            self._is_free.remove(self.high)
