"""The C library's allocator: large arrays that are freed go back to the kernel."""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1  # malloc.h
_M_MMAP_THRESHOLD: Final = -3
_LARGE_BYTES: Final = 1 << 20


def give_large_blocks_back() -> None:
    """Return freed blocks of a megabyte or more to the kernel at once, if libc can.

    By default glibc raises these two thresholds once a large block has been freed, and then keeps
    as much memory as the busiest tick ever needed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)


def give_back() -> None:
    """Return all free pages between blocks in use to the kernel, if libc can; takes about 1 ms."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
