"""The system calls that each confined process makes, by what they are for.

A name that libseccomp or the machine does not know is left out: older ones have no need for it.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Final

_CLONE_THREAD: Final = 0x00010000  # linux/sched.h
_PR_SET_NAME: Final = 15  # linux/prctl.h
_NS_GET_OWNER_UID: Final = 0xB704  # linux/nsfs.h
# asm-generic/ioctls.h: TCGETS, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX.
_IOCTLS: Final = (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)

_FILES: Final = (
    *("open", "openat", "close", "close_range", "read", "readv", "pread64", "preadv", "lseek"),
    *("write", "writev", "pwrite64", "getdents64", "readlink", "readlinkat", "access", "faccessat"),
    *("faccessat2", "stat", "lstat", "fstat", "newfstatat", "fstatat64", "statx", "statfs"),
    *("fstatfs", "getcwd", "fcntl", "dup", "dup2", "dup3", "umask", "fadvise64"),
    # A file of its own that grew too large, or has served; what a user may change says its owner.
    *("ftruncate", "fallocate", "fsync", "fdatasync", "unlink", "unlinkat"),
)
_MEMORY: Final = ("brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "membarrier")
_TIME: Final = (
    *("clock_gettime", "clock_getres", "gettimeofday", "time", "nanosleep", "clock_nanosleep"),
)
_WAITING: Final = (
    *("poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl"),
    *("epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "pipe", "pipe2", "futex"),
    *("restart_syscall", "sched_yield"),
)
_ITSELF: Final = (
    *("getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getresuid"),
    *("getresgid", "getgroups", "getrusage", "times", "uname", "sysinfo", "getrandom", "capget"),
    *("sched_getaffinity", "sched_getscheduler", "sched_getparam", "getpriority", "getrlimit"),
    *("getpgrp", "getpgid", "getsid", "getcpu", "exit", "exit_group"),
)
_THREADS: Final = (
    *("set_robust_list", "rseq", "set_tid_address", "arch_prctl", "rt_sigaction", "sigaltstack"),
    *("rt_sigprocmask", "rt_sigreturn", "tgkill"),  # tgkill: abort(3)
)
#: On sockets that a process has; making one is another matter. No shutdown(2): it would close the
#: listening socket for every publisher to come.
_SOCKETS: Final = (
    *("recvfrom", "recvmsg", "recvmmsg", "sendto", "sendmsg", "sendmmsg"),
    *("getsockopt", "setsockopt", "getsockname", "getpeername"),
)
#: Threads, but no processes. (clone3 hides its flags from filters; libc then falls back to clone.)
_MASKED: Final = (("clone", 0, _CLONE_THREAD, _CLONE_THREAD),)
_EQUAL: Final = (
    *(("ioctl", 1, request) for request in _IOCTLS),
    ("prctl", 0, _PR_SET_NAME),
    ("prlimit64", 0, 0),  # of no other process
)


@dataclass(frozen=True, slots=True)
class Calls:
    """System calls: ``always``; those whose argument is ``equal``, or equal after a mask.

    ``equal``: (call, number of the argument, value). ``masked``: (call, number, mask, value).
    """

    always: frozenset[str]
    equal: tuple[tuple[str, int, int], ...] = _EQUAL
    masked: tuple[tuple[str, int, int, int], ...] = field(default=_MASKED)

    @property
    def names(self) -> frozenset[str]:
        """Return every call that is allowed, with whatever arguments."""
        return self.always | {name for name, *_ in self.equal} | {name for name, *_ in self.masked}


_COMMON: Final = frozenset((*_FILES, *_MEMORY, *_TIME, *_WAITING, *_ITSELF, *_THREADS, *_SOCKETS))

#: A process that only answers on the socket that it was given.
EXPENDABLE: Final = Calls(_COMMON)
#: It accepts connections. Membership of groups may come from a service on a Unix socket.
PUBLISHER: Final = Calls(
    _COMMON | {"accept", "accept4", "connect"},
    (*_EQUAL, ("socket", 0, socket.AF_UNIX)),
)
#: It reads maps, /proc and netlink (by sockets that it has), and asks the forker for its children.
COLLECTOR: Final = Calls(
    _COMMON
    | {"bpf", "sched_setscheduler", "memfd_create", "pidfd_send_signal", "socketpair"}
    | {"bind", "connect", "fchmod", "wait4", "waitid"},
    (
        *(*_EQUAL, ("ioctl", 1, _NS_GET_OWNER_UID)),  # whose a user namespace is
        ("socket", 0, socket.AF_UNIX),
    ),
)
