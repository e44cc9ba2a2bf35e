"""Runs every program twice against one daemon: set up before the daemon starts, and after."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from pbmond import wire
from pbmond.selftest.moved import moved
from pbmond.selftest.private_daemon import Daemon, DaemonError
from pbmond.selftest.verdicts import OFF, Outcome, ResultLine, judge
from pbmond.selftest.workloads import (
    EXCUSES,
    Runner,
    UnavailableError,
    Workload,
    WorkloadError,
)
from pbmond.system.safe_paths import scratch

ORDERS: Final = ("before", "after")
_SKIPPED: Final = "calls that the kernel skips"  # in health.unseen
#: Calls of ``step`` for each program.
STEPS: Final = 2 * len(ORDERS)
#: A directory on a disk. /tmp is often in memory, where some paths do not exist.
_ON_DISK: Final = Path("/var/tmp")  # noqa: S108 - the directory in it is made by mkdtemp


@dataclass(frozen=True, slots=True)
class Observed:
    """What one daemon reported about itself, and the verdicts on its counters.

    ``bad_ends`` has a line for each process that did not end properly. No verdict depends on it.
    """

    health: Mapping[str, Any]
    lines: tuple[ResultLine, ...]
    bad_ends: tuple[str, ...]


@contextmanager
def _directory(parent: Path | None = None) -> Iterator[Path]:
    """Make a directory that any user may enter, because some programs become one."""
    with ExitStack() as stack:
        try:
            path = stack.enter_context(scratch("pbmond-selftest-", parent))
        except OSError as error:
            raise DaemonError(f"no place for the test's files: {error.strerror}") from None
        yield path


def observe(
    names: Sequence[str],
    daemon: Callable[[Path], Daemon],
    seed: int,
    step: Callable[[str], None] = lambda _name: None,
) -> Observed:
    """Run the programs ``names``. ``daemon`` starts a daemon in an empty directory.

    ``step`` is called with a program's name before each part of its run. Raises DaemonError.
    """
    on_disk = _ON_DISK if os.access(_ON_DISK, os.W_OK) else None
    with (
        _directory() as run_dir,
        _directory(on_disk) as scratch,
        Runner() as runner,
        _Programs(lambda name: runner.start(name, scratch, seed), step) as programs,
    ):
        ready = programs.start(names)
        running = daemon(run_dir)
        programs.end_with("", running.stop)
        lines: list[ResultLine] = []
        for opened in ORDERS:
            earlier = running.snapshot()
            outcomes = [programs.go(name, each, opened) for name, each in ready.items()]
            message, judged = _judge_settled(running, outcomes, earlier)
            lines += judged
            if opened == "before":
                ready = programs.start(names)
    lines.sort(key=lambda line: names.index(line.path))
    return Observed(message.health, tuple(lines), tuple(programs.bad_ends))


class _Programs:
    """Programs that run until the end of the block. ``bad_ends`` says which ended with errors."""

    def __init__(self, start: Callable[[str], Workload], step: Callable[[str], None]) -> None:
        self.bad_ends: list[str] = []
        self._start = start
        self._step = step
        self._ends = ExitStack()

    def start(self, names: Sequence[str]) -> dict[str, Workload | Exception]:
        """Let each program set up. If it cannot, return the reason in its place."""
        return {name: self._started(name) for name in names}

    def _started(self, name: str) -> Workload | Exception:
        self._step(name)
        try:
            workload = self._start(name)
        except (UnavailableError, WorkloadError) as reason:
            return reason
        self.end_with(f"{name}: ", workload.exit)
        return workload

    def go(self, name: str, workload: Workload | Exception, opened: str) -> Outcome:
        """Let one program move its bytes."""
        self._step(name)
        try:
            if isinstance(workload, Exception):
                raise workload
            expected = tuple(workload.go())
            return Outcome(name, opened, expected, started_ns=workload.started_ns)
        except UnavailableError as reason:
            return Outcome(name, opened, refusal=str(reason))
        except WorkloadError as reason:
            return Outcome(name, opened, failure=str(reason))

    def end_with(self, who: str, end: Callable[[], object]) -> None:
        """Call ``end`` at the end of the block, in reverse order."""

        def end_and_record() -> None:
            try:
                end()
            except (DaemonError, WorkloadError) as error:
                self.bad_ends.append(f"{who}{error}")

        self._ends.callback(end_and_record)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()


def _judge_settled(
    running: Daemon, outcomes: list[Outcome], earlier: wire.Message
) -> tuple[wire.Message, list[ResultLine]]:
    """Judge by the next snapshot or, if a line is off, by the one after it.

    The harness may read what a program writes before that write has returned and is counted.
    """
    for _ in range(2):
        message = running.snapshot()
        lines = list(_judged(outcomes, earlier, message))
        if all(line.verdict != OFF for line in lines):
            break
    return message, lines


def _judged(
    outcomes: list[Outcome], earlier: wire.Message, later: wire.Message
) -> Iterator[ResultLine]:
    between = moved(earlier, later)
    skipped = later.health["lost"]["skipped_calls"] - earlier.health["lost"]["skipped_calls"]
    for outcome in outcomes:
        # Which calls the kernel skipped is unknown.
        words = (EXCUSES.get(outcome.path), _SKIPPED if skipped else None)
        excuses = (_excuse(each, later.health["unseen"]) for each in words)
        yield from judge(outcome, between, next(filter(None, excuses), None))


def _excuse(words: str | None, unseen: Sequence[str]) -> str | None:
    return next((line for line in unseen if words is not None and words in line), None)
