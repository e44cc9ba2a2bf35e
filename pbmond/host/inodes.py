"""Which inode a name refers to, without waiting for a network or FUSE server (libc by ctypes).

``os.stat`` on a descriptor of another process asks the server for fresh attributes and may hang
with it. The calls here use what the kernel has cached.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)

_AT_NO_AUTOMOUNT: Final = 0x800
_AT_EMPTY_PATH: Final = 0x1000
_AT_STATX_DONT_SYNC: Final = 0x4000
_STATX_INO: Final = 0x100
_statx_fields: Final = struct.Struct("=32xQ96xII")  # stx_ino, stx_dev_major, stx_dev_minor
_STATX_SIZE: Final = 256

_SYS_OPENAT2: Final = 437  # the same number on every architecture
_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_BENEATH: Final = 0x08
_RESOLVE_CACHED: Final = 0x20
_open_how: Final = struct.Struct("=QQQ")  # flags, mode, resolve

Identity = tuple[int, int]


def identity(name: bytes, dir_fd: int) -> Identity:
    """Return (st_dev, st_ino) of ``name`` below ``dir_fd``, following links; OSError like stat.

    An empty name means ``dir_fd`` itself.
    """
    buffer = ctypes.create_string_buffer(_STATX_SIZE)
    flags = _AT_EMPTY_PATH | _AT_NO_AUTOMOUNT | _AT_STATX_DONT_SYNC
    if _libc.statx(dir_fd, name, flags, _STATX_INO, buffer) != 0:
        raise _error()
    inode, major, minor = _statx_fields.unpack_from(buffer)
    return os.makedev(major, minor), inode


def cached_identity(path: bytes, dir_fd: int) -> Identity:
    """Return (st_dev, st_ino) of the relative ``path`` if that needs no I/O.

    OSError if it does not exist or is not cached, and on kernels before 5.12, which cannot tell.
    Symbolic links are not followed, and the path cannot lead out of ``dir_fd``.
    """
    resolve = _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH | _RESOLVE_CACHED
    how = _open_how.pack(os.O_PATH | os.O_CLOEXEC, 0, resolve)
    descriptor = _libc.syscall(
        ctypes.c_long(_SYS_OPENAT2), ctypes.c_long(dir_fd), path, how, ctypes.c_size_t(len(how))
    )
    if descriptor < 0:
        raise _error()
    try:
        return identity(b"", descriptor)
    finally:
        os.close(descriptor)


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
