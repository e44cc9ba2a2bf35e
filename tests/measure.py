"""Measures one process's coverage: what every Python of .venv runs first during packaging/check.

The environment cannot say so, because the daemon gives its children one of their own. Instead
packaging/check lays a .pth file beside the packages of .venv, which calls ``start``.
"""

from __future__ import annotations

import resource
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import coverage
import coverage.sqldata

#: The self-test counts every byte of a workload, and would find those of a coverage file.
_WORKLOADS: Final = "pbmond.selftest.workloads.run"
#: They may write no file, and measured ones need to.
_CONFINED: Final = frozenset({"pbmond.containers.helper", "pbmond.publish.publisher"})
_ENDING_S: Final = 3


def start(directory: str, root: str) -> None:
    """Measure from here on, and leave a file in ``directory``/data when the process ends.

    ``root`` is the checkout. ``directory``/modules has bcc, where the distribution's is for the
    Python of .venv: then the loader runs under that, and is measured as well.
    """
    sys.path.append(f"{directory}/modules")
    # In a virtual environment, .pth files are read twice.
    if _WORKLOADS in sys.orig_argv or coverage.Coverage.current() is not None:
        return
    coverage.Coverage(
        data_file=f"{directory}/data/coverage",
        data_suffix=True,
        auto_data=True,
        source=[f"{root}/pbmond", f"{root}/pbmon_client"],
        config_file=f"{root}/pyproject.toml",
    ).start()
    if any(Path(argument).name == "pbmond" for argument in sys.orig_argv):
        _let_children_end()
    if not _CONFINED.isdisjoint(sys.orig_argv):
        _let_files_be_written()
    _let_names_stay()


def _let_names_stay() -> None:
    """A filter of system calls may forbid to rename; under its first name the file is as good."""
    calls = coverage.sqldata.os  # type: ignore[attr-defined]  # coverage's own copy of the module
    rename = calls.rename

    def rename_if_allowed(old: str, new: str) -> None:
        with suppress(PermissionError):
            rename(old, new)

    calls.rename = rename_if_allowed  # type: ignore[attr-defined]


def _let_files_be_written() -> None:
    limit = resource.setrlimit

    def limit_others(what: int, limits: tuple[int, int]) -> None:
        if what != resource.RLIMIT_FSIZE:
            limit(what, limits)

    resource.setrlimit = limit_others


def _let_children_end() -> None:
    """Give forker, publisher, names reader and loader time to leave a file before they are killed.

    The collector closes their sockets first, so they end by themselves; a hanging one is killed
    after that time. Nothing but this process's own calls changes, and only while it is measured.
    """
    kill, send_signal = subprocess.Popen.kill, signal.pidfd_send_signal

    def end_or_kill(child: subprocess.Popen[bytes]) -> None:
        with suppress(subprocess.TimeoutExpired):
            child.wait(_ENDING_S)
        kill(child)

    def end_or_signal(pidfd: int, number: int, *_: object) -> None:
        if number == signal.SIGKILL:
            select.select([pidfd], [], [], _ENDING_S)
        send_signal(pidfd, number)

    subprocess.Popen.kill = end_or_kill  # type: ignore[assignment, method-assign]
    signal.pidfd_send_signal = end_or_signal
