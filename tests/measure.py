"""Measures one process's coverage: what every Python of .venv runs first during packaging/check.

The environment cannot say so, because the daemon gives its children one of their own. Instead
packaging/check lays a .pth file beside the packages of .venv, which calls ``start``.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import coverage

#: The self-test counts every byte of a workload, and would find those of a coverage file.
_WORKLOADS: Final = "pbmond.selftest.workloads.run"
_ENDING_S: Final = 3


def start(directory: str, root: str) -> None:
    """Measure from here on, and leave a file in ``directory``/data when the process ends.

    ``root`` is the checkout. ``directory``/modules has bcc, where the distribution's is for the
    Python of .venv: then the loader runs under that, and is measured as well.
    """
    sys.path.append(f"{directory}/modules")
    if _WORKLOADS in sys.orig_argv:
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


def _let_children_end() -> None:
    """Give loader and publisher, whose socket the collector closes first, time to leave a file."""
    kill = subprocess.Popen.kill

    def end_or_kill(child: subprocess.Popen[bytes]) -> None:
        with suppress(subprocess.TimeoutExpired):
            child.wait(_ENDING_S)
        kill(child)

    # Nothing but this process's children, and only while it is measured.
    subprocess.Popen.kill = end_or_kill  # type: ignore[assignment, method-assign]
