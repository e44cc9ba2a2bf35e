"""Who but root may see a process, by its files in /proc: whom ptrace's rule lets read them.

The rule is that of ``bpf/viewers.h``. The kernel applies it to the main thread (ptrace(2), "Ptrace
access mode checking"), whose files show what all threads do. Here other threads must at least have
its effective user: a single system call changes one thread only.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
from contextlib import suppress
from itertools import islice
from typing import Final

from pbmond.kernel.records import NO_VIEWER

#: PROC_USER_INIT_INO of include/linux/proc_ns.h.
_INITIAL_USER_NAMESPACE: Final = b"user:[4026531837]"
_NS_GET_OWNER_UID: Final = 0xB704  # include/uapi/linux/nsfs.h
_UID: Final = struct.Struct("=I")
MAX_THREADS: Final = 1024
_USERS: Final = re.compile(rb"\nUid:\t(\d+)\t(\d+)\t(\d+)\t")
_CAPABILITIES: Final = re.compile(rb"\nCapPrm:\t([0-9a-f]+)\n")
_STATUS_BYTES: Final = 4096  # what is looked for is in the first kilobyte


def viewer(fd: int, living: str, uid: int, threads: int) -> int:
    """Return the only user but root who may see a process; NO_VIEWER: nobody, or not known.

    ``fd`` is the process's directory, ``living`` the prefix of a living thread's files below it,
    ``uid`` its effective user. Of more than MAX_THREADS others only some are looked at.
    """
    if not uid:
        return uid
    try:
        if not _belongs(fd, living, uid) or (threads > 1 and not _threads_belong(fd, uid)):
            return NO_VIEWER
        real, effective, saved, has_capabilities = _credentials(_read(fd, living + "status"))
        if not real == effective == saved == uid:
            return NO_VIEWER
        if os.readlink((living + "ns/user").encode(), dir_fd=fd) == _INITIAL_USER_NAMESPACE:
            return NO_VIEWER if has_capabilities else uid
        return uid if _owner(fd, living + "ns/user") == uid else NO_VIEWER
    except (OSError, ValueError):
        return NO_VIEWER


def _belongs(fd: int, thread: str, uid: int) -> bool:
    """Return whether a thread's files belong to its effective user ``uid``.

    If it may not be dumped, they belong to root (task_dump_owner in fs/proc/base.c).
    """
    return os.stat(thread + "environ", dir_fd=fd).st_uid == uid


def _threads_belong(fd: int, uid: int) -> bool:
    tasks = os.open("task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
    try:
        with os.scandir(tasks) as entries:
            names = [entry.name for entry in islice(entries, MAX_THREADS)]
        for name in names:
            with suppress(FileNotFoundError, ProcessLookupError):  # it has exited
                if not _belongs(tasks, f"{name}/", uid):
                    return False
    finally:
        os.close(tasks)
    return True


def _credentials(status: bytes) -> tuple[int, int, int, bool]:
    """Return real, effective and saved uid, and whether any capability is permitted."""
    # No name can imitate them: the kernel escapes its line ends.
    uids, capabilities = _USERS.search(status), _CAPABILITIES.search(status)
    if uids is None or capabilities is None:
        raise ValueError("a status file without credentials")
    real, effective, saved = map(int, uids.groups())
    return real, effective, saved, int(capabilities[1], 16) != 0


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
