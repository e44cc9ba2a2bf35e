"""What this process has open."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def descriptors() -> set[tuple[str, str]]:
    """Return each descriptor and what it is of.

    Nothing was left open if they are a subset of those before. They need not be equal: what other
    tests left behind may be closed at any moment.
    """
    found = set()
    for link in list(Path("/proc/self/fd").iterdir()):
        with suppress(FileNotFoundError):  # the listing's own
            found.add((link.name, str(link.readlink())))
    return found
