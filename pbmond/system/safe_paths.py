"""Paths that no other user can bend: each folder on the way is opened and judged, from / down.

Root opens and makes files by descriptors of such folders. A name in a folder that another user may
write to can mean another file at every look, so such a folder is refused, wherever on the way.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

_MAX_LINKS: Final = 8
#: On Ubuntu, the group of the system log may write to it. All that it could do is to put one of
#: the logs there that are root's in place of another.
_LOGS: Final = "/var/log"
#: Neither follows a symbolic link nor opens what it finds: no FIFO waits, and no device notices.
_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
#: Not blocking: a FIFO would wait for its other end.
_FILE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
#: What open(2) says of a link, of a socket or FIFO, and of a folder.
_NOT_A_FILE: Final = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR})


class UnsafePathError(PermissionError):
    """Another user could bend the path; ``strerror`` says how."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EPERM, why)


class Walk:
    """Walks from ``root`` through folders of ``owners`` to which nobody else may write.

    With ``sticky``, others may write to a folder in which they can change their own names only,
    such as /tmp. A symbolic link is followed if it belongs to ``owners``. All functions raise
    OSError, which is an UnsafePathError for what is refused.
    """

    def __init__(
        self, root: str = "/", owners: frozenset[int] | None = None, *, sticky: bool = True
    ) -> None:
        """Let ``owners`` be root, and who this process is, if they are None."""
        self._root = root
        self._owners = frozenset({0, os.geteuid()}) if owners is None else owners
        self._sticky = sticky

    @contextmanager
    def parent(self, path: str | Path, *, follow: bool = True) -> Iterator[tuple[int, str]]:
        """Yield the folder (O_PATH) of the last part of ``path``, and the name of that part.

        The last part need not exist. If it is a symbolic link, ``follow`` says what to do.
        """
        with ExitStack() as opened:
            root = folder = _look(self._root, None, opened)
            pending, done, links = _parts(os.fspath(path)), "/", 0  # the last one comes first
            while True:
                self.judge(folder, done)
                name = pending.pop()
                if not pending and not (follow and _exists(folder, name)):
                    break
                found = _look(name, folder, opened)
                link = self._target(found, name)
                if link is not None:
                    pending += _parts(link)
                    links += 1
                    if link.startswith("/"):
                        folder, done = root, "/"
                elif pending:
                    folder, done = found, os.path.normpath(f"{done.rstrip('/')}/{name}")
                else:
                    break
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            yield folder, name

    def folder(self, path: str | Path, *, make: bool = False) -> int:
        """Return a descriptor (O_PATH) of a folder, which is not judged itself.

        With ``make``, make what is missing of it, for everybody to enter.
        """
        try:
            with self.parent(path) as (above, name):
                return os.open(name, _LOOK | os.O_DIRECTORY, dir_fd=above)
        except FileNotFoundError:
            if not make:
                raise
        parent = Path(path).parent
        above = self.folder(parent, make=True)
        try:
            self.judge(above, str(parent))
            with umask(0o022), suppress(FileExistsError):
                os.mkdir(Path(path).name, 0o777, dir_fd=above)
        finally:
            os.close(above)
        return self.folder(path)

    def judge(self, folder: int, name: str) -> None:
        """Raise UnsafePathError, with this ``name``, if others can change what is in ``folder``."""
        status = os.fstat(folder)
        if status.st_uid not in self._owners:
            raise UnsafePathError(f"{name} belongs to user {status.st_uid}, who could change it")
        if self._sticky and status.st_mode & stat.S_ISVTX:
            return
        others = stat.S_IWOTH if name == _LOGS else stat.S_IWOTH | stat.S_IWGRP
        if status.st_mode & others:
            raise UnsafePathError(f"others may write to {name}")

    def _target(self, found: int, name: str) -> str | None:
        """Return where a symbolic link leads, None if ``found`` is none."""
        status = os.fstat(found)
        if not stat.S_ISLNK(status.st_mode):
            return None
        if status.st_uid not in self._owners:
            raise UnsafePathError(f"the symbolic link {name} belongs to user {status.st_uid}")
        return os.readlink("", dir_fd=found)


def open_own(folder: int, name: str, flags: int, mode: int | None = None) -> int:
    """Open a regular file that is ours and has no other name; ``mode``: make it if it is missing.

    A new file has exactly that mode. Raises OSError, UnsafePathError for any other file.
    """
    try:
        fd = _open_or_make(folder, name, flags | _FILE, mode)
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            raise UnsafePathError(f"{name} is not a regular file") from None
        raise
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise UnsafePathError(f"{name} is not a regular file")
        if status.st_uid != os.geteuid():
            raise UnsafePathError(f"{name} belongs to user {status.st_uid}")
        if status.st_nlink != 1:
            raise UnsafePathError(f"{name} has {status.st_nlink} names: hard links")
    except UnsafePathError:
        os.close(fd)
        raise
    return fd


@contextmanager
def scratch(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """Make a directory for the block that everybody may enter and nobody else can exchange.

    ``parent`` None: where temporary files go. Raises OSError.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    with Walk().parent(parent / prefix, follow=False):  # judges ``parent`` too
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        path.chmod(0o755)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Make files with ``mask`` for the block. It belongs to the process, not to the thread."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _open_or_make(folder: int, name: str, flags: int, mode: int | None) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        if mode is None:
            raise
    try:
        with umask(0o777 & ~mode):
            return os.open(name, flags | os.O_CREAT | os.O_EXCL, mode, dir_fd=folder)
    except FileExistsError:  # somebody was faster: a second daemon, or who is found out next
        return os.open(name, flags, dir_fd=folder)


def _look(name: str, folder: int | None, opened: ExitStack) -> int:
    fd = os.open(name, _LOOK, dir_fd=folder)
    opened.callback(os.close, fd)
    return fd


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _parts(path: str) -> list[str]:
    """Return the parts of a path, the last one first; of / it is the folder itself."""
    return [part for part in reversed(path.split("/")) if part] or ["."]
