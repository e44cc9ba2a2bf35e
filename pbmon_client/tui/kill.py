"""Sends a signal to exactly the intended process, even if its pid was reused."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Final

_TICK_NS: Final = 10_000_000  # the unit of start times in /proc


def send(pid: int, start_ns: int, number: int, proc: Path = Path("/proc")) -> str | None:
    """Send a signal to process ``pid`` that started at ``start_ns``; say what went wrong, if so."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return f"process {pid} has exited already"
    except OSError as error:
        return f"cannot reach process {pid}: {error.strerror}"
    try:
        # Opened before it is checked: from here on the handle cannot mean another process.
        if _start_ticks(pid, proc) != start_ns // _TICK_NS:
            return f"process {pid} now belongs to another process"
        signal.pidfd_send_signal(handle, number)
    except OSError as error:
        return f"cannot signal process {pid}: {error.strerror}"
    finally:
        os.close(handle)
    return None


def _start_ticks(pid: int, proc: Path) -> int | None:
    """Return field 22 of /proc/PID/stat; the name before it may hold anything."""
    stat = (proc / str(pid) / "stat").read_bytes()
    return int(stat.rpartition(b")")[2].split()[19])
