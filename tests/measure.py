"""Measures one process's coverage: what every Python of .venv runs first during packaging/check.

The environment cannot say so, because the daemon gives its children one of their own. Instead
packaging/check lays a .pth file beside the packages of .venv, which calls ``start``.
"""

from __future__ import annotations

import os
import sys
from typing import Final

import coverage

#: The self-test counts every byte of a workload, and would find those of a coverage file.
_WORKLOADS: Final = "pbmond.selftest.workloads.run"


def start(directory: str, root: str, bcc: str) -> None:
    """Measure from here on, and leave a file in ``directory`` when the process ends.

    ``root`` is the checkout. ``bcc`` is where the distribution's bcc is, "" if that is for another
    Python: with it, the loader runs under .venv's Python and is measured as well.
    """
    if bcc:
        sys.path.append(bcc)
    if _WORKLOADS in sys.orig_argv:
        return
    settings = {
        "COVERAGE_PROCESS_START": f"{root}/pyproject.toml",
        "COVERAGE_FILE": f"{directory}/data",
    }
    os.environ.update(settings)
    coverage.process_startup()
    for name in settings:
        del os.environ[name]
