"""Whose the code is: root runs only what nobody else may change.

Each folder on the way to a file of code is looked at from / downwards, and every link. Once a
folder is found to be root's alone, only root can change what the next look finds, so nothing has to
be held open. A sticky folder, such as /tmp, may be on the way: what root has in it, others cannot
replace. It may not hold code itself, because others may add to it.

Used by the loader too: any Python >= 3.9, standard library.
"""
# Paths are texts here, because a Path takes ".." for a name or follows links:
# ruff: noqa: PTH112, PTH115, PTH118, PTH120, PTH109

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

SWITCH = "--allow-unsafe-code"
_PACKAGE = Path(__file__).resolve().parents[1]
_SO = ", so others could have root run anything"
_MAX_LINKS = 40  # MAXSYMLINKS of the kernel
_ROOTS_GROUP = 0
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class UnsafeCode(Exception):  # noqa: N818 - named after what was found
    """Somebody else than root can change what root would run. The message says what and who."""


class Inspector:
    """Looks at code that only root, or who runs this process, may be able to change.

    Both functions raise UnsafeCode. What does not exist is fine if nobody else can make it.
    """

    def __init__(self) -> None:
        self._owners = {0, os.geteuid()}
        self._trees: set[str] = set()

    def file(self, path: str) -> str:
        """Look at a file or folder, the way to it and that to where links lead; return that."""
        pending, real, links = path.split("/")[::-1], "/", 0
        self._check("/", os.lstat("/"))
        while pending:
            part = pending.pop()
            if part in ("", ".", ".."):
                real = os.path.dirname(real) if part == ".." else real
                continue
            found = os.path.join(real, part)
            try:
                status = os.lstat(found)
            except OSError:  # it is not there
                self._check(real, os.lstat(real), holds_code=True)
                return found
            self._check(found, status)
            if not stat.S_ISLNK(status.st_mode):
                real = found
                continue
            links += 1
            if links > _MAX_LINKS:
                raise UnsafeCode(f"{_shown(path)}: {os.strerror(errno.ELOOP)}")
            target = os.readlink(found)
            real = "/" if target.startswith("/") else real
            pending += target.split("/")[::-1]
        return real

    def tree(self, path: str) -> None:
        """Look at a folder, the way to it, and all that is in it."""
        top = self.file(path)
        pending = [top]
        while pending:
            folder = pending.pop()
            if folder in self._trees:
                continue
            self._trees.add(folder)
            try:
                self._check(folder, os.lstat(folder), holds_code=True)
                with os.scandir(folder) as entries:
                    pending += self._folders(entries, hidden=folder != top)
            except (FileNotFoundError, NotADirectoryError):  # gone meanwhile; a zip
                continue
            except OSError as error:
                raise UnsafeCode(f"{_shown(folder)}: {error.strerror}") from None

    def _folders(self, entries: Iterator[os.DirEntry[str]], *, hidden: bool) -> Iterator[str]:
        """Look at what is in a folder; yield the folders in it, also those that links lead to.

        Without ``hidden`` not those that no module can be in, such as the .git of a checkout.
        """
        for entry in entries:
            if entry.is_symlink():
                real = self.file(entry.path)
                if os.path.isdir(real):
                    yield real
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # a temporary one, such as of Python's cache
                continue
            if status.st_uid not in self._owners or status.st_mode & _OTHERS_WRITE:
                self._check(entry.path, status)
            if stat.S_ISDIR(status.st_mode) and (hidden or not entry.name.startswith(".")):
                yield entry.path

    def _check(self, path: str, found: os.stat_result, *, holds_code: bool = False) -> None:
        if found.st_uid not in self._owners:
            raise UnsafeCode(f"{_shown(path)} belongs to uid {found.st_uid}")
        if stat.S_ISLNK(found.st_mode):  # its mode means nothing
            return
        if found.st_mode & stat.S_ISVTX and stat.S_ISDIR(found.st_mode) and not holds_code:
            return
        if found.st_mode & stat.S_IWOTH:
            raise UnsafeCode(f"everybody may write to {_shown(path)}")
        if found.st_mode & stat.S_IWGRP:
            if found.st_gid != _ROOTS_GROUP:
                raise UnsafeCode(f"the group with gid {found.st_gid} may write to {_shown(path)}")
            if _has_list(path):  # the bits of the group are then the most that anybody in it may
                raise UnsafeCode(f"an access control list lets others write to {_shown(path)}")


def own_code(inspector: Inspector) -> None:
    """Look at all that this process runs, or may import later. Raises UnsafeCode."""
    inspector.file(_absolute(sys.executable))
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    for path in (main, f"{sys.prefix}/pyvenv.cfg", *_mapped()):
        if path is not None:
            inspector.file(_absolute(path))
    inspector.tree(str(_PACKAGE))
    inspector.tree(str(_PACKAGE.parent / "bpf"))  # of a checkout; installed, it is in the package
    importable(inspector)


def importable(inspector: Inspector, more: Iterable[str] = ()) -> None:
    """Look at where modules are found, and at ``more`` such folders. Raises UnsafeCode."""
    for path in (*sys.path, *more):
        inspector.tree(_absolute(path))


def refusal() -> str | None:
    """Say in one line why root must not run this process's code; None: it may."""
    try:
        own_code(Inspector())
    except UnsafeCode as error:
        return line(str(error))
    return None


def accepted(refused: str) -> str:
    """Say in the log that ``refused``, a line of ``refusal``, was accepted, and at what price."""
    found = refused.partition(_SO)[0]
    return f"{SWITCH}: {found}: whoever that is can run anything as root, from now on or later"


def line(found: str) -> str:
    """Say in one line what was found, and what to do."""
    return (
        f"{found}{_SO}: mend that, or install pbmon where only root may write, as sudo "
        f"packaging/quickstart does; developers may accept it with {SWITCH}"
    )


def _absolute(path: str) -> str:
    return os.path.join(os.getcwd(), path)


def _mapped() -> Iterator[str]:
    """Yield the files that this process has mapped as code: the interpreter, its libraries."""
    try:
        lines = Path("/proc/self/maps").read_text(errors="surrogateescape").splitlines()
    except OSError as error:
        raise UnsafeCode(f"/proc/self/maps cannot be read: {error.strerror}") from None
    for text in lines:
        _, mode, _, _, _, *path = text.split(None, 5)
        if "x" in mode and path and path[0].startswith("/") and not path[0].endswith(" (deleted)"):
            yield path[0]


def _has_list(path: str) -> bool:
    try:
        return bool(os.getxattr(path, "system.posix_acl_access", follow_symlinks=False))
    except OSError:
        return False


def _shown(path: str) -> str:
    return path if path.isprintable() else ascii(path)
