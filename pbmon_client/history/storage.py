"""The directory as its writer sees it: appended, truncated and evicted, within a size."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from pbmon_client.history.cascade import SealedBlock
from pbmon_client.history.retention import too_large, too_old
from pbmon_client.history.segments import LOCK, TAIL, SegmentFile, file_name, files_of
from pbmon_client.history.tiers import KEEPS

_MODE: Final = 0o640
#: Whoever asks whether somebody writes has the lock for a moment (recorder.py).
_LOCK_TRIES: Final = 100
_LOCK_AGAIN_S: Final = 0.01


class HeldError(OSError):
    """Another recorder has the directory. The message says which."""


class Storage:
    """A directory that nobody else writes to. Every method may raise OSError.

    ``size`` is the most bytes that all files have together, ``keeps`` how many seconds
    each tier is kept. ``sync`` waits for the disk whenever a
    block was written.
    """

    def __init__(
        self, directory: Path, size: int, keeps: Sequence[int] = KEEPS, *, sync: bool = True
    ) -> None:
        self.directory: Final = directory
        self._size = size
        self._keeps = keeps
        self._sync = sync
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._lock = _locked(directory / LOCK, size)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._tail = os.open(directory / TAIL, flags, _MODE)
        self._tail_size = os.fstat(self._tail).st_size
        self._writing: dict[int, str] = {}
        self._used = sum(file.size for file in self.files())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another writer in. What was written is on the disk."""
        try:
            os.fdatasync(self._tail)
        finally:
            os.close(self._tail)
            os.close(self._lock)

    def files(self) -> list[SegmentFile]:
        """Return the segment files."""
        return files_of(self.directory)

    # --- the tail ---------------------------------------------------------------------------------

    def read_tail(self) -> bytes:
        """Return the whole tail."""
        return (self.directory / TAIL).read_bytes()

    def append_tail(self, frame: bytes) -> None:
        """Append a frame; the tail is as before if that fails."""
        self._make_room(len(frame))
        _append(self._tail, frame, self._tail_size, sync=False)
        self._tail_size += len(frame)

    def truncate_tail(self, size: int = 0) -> None:
        """Drop what is behind ``size`` bytes."""
        os.ftruncate(self._tail, size)
        self._tail_size = size

    # --- segments ---------------------------------------------------------------------------------

    def append(self, block: SealedBlock) -> None:
        """Append a block to its file; the file is as before if that fails."""
        name = file_name(block.tier, block.begin)
        self._writing[block.tier] = name
        self._make_room(len(block.data))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.directory / name, flags, _MODE)
        try:
            size = os.fstat(descriptor).st_size
            _append(descriptor, block.data, size, sync=self._sync)
        finally:
            os.close(descriptor)
        self._used += len(block.data)

    def truncate(self, file: SegmentFile, size: int) -> None:
        """Drop what is behind ``size`` bytes of a segment file."""
        os.truncate(file.path, size)
        self._used -= file.size - size

    def evict_old(self, now: int) -> None:
        """Remove what is older than its tier keeps."""
        self._remove(too_old(self.files(), self._writing.values(), now, self._keeps))

    def _make_room(self, more: int) -> None:
        # The lock has less than a hundred bytes.
        excess = self._used + self._tail_size + more + 100 - self._size
        if excess <= 0:
            return
        files = self.files()
        self._used = sum(file.size for file in files)
        excess = self._used + self._tail_size + more + 100 - self._size
        self._remove(too_large(files, self._writing.values(), excess, self._size))
        if self._used + self._tail_size + more + 100 > self._size:
            raise OSError(
                errno.EDQUOT, f"the size of the history, {self._size} bytes, is too small"
            )

    def _remove(self, files: list[SegmentFile]) -> None:
        for file in files:
            file.path.unlink(missing_ok=True)
            self._used -= file.size


def _append(descriptor: int, data: bytes, size: int, *, sync: bool) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
        if sync:
            os.fdatasync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _locked(path: Path, size: int) -> int:
    """Lock a file, which says by whom, and the store's size.

    HeldError if another process has it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
    try:
        _lock(descriptor)
    except BlockingIOError:
        said = os.pread(descriptor, 100, 0).decode("ascii", "replace").split()
        holder = said[0] if said else ""
        os.close(descriptor)
        whose = f"process {holder}" if holder.isdigit() else "another process"
        raise HeldError(errno.EWOULDBLOCK, f"{path.parent} is being written by {whose}") from None
    except OSError:
        os.close(descriptor)
        raise
    with suppress(OSError):  # a full disk: whose lock it is stays unsaid
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n{size}\n".encode(), 0)
    return descriptor


def _lock(descriptor: int) -> None:
    """Lock a file. BlockingIOError if somebody else has it, and not for a moment only."""
    for _ in range(_LOCK_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_LOCK_AGAIN_S)
    raise BlockingIOError
