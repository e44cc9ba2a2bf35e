"""Disk counters of processes, made from the kernel's own I/O accounting.

The accounting differs from our counters in three ways. It counts from the start of the process,
ours count from the start of the daemon. A sample is a sum over threads, which falls when a thread
exits; our counters never fall. And samples are irregular, so each covers a time span of its own.

A sample of a process with very many threads includes the children that it waited for. The growth
between two samples is the process's own only if it waited for no child in between. Otherwise its
own part is not known until it exits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pbmond.kernel.records import DiskBytes
from pbmond.store.process_counters import IN_PLACE, SlotOrder, resized

Bytes = tuple[int, int]  # read, written

_DISK = np.dtype(
    [
        ("baseline_known", "?"),  # later samples can be counted
        ("young", "?"),  # it started after the daemon, so all its bytes are counted
        ("busy", "?"),  # the newest sample had grown
        ("sampled_ns", "<u8"),  # when the newest sample was taken
        ("basis", "<i8"),  # of the newest sample: its ``children``, or _THREADS
        ("baseline", "<u8", 2),  # moved before counting began
        ("last", "<u8", 2),  # the newest sample
        ("counted", "<u8", 2),
    ]
)
_THREADS = -1  # the sum over the living threads


class ProcessDisk:
    """The disk bytes of each slot; ``begin`` a tick, then feed it."""

    def __init__(self, capacity: int, started_ns: int) -> None:
        """``started_ns``: CLOCK_BOOTTIME when counting began."""
        self._started_ns = started_ns
        self._state = np.zeros(capacity, _DISK)
        self._now_ns = 0
        self._interval_ns = 0
        #: By slot, the seconds that the bytes counted in this tick took; NaN: unknown.
        self.elapsed_s = np.zeros(capacity)

    def resize(self, capacity: int, order: SlotOrder = IN_PLACE) -> None:
        """Make room for ``capacity`` slots: those of ``order``, and free ones."""
        self._state = resized(self._state, capacity, order)
        self.elapsed_s = resized(self.elapsed_s, capacity, order)

    def begin(self, now_ns: int, interval_ns: int) -> None:
        """Start a tick."""
        self._now_ns, self._interval_ns = now_ns, interval_ns
        self.elapsed_s[:] = np.where(self._state["baseline_known"], interval_ns / 1e9, np.nan)

    def add(self, slot: int, start_ns: int) -> None:
        """Prepare a free slot for a process that started at ``start_ns``.

        If that was before the daemon, its first sample is only a baseline.
        """
        known = start_ns >= self._started_ns
        state = self._state[slot]
        state["baseline_known"], state["young"], state["sampled_ns"] = known, known, start_ns
        state["basis"] = _THREADS
        self.elapsed_s[slot] = self._interval_ns / 1e9 if known else np.nan

    def clear(self, slot: int) -> None:
        """Forget the process of a slot."""
        self._state[slot] = np.zeros((), _DISK)

    def needs_baseline(self, slots: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which of ``slots`` must be sampled once before their bytes can be counted."""
        return ~self._state["baseline_known"][slots]

    def busy(self, slots: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which of ``slots`` had moved bytes when they were last sampled."""
        return np.asarray(self._state["busy"][slots])

    def sample(self, slot: int, disk: DiskBytes) -> Bytes | None:
        """Take a sample of the living; return the raised counters, None if unchanged or unknown."""
        state = self._state[slot]
        values = disk.read, disk.written
        basis = _THREADS if disk.children is None else disk.children
        comparable = basis == state["basis"]
        last, counted = state["last"].tolist(), state["counted"].tolist()
        known = self._take(slot, state, values)
        state["basis"] = basis
        if not known:
            return None
        if comparable:
            sums = [old + new - was for old, new, was in zip(counted, values, last, strict=True)]
            return self._count(state, sums)
        if basis == 0 and state["young"]:  # all that it ever moved, and no child's
            return self._count(state, list(values))
        self.elapsed_s[slot] = np.nan
        return None

    def miss(self, slot: int) -> None:
        """Say that what it moved in this tick is not known: there was no sample of it."""
        self.elapsed_s[slot] = np.nan

    def final(self, slot: int, values: Bytes) -> Bytes | None:
        """Take the accounting of all threads at the exit; return what ``sample`` returns.

        It includes what threads moved between the last sample and their end.
        """
        state = self._state[slot]
        baseline = state["baseline"].tolist()
        if not self._take(slot, state, values):
            return None
        return self._count(state, [new - old for new, old in zip(values, baseline, strict=True)])

    def _take(self, slot: int, state: np.void, values: Bytes) -> bool:
        """Store a sample and its time; False if it is the baseline."""
        known = bool(state["baseline_known"])
        sampled_ns = int(state["sampled_ns"])
        if not known:
            state["baseline_known"], state["baseline"] = True, values
        elif sampled_ns < self._now_ns:
            # The sample before may be many ticks old.
            self.elapsed_s[slot] = max(self._now_ns - sampled_ns, self._interval_ns) / 1e9
        state["sampled_ns"], state["last"], state["busy"] = self._now_ns, values, False
        return known

    @staticmethod
    def _count(state: np.void, values: list[int]) -> Bytes | None:
        """Raise the counters, which never fall."""
        before = state["counted"].tolist()
        read, written = map(max, values, before)
        if [read, written] == before:
            return None
        state["counted"], state["busy"] = (read, written), True
        return read, written
