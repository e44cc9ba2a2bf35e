"""Runs every program twice against one daemon: set up before its start, and after."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pbmond import wire
from pbmond.selftest.daemon import Daemon
from pbmond.selftest.moved import moved
from pbmond.selftest.verdicts import OFF, Line, Outcome, judge
from pbmond.selftest.workloads import (
    EXCUSES,
    Runner,
    UnavailableError,
    Workload,
    WorkloadError,
)

ORDERS: Final = ("before", "after")
#: Calls of ``step`` for each program.
STEPS: Final = 2 * len(ORDERS)
#: Where files live on a disk: /tmp is often memory, where some ways do not exist.
_ON_DISK: Final = Path("/var/tmp")  # noqa: S108 - the directory in it is made by mkdtemp


@dataclass(frozen=True, slots=True)
class Observed:
    """What one daemon said of itself, and the verdicts on what it counted."""

    health: Mapping[str, Any]
    lines: tuple[Line, ...]


@contextmanager
def _directory(parent: Path | None = None) -> Iterator[Path]:
    """Make a directory that everybody may enter, as the publisher must."""
    path = Path(tempfile.mkdtemp(prefix="pbmond-selftest-", dir=parent))
    try:
        path.chmod(0o755)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def observe(
    names: Sequence[str],
    daemon: Callable[[Path], Daemon],
    seed: int,
    step: Callable[[str], None] = lambda _name: None,
) -> Observed:
    """Run the programs ``names``; ``daemon`` starts one in an empty directory.

    ``step`` is called with a program's name before each part of its run. Raises DaemonError.
    """
    on_disk = _ON_DISK if os.access(_ON_DISK, os.W_OK) else None
    with _directory() as run_dir, _directory(on_disk) as scratch, Runner() as runner:

        def start(stack: ExitStack, name: str) -> Workload | Exception:
            step(name)
            try:
                return stack.enter_context(runner.start(name, scratch, seed))
            except (UnavailableError, WorkloadError) as reason:
                return reason

        def go(name: str, workload: Workload | Exception, opened: str) -> Outcome:
            step(name)
            try:
                if isinstance(workload, Exception):
                    raise workload
                return Outcome(name, opened, tuple(workload.go()))
            except UnavailableError as reason:
                return Outcome(name, opened, refusal=str(reason))
            except WorkloadError as reason:
                return Outcome(name, opened, failure=str(reason))

        with ExitStack() as stack:
            ready = {name: start(stack, name) for name in names}
            running = stack.enter_context(daemon(run_dir))
            lines: list[Line] = []
            for opened in ORDERS:
                earlier = running.snapshot()
                outcomes = [go(name, workload, opened) for name, workload in ready.items()]
                message, judged = _settled(running, outcomes, earlier)
                lines += judged
                if opened == "before":
                    ready = {name: start(stack, name) for name in names}
            lines.sort(key=lambda line: names.index(line.path))
            return Observed(message.health, tuple(lines))


def _settled(
    running: Daemon, outcomes: list[Outcome], earlier: wire.Message
) -> tuple[wire.Message, list[Line]]:
    """Judge by the next snapshot; where a line is off, by the one after it.

    The harness can read what a program writes before that call returns, which is when it counts.
    """
    for _ in range(2):
        message = running.snapshot()
        lines = list(_judged(outcomes, earlier, message))
        if all(line.verdict != OFF for line in lines):
            break
    return message, lines


def _judged(outcomes: list[Outcome], earlier: wire.Message, later: wire.Message) -> Iterator[Line]:
    between = moved(earlier, later)
    for outcome in outcomes:
        excuse = _excuse(EXCUSES.get(outcome.path), later.health["unseen"])
        yield from judge(outcome, between, excuse)


def _excuse(words: str | None, unseen: Sequence[str]) -> str | None:
    return next((line for line in unseen if words is not None and words in line), None)
