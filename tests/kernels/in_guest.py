"""Boots a guest and runs tests of tests/kernel in it: those of what this machine's kernel lacks.

    python -m tests.kernels.in_guest [--minutes N] SERIES TEST...

TEST is as pytest takes it. Exits with 0 if all passed, with 1 if not, with 3 if guests cannot be
made here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.kernels.cache import say
from tests.kernels.guest import Plan
from tests.kernels.one_guest import boot_one
from tests.kernels.qemu import Guest, run


def main(arguments: Sequence[str]) -> int:
    """Boot it; return the exit status."""
    parser = argparse.ArgumentParser(prog="tests.kernels.in_guest", allow_abbrev=False)
    parser.add_argument("series", help="such as 6.1")
    parser.add_argument("tests", metavar="TEST", nargs="+")
    return boot_one(parser, arguments, "tests", _boot)


def _boot(options: argparse.Namespace, guest: Guest, busybox: Path) -> int:
    plan = Plan(None, forced=False, tests=tuple(options.tests))
    (guest.job / "plan.json").write_text(json.dumps(asdict(plan)))
    failed = run(guest, busybox, 60 * options.minutes, say)
    said = guest.job / "tests"
    print(said.read_text() if said.exists() else failed)
    return int(failed is not None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
