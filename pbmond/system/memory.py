"""How the C library's allocator treats the collector's large arrays."""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1  # malloc.h
_M_MMAP_THRESHOLD: Final = -3
_LARGE_BYTES: Final = 1 << 20


def give_large_blocks_back() -> None:
    """Return freed blocks of a megabyte and more to the kernel at once, where libc can.

    glibc raises these two thresholds by itself once a large block was freed, and then keeps what
    the busiest tick ever needed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)
