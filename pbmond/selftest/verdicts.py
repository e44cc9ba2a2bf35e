"""Judges each path: all its bytes must be in the right rows, and no other bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pbmond.fields import CLASSES, counter_names
from pbmond.selftest.compare import WAYS, Difference, counted, device_of, match, stated
from pbmond.selftest.moved import Row, SnapshotDelta
from pbmond.selftest.workloads import (
    Expectation,
    ExpectedConnection,
    ExpectedFile,
    ExpectedProcess,
)

EXACT, OFF, UNSEEN, NOT_OFFERED = "exact", "off", "unseen", "not offered"
#: In the order of the summary.
VERDICTS: Final = (EXACT, OFF, UNSEEN, NOT_OFFERED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one program did. It was ``opened`` "before" or "after" the daemon started.

    ``refusal`` says why the kernel does not offer the path, ``failure`` why the program failed. If
    both are None, ``expected`` is what the kernel returned to it. None of its processes started
    before ``started_ns`` (CLOCK_BOOTTIME).
    """

    path: str
    opened: str
    expected: tuple[Expectation, ...] = ()
    refusal: str | None = None
    failure: str | None = None
    started_ns: int = 0


@dataclass(frozen=True, slots=True)
class ResultLine:
    """The verdict on the bytes of one direction: ``way`` is "in", "out", or "-" if nothing ran.

    ``expected_calls`` is None if the kernel may split calls. "exact" has no ``reason``.
    """

    path: str
    opened: str
    way: str
    expected_bytes: int
    counted_bytes: int
    expected_calls: int | None
    counted_calls: int
    verdict: str
    reason: str | None


def judge(outcome: Outcome, moved: SnapshotDelta, excuse: str | None) -> list[ResultLine]:
    """Return a line for each direction in which bytes moved.

    ``excuse`` is what health.unseen says about this path. It excuses missing bytes, nothing else.
    """
    if outcome.refusal is not None:
        return [_nothing(outcome, NOT_OFFERED, outcome.refusal)]
    if outcome.failure is not None:
        return [_nothing(outcome, OFF, outcome.failure)]
    return _Judgement(outcome, moved, excuse).lines()


def _nothing(outcome: Outcome, verdict: str, reason: str) -> ResultLine:
    return ResultLine(outcome.path, outcome.opened, "-", 0, 0, None, 0, verdict, reason)


