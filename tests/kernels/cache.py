"""Where kernels, roots and logs are kept between runs, and the locks on them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parents[2]
#: Names another directory for the cache.
VARIABLE: Final = "PBMON_KERNELS_CACHE"


class MatrixError(Exception):
    """The matrix cannot go on; the message is one line."""


class UnavailableError(MatrixError):
    """What guests are made of cannot be had on this machine: QEMU, or Debian's packages."""


def directory() -> Path:
    """Return the cache's directory, which need not exist yet."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "/var/cache") / "pbmon-kernels"


def say(message: str) -> None:
    """Print a line of progress; stdout belongs to the table."""
    print(f"kernels: {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def locked(name: str, waiting: str) -> Iterator[None]:
    """Hold the cache's lock ``name``; say ``waiting`` when another process has it."""
    place = directory()
    place.mkdir(parents=True, exist_ok=True)
    with (place / name).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(waiting)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def staged(place: Path) -> Iterator[Path]:
    """Yield a directory that becomes ``place`` when it is complete, and is no more otherwise."""
    place.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".", dir=place.parent))
    try:
        yield staging
        staging.chmod(0o755)
        staging.rename(place)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
