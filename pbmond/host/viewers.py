"""Who but root may see a process, by its files in /proc: whom ptrace's rule lets read them.

The rule is that of ``bpf/viewers.h``. The kernel applies it to the main thread (ptrace(2), "Ptrace
access mode checking"), and so does this.
"""

from __future__ import annotations

import fcntl
import os
import struct
from typing import Final

from pbmond.kernel.records import NO_VIEWER

#: PROC_USER_INIT_INO of include/linux/proc_ns.h.
_INITIAL_USER_NAMESPACE: Final = b"user:[4026531837]"
_NS_GET_OWNER_UID: Final = 0xB704  # include/uapi/linux/nsfs.h
_UID: Final = struct.Struct("=I")
_STATUS_BYTES: Final = 4096  # what is looked for is in the first kilobyte


def viewer(fd: int, living: str, uid: int) -> int:
    """Return the only user but root who may see a process; NO_VIEWER: nobody, or not known.

    ``fd`` is the process's directory, ``living`` the prefix of a living thread's files below it,
    ``uid`` its effective user.
    """
    if not uid:
        return uid
    try:
        # Those of a process that may not be dumped belong to root (task_dump_owner, fs/proc/base.c).
        if os.stat(living + "environ", dir_fd=fd).st_uid != uid:
            return NO_VIEWER
        real, effective, saved, has_capabilities = _credentials(_read(fd, living + "status"))
        if not real == effective == saved == uid:
            return NO_VIEWER
        if os.readlink((living + "ns/user").encode(), dir_fd=fd) == _INITIAL_USER_NAMESPACE:
            return NO_VIEWER if has_capabilities else uid
        return uid if _owner(fd, living + "ns/user") == uid else NO_VIEWER
    except (OSError, ValueError):
        return NO_VIEWER


def _credentials(status: bytes) -> tuple[int, int, int, bool]:
    """Return real, effective and saved uid, and whether any capability is permitted."""
    lines = dict(line.split(b":", 1) for line in status.split(b"\n") if b":" in line)
    try:
        real, effective, saved = map(int, lines[b"Uid"].split()[:3])
        return real, effective, saved, int(lines[b"CapPrm"], 16) != 0
    except KeyError as error:
        raise ValueError("a status file without credentials") from error


def _owner(fd: int, name: str) -> int:
    """Return who made a user namespace."""
    namespace = os.open(name, os.O_RDONLY, dir_fd=fd)
    try:
        answer = fcntl.ioctl(namespace, _NS_GET_OWNER_UID, bytes(_UID.size))
    finally:
        os.close(namespace)
    return int(_UID.unpack(answer)[0])


def _read(fd: int, name: str) -> bytes:
    file = os.open(name, os.O_RDONLY, dir_fd=fd)
    try:
        return os.read(file, _STATUS_BYTES)
    finally:
        os.close(file)
