"""Where tracefs and debugfs are; where nobody mounted one, a mount of this process alone.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x20000, 0x4000, 0x40000


def tracefs() -> Path:
    """Return its directory; OSError where it is not mounted and cannot be."""
    return _find("tracefs", ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"), "events")


def debugfs() -> Path:
    """Return its directory; OSError where it is not mounted and cannot be."""
    return _find("debugfs", ("/sys/kernel/debug",), "sched")


def _find(kind: str, usual: tuple[str, ...], mark: str) -> Path:
    for path in usual:
        if Path(path, mark).is_dir():
            return Path(path)
    libc = ctypes.CDLL(None, use_errno=True)
    target = usual[0].encode()
    if (
        libc.unshare(_CLONE_NEWNS) == 0
        and libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) == 0
        and libc.mount(kind.encode(), target, kind.encode(), 0, None) == 0
    ):
        return Path(usual[0])
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
