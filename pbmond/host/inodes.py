"""Which inode a name refers to, without waiting for a network or FUSE server (libc by ctypes).

``os.stat`` on a descriptor of another process asks the server for fresh attributes and may hang
with it. The calls here use what the kernel has cached.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)

_AT_NO_AUTOMOUNT: Final = 0x800
_AT_EMPTY_PATH: Final = 0x1000
_AT_STATX_DONT_SYNC: Final = 0x4000
_STATX_INO: Final = 0x100
_statx_fields: Final = struct.Struct("=32xQ96xII")  # stx_ino, stx_dev_major, stx_dev_minor
_STATX_FLAGS: Final = _AT_EMPTY_PATH | _AT_NO_AUTOMOUNT | _AT_STATX_DONT_SYNC
#: Made once, because a busy host has many descriptors to look at. Only one thread asks.
_result: Final = ctypes.create_string_buffer(256)
_statx: Final = _libc.statx

Identity = tuple[int, int]


def identity(name: bytes, dir_fd: int) -> Identity:
    """Return device and inode of ``name`` below ``dir_fd``, following links; OSError like stat.

    The device is numbered as in the kernel: major << 20 | minor. An empty name means ``dir_fd``
    itself.
    """
    if _statx(dir_fd, name, _STATX_FLAGS, _STATX_INO, _result) != 0:
        raise _error()
    inode, major, minor = _statx_fields.unpack_from(_result)
    return major << 20 | minor, inode


def mount_devices(mountinfo: bytes) -> dict[bytes, int]:
    """Return the device of each mount in /proc/PID/mountinfo by the mount's id."""
    devices = {}
    for line in mountinfo.splitlines():  # 36 35 98:0 /root /mnt rw ...
        words = line.split(maxsplit=3)
        if len(words) == 4:
            major, _, minor = words[2].partition(b":")
            devices[words[0]] = int(major) << 20 | int(minor)
    return devices


def identity_from_text(
    fdinfo: bytes, devices: Callable[[], Mapping[bytes, int]]
) -> Identity | None:
    """Return the same of a descriptor from the texts of its process; None if they do not say.

    ``fdinfo`` is /proc/PID/fdinfo/N, which has the inode number since Linux 5.14; ``devices``
    gives those of its mounts. The device is that of the file system: stat may show another on btrfs
    and overlayfs, but neither refuses root.
    """
    fields = dict(line.split(b":", 1) for line in reversed(fdinfo.splitlines()) if b":" in line)
    mount, inode = fields.get(b"mnt_id", b"").strip(), fields.get(b"ino", b"").strip()
    if not (mount and inode.isdigit()):
        return None
    device = devices().get(mount)
    return None if device is None else (device, int(inode))


def socket_device() -> int:
    """Return the device of all sockets, as ``identity`` gives it."""
    with socket.socketpair()[0] as one:
        return identity(b"", one.fileno())[0]


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
