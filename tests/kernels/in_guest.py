"""Boots a guest and runs tests of tests/kernel in it: those of what this machine's kernel lacks.

    python -m tests.kernels.in_guest [--minutes N] SERIES TEST...

TEST is as pytest takes it. Exits with 0 if all passed, with 1 if not, with 3 if guests cannot be
made here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Final

from tests.kernels import versions
from tests.kernels.__main__ import Kind, prepared, require_tools
from tests.kernels.cache import MatrixError, UnavailableError, directory, locked, say
from tests.kernels.guest import Plan
from tests.kernels.qemu import run

_MINUTES: Final = 45.0


def main(arguments: Sequence[str]) -> int:
    """Boot it; return the exit status."""
    parser = argparse.ArgumentParser(prog="tests.kernels.in_guest", allow_abbrev=False)
    parser.add_argument("series", help="such as 6.1")
    parser.add_argument("tests", metavar="TEST", nargs="+")
    parser.add_argument("--minutes", type=float, default=_MINUTES, help="give up after that time")
    options = parser.parse_args(arguments)
    if not versions.is_series(options.series):
        parser.error(f"{options.series}: must be one such as 6.1")
    os.umask(0o022)
    try:
        kinds = [Kind(options.series)]
        require_tools(kinds)
        with locked(".prepare.lock", "another run prepares kernels: waiting for it"):
            ((guest, busybox),) = prepared(kinds)
        job = directory() / "runs" / f"{guest.kernel.build.release}-tests"
        shutil.rmtree(job, ignore_errors=True)
        job.mkdir(parents=True)
        plan = Plan(None, forced=False, tests=tuple(options.tests))
        (job / "plan.json").write_text(json.dumps(asdict(plan)))
        failed = run(replace(guest, job=job), busybox, 60 * options.minutes, say)
        print((job / "tests").read_text() if (job / "tests").exists() else failed)
        return int(failed is not None)
    except UnavailableError as error:
        say(str(error))
        return 3
    except (MatrixError, versions.NoBuildError) as error:
        say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
