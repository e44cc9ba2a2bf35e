"""The consumer's side of a BPF ring buffer, on memory shared with the kernel."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator

_PAGE = mmap.PAGESIZE
_BUSY, _DISCARD = 1 << 31, 1 << 30  # include/uapi/linux/bpf.h: BPF_RINGBUF_*_BIT
_HEADER = 8
_POSITION = struct.Struct("<Q")
_LENGTH = struct.Struct("<I")


class RingBuffer:
    """Reads records in order. The kernel maps the data twice, so that no record is split."""

    def __init__(self, descriptor: int, size: int) -> None:
        """Map the ring behind ``descriptor``. ``size`` is its max_entries in bytes."""
        self._mask = size - 1
        self._consumer = mmap.mmap(descriptor, _PAGE, mmap.MAP_SHARED)
        # Written in one store. struct.pack_into() writes a zero first, and a kernel that sees the
        # zero believes that the ring is full.
        self._released = memoryview(self._consumer).cast("Q")
        self._producer = mmap.mmap(
            descriptor, _PAGE + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=_PAGE
        )

    def records(self) -> Iterator[bytes]:
        """Yield what was written so far. Each record is released when the next is requested."""
        position = _POSITION.unpack_from(self._consumer)[0]
        end = _POSITION.unpack_from(self._producer)[0]
        while position < end:
            at = _PAGE + (position & self._mask)
            length = _LENGTH.unpack_from(self._producer, at)[0]
            if length & _BUSY:
                return
            size = length & ~_DISCARD
            if not length & _DISCARD:
                yield self._producer[at + _HEADER : at + _HEADER + size]
            position += (size + _HEADER + 7) // 8 * 8
            self._released[0] = position
