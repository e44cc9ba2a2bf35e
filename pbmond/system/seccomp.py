"""Filters of system calls, made by libseccomp, the library that systemd and apt use as well.

Its Python bindings are for the distribution's interpreter alone, and pyseccomp of PyPI has had no
release since 2021: so this calls the few functions of the C library that it takes (seccomp_init(3),
seccomp_rule_add_array(3), seccomp_load(3)).
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from typing import Final

from pbmond.system.syscalls import Calls

_LIBRARY: Final = "libseccomp.so.2"
# seccomp.h
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_MASKED_EQUAL: Final = 7
_TSYNC: Final = 4
_UNKNOWN: Final = -1
#: What a libc that does not get this falls back from.
_NOT_THERE: Final = "clone3"


class _ArgumentRule(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


class NoSeccompError(Exception):
    """There is no libseccomp; the message says what to install."""


def library() -> ctypes.CDLL:
    """Return libseccomp. Raises NoSeccompError."""
    try:
        found = ctypes.CDLL(_LIBRARY)
    except OSError:
        raise NoSeccompError(
            f"there is no {_LIBRARY}: install libseccomp2 (Debian, Ubuntu) or libseccomp (Fedora)"
        ) from None
    found.seccomp_init.restype = ctypes.c_void_p
    found.seccomp_init.argtypes = [ctypes.c_uint32]
    found.seccomp_load.argtypes = [ctypes.c_void_p]
    found.seccomp_release.argtypes = [ctypes.c_void_p]
    found.seccomp_release.restype = None
    found.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    found.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    found.seccomp_rule_add_array.argtypes = [
        *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint),
        ctypes.POINTER(_ArgumentRule),
    ]
    return found


def allow_only(calls: Calls) -> None:
    """Have the kernel refuse every other system call, in all threads, for good. Raises OSError.

    What is refused fails with EPERM. Calls of another architecture end the process. The process
    can gain no privileges by execve(2) from now on either (no_new_privs).
    """
    seccomp = library()
    context = seccomp.seccomp_init(_ERRNO | errno.EPERM)
    if not context:
        raise OSError(errno.ENOMEM, "no memory for a filter of system calls")
    try:
        _check(seccomp.seccomp_attr_set(context, _TSYNC, 1))
        for name, comparisons in _rules(calls):
            _add(seccomp, context, _ALLOW, name, *comparisons)
        _add(seccomp, context, _ERRNO | errno.ENOSYS, _NOT_THERE)
        _check(seccomp.seccomp_load(context))
    finally:
        seccomp.seccomp_release(context)


def _rules(calls: Calls) -> Iterator[tuple[str, tuple[_ArgumentRule, ...]]]:
    for name in sorted(calls.always):
        yield name, ()
    for name, argument, value in calls.equal:
        # As 32 bits, which is what the kernel takes of an int: the upper half may hold anything.
        yield name, (_ArgumentRule(argument, _MASKED_EQUAL, 0xFFFFFFFF, value),)
    for name, argument, mask, value in calls.masked:
        yield name, (_ArgumentRule(argument, _MASKED_EQUAL, mask, value),)


def _add(
    seccomp: ctypes.CDLL, context: int, action: int, name: str, *comparisons: _ArgumentRule
) -> None:
    number = seccomp.seccomp_syscall_resolve_name(name.encode())
    if number == _UNKNOWN:
        return
    array = (_ArgumentRule * len(comparisons))(*comparisons)
    result = seccomp.seccomp_rule_add_array(context, action, number, len(comparisons), array)
    if number >= 0:  # negative: known elsewhere, but no call of this machine
        _check(result)


def _check(result: int) -> None:
    """Raise OSError for a negative errno."""
    if result < 0:
        raise OSError(-result, f"the filter of system calls: {os.strerror(-result)}")
