"""Boots one guest for a command of its own: its options, what it needs, and how it fails."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.kernels import versions
from tests.kernels.__main__ import Kind, prepared, require_tools
from tests.kernels.cache import MatrixError, UnavailableError, directory, locked, say
from tests.kernels.qemu import Guest

_MINUTES: Final = 45.0
#: Boots a guest, whose job is a new and empty directory; returns the exit status.
Boot = Callable[[argparse.Namespace, Guest, Path], int]


def boot_one(
    parser: argparse.ArgumentParser, arguments: Sequence[str], job: str, boot: Boot
) -> int:
    """Prepare the guest of the option ``series`` and boot it; return the exit status.

    That is 3 if guests cannot be made here, and 1 if this one could not. ``job`` is the ending of
    its directory's name.
    """
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
        place = directory() / "runs" / f"{guest.kernel.build.release}-{job}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        return boot(options, replace(guest, job=place), busybox)
    except UnavailableError as error:
        say(str(error))
        return 3
    except (MatrixError, versions.NoBuildError) as error:
        say(str(error))
        return 1
