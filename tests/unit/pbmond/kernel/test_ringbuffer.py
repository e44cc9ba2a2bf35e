"""The consumer of the ring buffer, on a file laid out as the kernel lays out its memory."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbmond.kernel.ringbuffer import RingBuffer

PAGE = mmap.PAGESIZE
SIZE = PAGE
BUSY, DISCARD = 1 << 31, 1 << 30


class Kernel:
    """Writes records as the kernel does; the data is there twice, as in its mapping."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT)
        os.ftruncate(self.fd, 2 * PAGE + 2 * SIZE)
        self.position = 0

    def write(self, data: bytes, flags: int = 0) -> None:
        record = struct.pack("<I4x", len(data) | flags) + data
        for number, byte in enumerate(record):
            at = (self.position + number) % SIZE
            for copy in (0, SIZE):
                os.pwrite(self.fd, bytes([byte]), 2 * PAGE + copy + at)
        self.position += -(-len(record) // 8) * 8
        os.pwrite(self.fd, struct.pack("<Q", self.position), PAGE)

    @property
    def consumed(self) -> int:
        return int(struct.unpack("<Q", os.pread(self.fd, 8, 0))[0])


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    made = Kernel(tmp_path / "ring")
    yield made
    os.close(made.fd)


def test_records_come_in_order_and_once(kernel: Kernel) -> None:
    ring = RingBuffer(kernel.fd, SIZE)
    kernel.write(b"one")
    kernel.write(b"second")
    assert list(ring.records()) == [b"one", b"second"]
    assert list(ring.records()) == []
    assert kernel.consumed == kernel.position


def test_a_record_across_the_end_is_read_whole(kernel: Kernel) -> None:
    ring = RingBuffer(kernel.fd, SIZE)
    for round_ in range(20):
        kernel.write(bytes([round_]) * 1000)
        assert list(ring.records()) == [bytes([round_]) * 1000]


def test_a_discarded_record_is_skipped(kernel: Kernel) -> None:
    ring = RingBuffer(kernel.fd, SIZE)
    kernel.write(b"gone", DISCARD)
    kernel.write(b"kept")
    assert list(ring.records()) == [b"kept"]


def test_a_record_still_being_written_stops_the_reader(kernel: Kernel) -> None:
    ring = RingBuffer(kernel.fd, SIZE)
    kernel.write(b"done")
    kernel.write(b"not yet", BUSY)
    assert list(ring.records()) == [b"done"]
    assert kernel.consumed < kernel.position


def test_a_record_is_released_only_when_the_next_is_requested(kernel: Kernel) -> None:
    ring = RingBuffer(kernel.fd, SIZE)
    kernel.write(b"one")
    records = ring.records()
    assert next(records) == b"one"
    assert kernel.consumed == 0
