"""tracefs and debugfs, whether or not they are mounted.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432  # the same numbers on every architecture
_FSCONFIG_CMD_CREATE = 6
_CLOEXEC = 1  # of fsopen and of fsmount

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


def tracefs() -> int:
    """Return a descriptor of its directory, for read(). Raises OSError if it is unavailable."""
    return _open("tracefs", ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"), "events")


def debugfs() -> int:
    """Return a descriptor of its directory, for read(). Raises OSError if it is unavailable."""
    return _open("debugfs", ("/sys/kernel/debug",), "sched")


def read(directory: int, name: str) -> str:
    """Return the text of a file below ``directory``, at most 4 KiB. Raises OSError."""
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(descriptor, 4096).decode()
    finally:
        os.close(descriptor)


def _open(kind: str, usual: tuple[str, ...], mark: str) -> int:
    """Open it where it is mounted, or make a detached mount that ends with its descriptor.

    (A private mount namespace would need a directory to mount on, and a root directory that is a
    mount point. The root of a chroot is not.)
    """
    for path in usual:
        if Path(path, mark).is_dir():
            return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    context = _call(_FSOPEN, kind.encode(), _CLOEXEC)
    try:
        _call(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _call(_FSMOUNT, context, _CLOEXEC, 0)
    finally:
        os.close(context)


def _call(number: int, *arguments: int | bytes | None) -> int:
    result = int(_LIBC.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
