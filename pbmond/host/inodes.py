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


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
