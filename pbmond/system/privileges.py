"""Giving rights up, down to what ``rights`` says of a process. Nothing here gives any back.

This uses prctl(2), capset(2) and the set*id calls. Each failure is an OSError: no function returns
with more rights than intended. Call them before any thread starts: capabilities belong to threads.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from pbmond.system.rights import (
    COLLECTOR_RIGHTS,
    EXPENDABLE_OOM_SCORE,
    FORKER_RIGHTS,
    LOADER_RIGHTS,
    LOADING,
    NUMBERS,
    STARTING,
    Rights,
)
from pbmond.system.seccomp import allow_only

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_KEEPCAPS: Final = 8
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_PR_SET_MDWE: Final = 65
_PR_MDWE_REFUSE_EXEC_GAIN: Final = 1
_CAPABILITY_VERSION_3: Final = 0x20080522


def confine_daemon() -> None:
    """Keep what the daemon and its children start with. First of all, and inherited by all.

    From now on no memory becomes executable that was writable (Linux 6.3 and later), no program
    that is executed gains a privilege, and nothing leaves a core file.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _refuse_written_code()
    limit_resources({resource.RLIMIT_CORE: 0})
    _keep(STARTING)


def confine_loading() -> None:
    """Give up what only the forker needs, once it runs."""
    _keep(LOADING)


def confine_collector() -> None:
    """Keep what the collector needs once the programs are attached, and filter its calls."""
    _keep(COLLECTOR_RIGHTS.capabilities)
    _filter(COLLECTOR_RIGHTS)


def confine_loader() -> None:
    """Bound what the loader will have: between fork and its execution."""
    _bound(LOADER_RIGHTS.capabilities)


def confine_forker() -> None:
    """Keep what the forker needs; it dies with its parent."""
    parent = os.getppid()
    _keep(FORKER_RIGHTS.capabilities)
    die_with_parent(parent)


def become(uid: int, gid: int, rights: Rights) -> None:
    """Make this process permanently unprivileged, but for ``rights``; it dies with its parent.

    It also offers itself first when memory runs out. Raises OSError, also if root could be
    regained.
    """
    parent = os.getppid()
    _offer_to_die()
    if rights.capabilities:
        _prctl(_PR_SET_KEEPCAPS, 1)
    _bound(())
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _set_capabilities(rights.capabilities)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)  # other processes of this user may not trace it
    die_with_parent(parent)  # after the set*id calls, which undo it
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3 or os.getgroups():
        raise PermissionError("the kernel kept more rights than asked for")
    _filter(rights)


def die_with_parent(parent: int) -> None:
    """Be killed when ``parent`` ends. ProcessLookupError if it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError("the parent process has ended")


def limit_resources(limits: Mapping[int, int]) -> None:
    """Lower the limits of this process, for good, to each RLIMIT's value; none is raised."""
    for what, value in limits.items():
        _, hard = resource.getrlimit(what)
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (limit, limit))


def _refuse_written_code() -> None:
    """Linux 6.3 and later: memory that was written cannot be executed, here and in children."""
    try:
        _prctl(_PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN)
    except OSError as error:
        if error.errno != errno.EINVAL:  # an older kernel
            raise


def _offer_to_die() -> None:
    """Be the first to be killed when memory runs out; one that is higher already stays so."""
    path = Path("/proc/self/oom_score_adj")
    if int(path.read_text()) < EXPENDABLE_OOM_SCORE:
        with suppress(PermissionError):  # a container's, where /proc is read-only
            path.write_text(f"{EXPENDABLE_OOM_SCORE}\n")


def _filter(rights: Rights) -> None:
    if rights.calls is not None:
        allow_only(rights.calls)


def _keep(capabilities: Iterable[str]) -> None:
    """Have these capabilities at most, and empty inheritable and ambient sets."""
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _bound(capabilities)
    _set_capabilities(capabilities)


def _bound(capabilities: Iterable[str]) -> None:
    """Take every other capability out of the bounding set. Needs CAP_SETPCAP unless it is empty."""
    keep = {NUMBERS[name] for name in capabilities}
    for number in range(_last_capability() + 1):
        if number not in keep and _prctl(_PR_CAPBSET_READ, number):
            _prctl(_PR_CAPBSET_DROP, number)


def _last_capability() -> int:
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def _prctl(option: int, first: int, second: int = 0) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [ctypes.c_ulong(value) for value in (first, second, 0, 0)]
    result = int(libc.prctl(ctypes.c_int(option), *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {first}) failed")
    return result


def _set_capabilities(names: Iterable[str]) -> None:
    """Make ``names`` the effective and permitted set; the inheritable set becomes empty."""
    mask = sum(1 << NUMBERS[name] for name in names) & _permitted()
    halves = (mask & 0xFFFFFFFF, mask >> 32)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
    data = ctypes.create_string_buffer(
        b"".join(struct.pack("=III", half, half, 0) for half in halves)
    )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset failed")


def _permitted() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapPrm:"):
            return int(line.split()[1], 16)
    raise OSError("/proc/self/status has no CapPrm")
