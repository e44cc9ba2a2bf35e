"""Whether somebody writes a store, and who: its lock is tried, as a writer would."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pbmon_client.history.segments import LOCK

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class RecorderState:
    """Whether a store is being written; by which process, and how large it may be, if known."""

    running: bool
    pid: int | None = None
    cap: int | None = None


NO_RECORDER: Final = RecorderState(running=False)


def recorder_of(directory: Path) -> RecorderState | None:
    """Return who writes the store in a directory; None if that cannot be known.

    The lock is held for a moment if it is free. A writer that starts just then waits for it.
    """
    try:
        descriptor = os.open(directory / LOCK, _FLAGS)
    except FileNotFoundError:
        return NO_RECORDER
    except OSError:
        return None
    try:
        running = _is_held(descriptor)
        words = os.pread(descriptor, 100, 0).decode("ascii", "replace").split()
    except OSError:
        return None
    finally:
        os.close(descriptor)
    pid, cap = (int(word) if word.isdecimal() else None for word in (*words, "", "")[:2])
    return RecorderState(running, pid if running else None, cap)


def _is_held(descriptor: int) -> bool:
    """Whether a writer has the lock. Others that try it like this do not keep each other out."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
