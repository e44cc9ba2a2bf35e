"""A mapped table: what is left of it, and keys that the kernel deletes by the batch."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from pbmond.kernel.maps import MappedTable, slot_type
from pbmond.kernel.records import FILE_KEY
from pbmond.loader import bpf

CAPACITY = 32


@pytest.fixture
def table() -> Iterator[MappedTable]:
    """A table of CAPACITY slots, of which the first 24 are in use; no map is behind it."""
    slots = np.zeros(CAPACITY, slot_type(FILE_KEY))
    slots["counter"]["first_ns"][:24] = 1
    descriptor = os.memfd_create("slots")
    os.write(descriptor, slots.tobytes().ljust(1 << 16, b"\0"))
    yield MappedTable(
        {"file_index": -1, "file_free": -1, "file_slots": descriptor}, "file", CAPACITY
    )
    os.close(descriptor)


@pytest.mark.parametrize(
    ("taken", "crowded"),
    [
        (100, False),  # nothing new
        (102, False),  # 26 of 32
        (103, True),  # 27 of 32
        (108, True),
    ],
)
def test_a_table_is_crowded_when_new_rows_fill_it_up(
    table: MappedTable, taken: int, crowded: bool
) -> None:
    table.read(24, taken=100)
    assert table.is_crowded(taken) is crowded


def test_a_full_table_in_which_nothing_is_new_is_not_crowded(table: MappedTable) -> None:
    table._slots["counter"]["first_ns"] = 1
    table.read(CAPACITY, taken=100)
    assert not table.is_crowded(100)


def test_the_number_of_taken_slots_may_wrap(table: MappedTable) -> None:
    table.read(24, taken=(1 << 32) - 1)
    assert table.is_crowded(2)


Batch = Callable[[int], tuple[int, int]]  # how many keys are wanted -> how many are done, errno


def answers(monkeypatch: pytest.MonkeyPatch, batch: Batch) -> list[int]:
    """Let ``batch`` answer the kernel's batches; the list grows by each wanted number of keys."""
    wanted: list[int] = []

    def exchange(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
        (count,) = struct.unpack_from("<I", attributes, 32)
        wanted.append(count)
        done, error = batch(count)
        struct.pack_into("<I", attributes, 32, done)
        if error:
            raise OSError(error, os.strerror(error))
        return 0

    monkeypatch.setattr(bpf, "_exchange", exchange)
    return wanted


def test_a_key_that_is_not_there_counts_as_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = answers(monkeypatch, lambda n: (3, errno.ENOENT) if n == 10 else (n, 0))
    assert bpf.delete_all(0, bytes(80), 10) == 10
    assert wanted == [10, 6]


@pytest.mark.parametrize("error", [errno.EBUSY, errno.EDEADLK, errno.ETIMEDOUT])
def test_a_lock_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    wanted = answers(monkeypatch, lambda n: (4, error) if n == 10 else (n, 0))
    assert bpf.delete_all(0, bytes(80), 10) == 10
    assert wanted == [10, 6]


def test_a_lock_that_keeps_failing_leaves_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, lambda n: (4 if n == 10 else 0, errno.EBUSY))
    assert bpf.delete_all(0, bytes(80), 10) == 4


def test_any_other_error_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, lambda _n: (0, errno.EPERM))
    with pytest.raises(PermissionError):
        bpf.delete_all(0, bytes(80), 10)
