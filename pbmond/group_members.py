"""What the user and group databases say of who belongs to a group."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd


def is_member(group: str, uid: int) -> bool:
    """Return what the user and group databases say. This may take as long as they like."""
    try:
        gid = grp.getgrnam(group).gr_gid
        user = pwd.getpwuid(uid)
        return gid in group_list(user.pw_name, user.pw_gid)
    except (KeyError, OSError):
        return False


def group_list(name: str, gid: int) -> list[int]:
    """Do as os.getgrouplist, which would stop every thread meanwhile (getgrouplist(3))."""
    libc = ctypes.CDLL(None)  # of CDLL, not PyDLL: a call does not hold the interpreter's lock
    room = 64
    while True:
        groups = (ctypes.c_uint32 * room)()
        count = ctypes.c_int(room)
        user = os.fsencode(name), ctypes.c_uint32(gid)
        if libc.getgrouplist(*user, groups, ctypes.byref(count)) >= 0:
            return groups[: count.value]
        room = max(2 * room, count.value)
