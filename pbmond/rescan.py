"""All of /proc, now and then: who ended and who came without an event, as far as there is time.

A process that is forked, executes nothing and moves no byte causes no event: only /proc shows that
it started, and that it ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from pbmond.kernel.records import ProcessSeen
from pbmond.store.process_index import ProcessKey
from pbmond.turns import Queues, Turns


class AllProcesses(Protocol):
    """What is read from /proc for this."""

    def pids(self) -> list[int]:
        """List all processes."""

    def owner(self, pid: int) -> int:
        """Return the uid of a process, NO_UID if it is gone."""

    def process(self, pid: int) -> ProcessSeen | None:
        """Describe one process; None if it is dead or cannot be read."""

    def is_alive(self, pid: int, start_ns: int) -> bool:
        """Return whether a process still runs."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one step found out: processes that are gone, and others that were not known."""

    ended: list[ProcessKey]
    seen: list[ProcessSeen]


class Rescan:
    """One at a time: ``begin`` it, then ``step`` until nothing is ``left``."""

    def __init__(self, proc: AllProcesses, spent_ns: Callable[[], int]) -> None:
        self._proc = proc
        self._spent_ns = spent_ns
        self._turns = Turns(spent_ns)
        self._known: deque[ProcessKey] = deque()  # do they still run?
        self._listed = True
        self._pids: deque[int] = deque()  # whose are they?
        self._new: Queues[int] = Queues()  # PIDs to describe

    def begin(self, known: Iterable[ProcessKey]) -> None:
        """Look again at ``known`` processes, then at all others; what was left is left out."""
        self._known = deque(known)
        self._listed = False
        self._pids.clear()
        self._new.clear()

    @property
    def left(self) -> int:
        """How many looks are still to be taken, as far as is known."""
        return len(self._known) + len(self._pids) + self._new.count()

    @property
    def is_done(self) -> bool:
        """Whether all that was begun has ended."""
        return self._listed and not self.left

    def step(self, described: Callable[[], set[int]], until_ns: int) -> Found:
        """Go on until that time, as ``spent_ns`` has it; the PIDs ``described`` need no look."""
        ended = []
        while self._known and self._spent_ns() < until_ns:
            each = self._known.popleft()
            if not self._proc.is_alive(*each):
                ended.append(each)
        if self._known:
            return Found(ended, [])
        # Another process may have the PID of one that ended by now.
        skip = described() - {pid for pid, _ in ended}
        if not self._listed:
            self._pids, self._listed = deque(self._proc.pids()), True
        while self._pids and self._spent_ns() < until_ns:
            pid = self._pids.popleft()
            if pid not in skip:
                self._new.put(self._proc.owner(pid), pid)
        if self._pids:
            return Found(ended, [])
        seen = self._turns.run(self._new, self._proc.process, until_ns)
        return Found(ended, [each for each in seen if each is not None])
