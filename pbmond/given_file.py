"""Files that somebody names: read only if they are regular ones of a sensible size. Else: OSError.

A name may lead to a FIFO, a device or a file without end, or to one that the wrong user may write.
Used by the daemon and by the client.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_given(path: Path, *, roots_own: bool = False) -> BinaryIO:
    """Open a regular file for reading; the error's ``strerror`` says what is wrong.

    ``roots_own``: only if it belongs to root and nobody else may write to it.
    """
    try:
        # Not blocking: opening a FIFO would wait for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except ValueError:  # NUL, or text that is no bytes
        raise OSError(errno.EINVAL, "no file can have this name") from None
    try:
        _check(os.fstat(fd), roots_own=roots_own)
        return os.fdopen(fd, "rb")
    except BaseException:
        os.close(fd)
        raise


def read_given(path: Path, most_bytes: int, *, roots_own: bool = False) -> bytes:
    """Read a file of at most so many bytes, opened as by ``open_given``."""
    with open_given(path, roots_own=roots_own) as file:
        # Not by its size: files of /proc have none, and others grow.
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"it has more than {most_bytes} bytes")
    return content


def _check(status: os.stat_result, *, roots_own: bool) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    if roots_own and (status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        raise OSError(
            errno.EPERM, "others than root may write to it; chown root and chmod go-w keep them out"
        )