class _Judgement:
    """The judgement on one program that ran."""

    def __init__(self, outcome: Outcome, moved: SnapshotDelta, excuse: str | None) -> None:
        self._outcome = outcome
        self._everywhere = moved
        self._moved = moved.since(outcome.started_ns)
        self._excuse = excuse
        self._pids = {each.pid for each in outcome.expected}
        self._rows: list[Row] = []  # except those of the control channel
        self._differences: list[Difference] = []
        self._compare()

    def _compare(self) -> None:
        explained = set()
        for each in self._outcome.expected:
            found = match(each, self._moved, older=self._outcome.opened == "before")
            self._differences += found.differences
            explained |= {id(row) for row in found.rows}
            if not (isinstance(each, ExpectedFile) and each.control):
                self._rows += found.rows
        self._rows = list({id(row): row for row in self._rows}.values())
        strays = [row for row in self._family() if id(row) not in explained]
        self._rows += strays
        self._differences += (each for row in strays for each in _stray(row, "unexpected"))
        self._differences += _in_other_processes(
            self._outcome.expected, self._pids, self._everywhere
        )
        self._differences += self._outside_rows()

    def _family(self) -> Iterator[Row]:
        for pid in self._pids:
            yield from self._moved.connections.get(pid, ())
            yield from self._moved.files.get(pid, ())

    def _outside_rows(self) -> Iterator[Difference]:
        """Compare the counters of the processes with the sums of their rows."""
        for number, name in enumerate(CLASSES):
            rows = [row for row in self._family() if row["class"] == number]
            for way, column in zip(WAYS, counter_names(name), strict=False):
                sums = sum(counted(row, way, "bytes") for row in rows)
                whole = sum(
                    row[column] for pid in self._pids for row in self._moved.processes.get(pid, ())
                )
                if sums != whole:
                    yield Difference(way, f"{whole - sums:+d} bytes of class {name} in no row")

    def lines(self) -> list[ResultLine]:
        """Return a line for each direction in which bytes moved, and at least one."""
        lines = [self._line(way) for way in WAYS]
        return [line for line in lines if line.expected_bytes or line.counted_bytes] or lines[:1]

    def _line(self, way: str) -> ResultLine:
        stated_by = [
            each
            for each in self._outcome.expected
            if not isinstance(each, ExpectedProcess)
            and not (isinstance(each, ExpectedFile) and each.control)
        ]
        calls = [stated(each, way, "calls") for each in stated_by]
        line = ResultLine(
            self._outcome.path,
            self._outcome.opened,
            way,
            sum(stated(each, way, "bytes") or 0 for each in stated_by),
            sum(counted(row, way, "bytes") for row in self._rows),
            None if None in calls else sum(each or 0 for each in calls),
            sum(counted(row, way, "calls") for row in self._rows),
            EXACT,
            None,
        )
        return self._judged(line)

    def _judged(self, line: ResultLine) -> ResultLine:
        found = [each for each in self._differences if each.way in (None, line.way)]
        if not found:
            return line
        if self._excuse is not None and all(each.lacking for each in found):
            return _with(line, UNSEEN, self._excuse + self._on_disk(line.way))
        return _with(line, OFF, "; ".join(dict.fromkeys(each.text for each in found)))

    def _on_disk(self, way: str) -> str:
        column = "disk_read_bytes" if way == "in" else "disk_write_bytes"
        rows = [row for pid in self._pids for row in self._moved.processes.get(pid, ())]
        size = sum(row[column] for row in rows)
        return f"; {column} {size:,}" if size else ""


def _with(line: ResultLine, verdict: str, reason: str) -> ResultLine:
    values = (line.expected_bytes, line.counted_bytes, line.expected_calls, line.counted_calls)
    return ResultLine(line.path, line.opened, line.way, *values, verdict, reason)


def _stray(row: Row, what: str) -> Iterator[Difference]:
    name = row.get("path") or f"inode {row['inode']}"
    for way in WAYS:
        size = counted(row, way, "bytes")
        if size:
            place = f"{CLASSES[row['class']]} {name!r} of process {row['pid']}"
            yield Difference(way, f"{size} {what} bytes in {place}")


def _in_other_processes(
    expected: Sequence[Expectation], pids: set[int], moved: SnapshotDelta
) -> Iterator[Difference]:
    """Find bytes on the program's own sockets, pipes and files in rows of other processes."""
    sockets = {each.inode for each in expected if isinstance(each, ExpectedConnection)}
    files = {
        (each.device, each.inode): each.path
        for each in expected
        if isinstance(each, ExpectedFile) and _is_own(each)
    }
    strays = [row for row in _others(moved.connections, pids) if row["inode"] in sockets]
    strays += [row for row in _others(moved.files, pids) if _is_among(row, files)]
    for row in strays:
        yield from _stray(row, "strayed")


def _others(rows: Mapping[int, Sequence[Row]], pids: set[int]) -> Iterator[Row]:
    return (row for pid, found in rows.items() if pid not in pids for row in found)


def _is_among(row: Row, files: Mapping[tuple[int | None, int | None], bytes | None]) -> bool:
    """Return whether a row is about one of ``files``: paths by device and inode, None: unknown."""
    place = device_of(row), row["inode"]
    if place not in files:
        return False
    # The inode number of a deleted file may be that of a new one by now, with another path.
    return files[place] is None or row["path"] in (None, files[place])


def _is_own(expected: ExpectedFile) -> bool:
    """Return whether no other process has reason to touch the file, unlike a device."""
    if expected.control or expected.byte_class == "device":
        return False
    return not (expected.path or b"").startswith(b"/dev/")
