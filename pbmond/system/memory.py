"""The host's memory."""

from __future__ import annotations

import os


def total_bytes() -> int:
    """Return the size of the host's memory, as MemTotal in /proc/meminfo."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
