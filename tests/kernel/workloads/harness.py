"""Starts workload programs, leads them, and parses what they say the kernel returned.

All that is expected of a file or connection is its sum; one whose numbers are all 0 need not have
a row. A program accounts for the files and connections it is about, not for its control pipes.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .programs.program import PROGRAMS, UnavailableError

_AREAS = (
    "files",
    "filesystems",
    "sockets",
    "families",
    "zero_copy",
    "uring",
    "processes",
    "namespaces",
)
for _area in _AREAS:
    import_module(f"{__package__}.programs.{_area}")

NAMES = tuple(PROGRAMS)
_RUNNER = Path(__file__).with_name("run.py")
_HUNG_AFTER_S = 60  # nothing here takes seconds; a hang must not stop the whole test run


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedFile:
    """Bytes that process ``pid`` moved through one file; a field that is None claims nothing.

    ``path`` is as the process sees it; ``device`` and ``inode`` are as stat gives them.
    ``start_ticks`` (clock ticks since boot) tells apart two processes of one pid.
    """

    pid: int
    byte_class: str
    path: bytes | None
    device: int | None
    inode: int | None
    unlinked: bool
    read_bytes: int
    write_bytes: int
    read_calls: int | None
    write_calls: int | None
    start_ticks: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedConnection:
    """Bytes that process ``pid`` moved through one socket; a field that is None claims nothing.

    Where several rows share ``inode``, the remote end tells them apart; where the remote end is
    None, the numbers are the socket's sum. Unix names are paths or, with a leading NUL, abstract.
    """

    pid: int
    byte_class: str
    direction: str
    family: int
    type: int
    protocol: int
    inode: int
    netns: int
    local_address: str | None = None
    local_port: int | None = None
    remote_address: str | None = None
    remote_port: int | None = None
    local_name: bytes | None = None
    remote_name: bytes | None = None
    read_bytes: int
    write_bytes: int
    read_calls: int | None
    write_calls: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedProcess:
    """A process that a workload started and that has exited; ``cmdline`` is NUL-separated."""

    pid: int
    name: bytes
    cmdline: bytes


Expectation = ExpectedFile | ExpectedConnection | ExpectedProcess
_KINDS = {"file": ExpectedFile, "connection": ExpectedConnection, "process": ExpectedProcess}
_BYTES = ("path", "local_name", "remote_name", "name", "cmdline")


def _parse(row: dict[str, Any]) -> Expectation:
    names = {key: os.fsencode(row[key]) for key in _BYTES if row.get(key) is not None}
    expectation: Expectation = _KINDS[row.pop("kind")](**(row | names))
    return expectation


class Workload:
    """One running program, set up and waiting; a context manager that ends it."""

    def __init__(self, name: str, scratch: Path, env: Mapping[str, str] | None) -> None:
        self.name = name
        self.directory = Path(tempfile.mkdtemp(prefix="workload-", dir=scratch))
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_RUNNER), name, str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=None if env is None else dict(env),
        )
        try:
            self.pid: int = self._answer("ready")
        except BaseException:
            self.exit()
            raise

    def go(self) -> list[Expectation]:
        """Let it move its bytes; UnavailableError if the kernel does not offer the way."""
        self._say()
        return [_parse(row) for row in self._answer("rows")]

    def exit(self) -> None:
        """Let it undo what it made and end, and remove its directory."""
        self._say()
        try:
            self._process.communicate(timeout=_HUNG_AFTER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise
        finally:
            shutil.rmtree(self.directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.exit()

    def _say(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended by itself; its answer, or none, will say why
            os.write(self._process.stdin.fileno(), b"\n")

    def _answer(self, key: str) -> Any:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], _HUNG_AFTER_S)[0]:
            self._process.kill()
            raise RuntimeError(f"workload {self.name} hangs")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"workload {self.name} ended; its own words are on stderr")
        answer = json.loads(line)
        if "unavailable" in answer:
            raise UnavailableError(answer["unavailable"])
        return answer[key]


def start(name: str, scratch: Path, env: Mapping[str, str] | None = None) -> Workload:
    """Start the program ``name`` in a new directory under ``scratch`` and let it set up."""
    return Workload(name, scratch, env)
