"""Dropping privileges: most of the collector's, all of the publisher's, all but one of a reader's.

This uses prctl(2), capset(2) and the set*id calls. Each failure is an OSError: no function returns
with more rights than intended.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

#: What the collector keeps after attaching, by capability number (linux/capability.h).
COLLECTOR_CAPABILITIES: Final = (
    2,  # CAP_DAC_READ_SEARCH: list /proc/PID/fd of other users
    5,  # CAP_KILL: end a publisher that hangs
    6,  # CAP_SETGID: start the publisher as its group
    7,  # CAP_SETUID: and as its user
    19,  # CAP_SYS_PTRACE: read exe, io and fd of every process
    23,  # CAP_SYS_NICE: do not get preempted while keys are deleted
    39,  # CAP_BPF: read and trim the maps where unprivileged bpf(2) is off (kernels before 5.19)
)

_CAP_DAC_READ_SEARCH: Final = 2

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_KEEPCAPS: Final = 8
_PR_SET_SECCOMP: Final = 22
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITY_VERSION_3: Final = 0x20080522

# Classic BPF (linux/bpf_common.h), and what a seccomp filter returns (linux/seccomp.h).
_LOAD_WORD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06
_SECCOMP_MODE_FILTER: Final = 2
_SECCOMP_KILL: Final = 0x80000000
_SECCOMP_ERRNO: Final = 0x00050000
_SECCOMP_ALLOW: Final = 0x7FFF0000
_X32_BIT: Final = 0x40000000
#: AUDIT_ARCH_* of each machine, and its numbers of socket, socketpair, connect, execve, execveat.
_REFUSED_CALLS: Final = {
    "x86_64": (0xC000003E, (41, 53, 42, 59, 322)),
    "aarch64": (0xC00000B7, (198, 199, 203, 221, 281)),
}


def reduce_collector() -> None:
    """Keep only COLLECTOR_CAPABILITIES, for this process and whatever it executes later.

    Call this before any thread starts: capabilities belong to threads. Raises OSError.
    """
    keep = frozenset(COLLECTOR_CAPABILITIES)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    for number in range(_last_capability() + 1):
        if number not in keep:
            _prctl(_PR_CAPBSET_DROP, number)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _set_capabilities(keep)


def become(uid: int, gid: int) -> None:
    """Make this process permanently unprivileged; it dies with its parent.

    Call this before any thread starts. Raises OSError, also if root could be regained.
    """
    _become(uid, gid, ())


def become_reader(uid: int, gid: int) -> None:
    """Do as ``become``, but go on to read every file; make no socket and execute nothing."""
    _prctl(_PR_SET_KEEPCAPS, 1)
    _become(uid, gid, (_CAP_DAC_READ_SEARCH,))
    refuse_sockets()


def _become(uid: int, gid: int, keep: Iterable[int]) -> None:
    parent = os.getppid()
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _set_capabilities(keep)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # after the set*id calls, which clear it
    if os.getppid() != parent:
        raise ProcessLookupError("the parent process has ended")
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3 or os.getgroups():
        raise PermissionError("the kernel kept more rights than asked for")


def limit_resources(limits: Mapping[int, int]) -> None:
    """Lower the limits of this process, for good, to each RLIMIT's value; none is raised."""
    for what, value in limits.items():
        _, hard = resource.getrlimit(what)
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (limit, limit))


def refuse_sockets() -> None:
    """Let the kernel refuse to make or connect sockets, or to execute a program.

    Needs no_new_privs. Raises OSError, on kernels without seccomp filters and other machines too.
    """
    found = _REFUSED_CALLS.get(os.uname().machine)
    if found is None:
        raise OSError(errno.ENOSYS, "no filter for this machine")
    architecture, calls = found
    # struct seccomp_data: number at 0, architecture at 4. Jumps are relative to the next one.
    filters = [
        (_LOAD_WORD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _SECCOMP_KILL),
        (_LOAD_WORD, 0, 0, 0),
        (_JUMP_AT_LEAST, len(calls) + 1, 0, _X32_BIT),
        *((_JUMP_EQUAL, len(calls) - at, 0, call) for at, call in enumerate(calls)),
        (_RETURN, 0, 0, _SECCOMP_ALLOW),
        (_RETURN, 0, 0, _SECCOMP_ERRNO | errno.EPERM),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in filters))
    program = ctypes.create_string_buffer(
        struct.pack("@HP", len(filters), ctypes.addressof(code))  # struct sock_fprog
    )
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program))


def _last_capability() -> int:
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def _prctl(option: int, first: int, second: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [ctypes.c_ulong(value) for value in (first, second, 0, 0)]
    if libc.prctl(ctypes.c_int(option), *arguments) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {first}) failed")


def _set_capabilities(numbers: Iterable[int]) -> None:
    """Make ``numbers`` the effective and permitted set; the inheritable set becomes empty."""
    mask = sum(1 << number for number in numbers) & _permitted()
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
