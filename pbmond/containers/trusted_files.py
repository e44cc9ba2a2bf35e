"""Reading files that only root can have put there: no user can point the reader at another file.

Every folder on the way belongs to root and nobody else may write to it, so a symbolic link in it is
root's own: that is how an administrator moves /var/lib/docker to another disk. The file itself is a
regular one of root's. Anything else, such as a runtime's folder in somebody's home, is refused.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Final

from pbmond.system.safe_paths import Walk

#: Files that are read whole are not larger than this.
MAX_BYTES: Final = 16 << 20
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking: a FIFO would wait for a writer.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class TrustedFiles:
    """Files below ``root`` that belong to ``owner``; tests have others than / and 0.

    All functions raise OSError, also for what is not trusted.
    """

    def __init__(self, root: str = "/", owner: int = 0) -> None:
        self._walk = Walk(root, frozenset({owner}), sticky=False)
        self._owner = owner

    @contextmanager
    def opened(self, path: str) -> Iterator[int]:
        """Open a file."""
        fd = self._open(path, _FILE)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != self._owner:
                raise PermissionError(errno.EPERM, f"not a regular file of root's: {path}")
            yield fd
        finally:
            os.close(fd)

    def read(self, path: str) -> bytes:
        """Return the contents of a file."""
        with self.opened(path) as fd:
            return read_whole(fd)

    def version(self, path: str) -> tuple[int, ...]:
        """Return what differs once a file has changed."""
        with self.opened(path) as fd:
            status = os.fstat(fd)
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size

    def listed(self, path: str, most: int) -> list[str]:
        """Return the names in a folder, at most ``most``."""
        folder = self._open(path, _FOLDER)
        try:
            self._walk.judge(folder, path)
            with os.scandir(folder) as entries:
                return [entry.name for entry in islice(entries, most)]
        finally:
            os.close(folder)

    def _open(self, path: str, flags: int) -> int:
        """Open the last part of ``path``, below trusted folders only."""
        with self._walk.parent(path) as (folder, name):
            return os.open(name, flags, dir_fd=folder)


def read_whole(fd: int) -> bytes:
    """Return what a file holds; OSError if it is larger than MAX_BYTES."""
    size = os.fstat(fd).st_size
    if size > MAX_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return os.pread(fd, size, 0)
