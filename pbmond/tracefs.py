"""tracefs as a directory of this process alone, whether or not somebody mounted it.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_PLACES = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432  # the same numbers on every architecture
_FSCONFIG_CMD_CREATE = 6
_CLOEXEC = 1  # of fsopen and fsmount

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


def open_tracefs() -> int:
    """Return a descriptor to open files below; OSError if there is no tracefs to be had.

    Where nobody mounted it, it becomes a mount that hangs nowhere: no name of the host changes,
    and it goes with its descriptor. (A mount in a namespace of one's own fails with EINVAL where
    the root directory is no mount point, as in a chroot.)
    """
    for path in _PLACES:
        if Path(path, "events").is_dir():
            return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    context = _call(_FSOPEN, b"tracefs", _CLOEXEC)
    try:
        _call(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _call(_FSMOUNT, context, _CLOEXEC, 0)
    finally:
        os.close(context)


def event_id(tracefs: int, name: str) -> int:
    """Return the id by which perf knows a tracepoint (``group/event``); OSError without it."""
    descriptor = os.open(f"events/{name}/id", os.O_RDONLY | os.O_CLOEXEC, dir_fd=tracefs)
    try:
        return int(os.read(descriptor, 32))
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: int | bytes | None) -> int:
    result = int(_LIBC.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
