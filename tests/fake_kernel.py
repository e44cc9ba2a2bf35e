"""What surrounds the collector, made of factories' rows, for tests without eBPF."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbmond.fields import NO_UID
from pbmond.host.procfs import Used
from pbmond.kernel.records import (
    COUNTER,
    FILE_KEY,
    FLOW_KEY,
    OVERFLOW_KEY,
    DiskBytes,
    Event,
    HostReading,
    KernelRows,
    ProbeRuns,
    ProcessSeen,
    ProcSample,
    same_start,
)
from tests import factories


class FakeKernel:
    """Three maps as lists of (key, counter), and a pipe for the ring buffer's descriptor."""

    def __init__(self) -> None:
        self.flows: list[tuple[Any, Any]] = []
        self.files: list[tuple[Any, Any]] = []
        self.overflow: list[tuple[Any, Any]] = []
        self.events: list[Event] = []
        self.losses = {"events": 0}
        self.probes = ProbeRuns(0, 0)
        self.deleted: list[Any] = []
        self.looked: list[int] = []
        self.renamed: list[Event] = []  # what the next look finds
        self.modes: Mapping[str, str] = {"sockets": "tracepoint", "files": "syscall-exit"}
        self.unseen: Sequence[str] = ("swap",)
        self.blind: Sequence[str] = ()
        self.verified_instructions = 1000
        self.crowded = False
        self.events_fd, self._wake = os.pipe()

    def ring_half_full(self) -> None:
        os.write(self._wake, b"x")

    def look(self, files: NDArray[np.uint64]) -> list[Event]:
        self.looked = files.tolist()
        found, self.renamed = self.renamed, []
        return found

    def drain(self) -> list[Event]:
        events, self.events = self.events, []
        return events

    def read(self) -> tuple[KernelRows, KernelRows, KernelRows]:
        return (
            factories.rows(FLOW_KEY, self.flows),
            factories.rows(FILE_KEY, self.files),
            factories.rows(OVERFLOW_KEY, self.overflow),
        )

    def lost(self) -> dict[str, int]:
        return dict(self.losses)

    def runs(self) -> ProbeRuns:
        return self.probes

    def is_crowded(self) -> bool:
        return self.crowded

    def usage(self) -> dict[str, dict[str, int]]:
        return {"flows": {"used": len(self.flows), "capacity": 100}}

    def delete(
        self, flows: NDArray[np.uint64], files: NDArray[np.uint64], overflow: NDArray[np.uint64]
    ) -> tuple[NDArray[np.void], NDArray[np.void], NDArray[np.void]]:
        return (
            self._delete(self.flows, flows),
            self._delete(self.files, files),
            self._delete(self.overflow, overflow),
        )

    def _delete(self, table: list[tuple[Any, Any]], ids: NDArray[np.uint64]) -> NDArray[np.void]:
        wanted = set(ids.tolist())
        final = [counter for _, counter in table if int(counter["id"]) in wanted]
        table[:] = [(key, counter) for key, counter in table if int(counter["id"]) not in wanted]
        self.deleted += final
        return np.array(final, COUNTER)

    def close(self) -> None:
        for fd in (self.events_fd, self._wake):
            os.close(fd)


class FakeProc:
    """A /proc that holds what the test put there."""

    def __init__(self) -> None:
        self.processes: list[ProcessSeen] = []
        self.scans = 0
        self.sampled: list[int] = []
        self.open_inodes: frozenset[tuple[int, int]] | None = None  # of each
        self.work: Callable[[], None] = lambda: None  # what a look costs
        self.gone: set[int] = set()  # pids of processes that a sample no longer finds
        self.cpu_ns = {1: 0, 98: 0, 99: 0}  # by pid: collector, forker, publisher

    def pids(self) -> list[int]:
        self.scans += 1
        return [process.pid for process in self.processes]

    def owner(self, pid: int) -> int:
        return next((each.uid for each in self.processes if each.pid == pid), NO_UID)

    def process(self, pid: int) -> ProcessSeen | None:
        self.work()
        return next((each for each in self.processes if each.pid == pid), None)

    def is_alive(self, pid: int, start_ns: int) -> bool:
        return any(
            process.pid == pid and same_start(process.start_ns, start_ns)
            for process in self.processes
        )

    def sample(self, pid: int, start_ns: int, in_time: Callable[[], bool]) -> ProcSample:
        self.sampled.append(pid)
        self.work()
        if pid in self.gone:
            return ProcSample.of_ended(pid, start_ns)
        known = (each for each in self.processes if each.pid == pid)
        seen = next((each for each in known if same_start(each.start_ns, start_ns)), None)
        return ProcSample(pid, start_ns, DiskBytes(0, 0), self.open_inodes, seen, gone=False)

    def cgroup(self, pid: int) -> bytes | None:
        return {process.pid: process.cgroup for process in self.processes}.get(pid)

    def used(self, pid: int) -> Used | None:
        return Used(self.cpu_ns[pid], 1000 * pid) if pid in self.cpu_ns else None


class FakeHost:
    """A host whose counters are what the test says."""

    def __init__(self) -> None:
        self.reading = factories.host_reading()

    def read(self, now_ns: int) -> HostReading:
        return self.reading


class FakeSignals:
    """Signals as bytes in a pipe: E ends the daemon, any other does not."""

    def __init__(self) -> None:
        self.fd, self._write = os.pipe()

    def send(self, signal: bytes) -> None:
        os.write(self._write, signal)

    def ending(self) -> bool:
        return b"E" in os.read(self.fd, 10)

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._write)
