"""The netlink sockets of the host's network that systemd made for the daemon (sd_listen_fds(3))."""

from __future__ import annotations

import os
import socket
from typing import Final

_FIRST: Final = 3  # SD_LISTEN_FDS_START
_PID, _COUNT = "LISTEN_PID", "LISTEN_FDS"


def take() -> list[socket.socket]:
    """Return them, so that no child inherits them or hears of them; none: systemd gave none.

    Sockets of other kinds, which nobody was asked for, are closed.
    """
    given_to, count = os.environ.pop(_PID, ""), os.environ.pop(_COUNT, "")
    if given_to != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return []
    found = []
    for fd in range(_FIRST, _FIRST + int(count)):
        os.set_inheritable(fd, False)  # noqa: FBT003 - has no name for it
        sock = socket.socket(fileno=fd)
        if (sock.family, sock.proto) == (socket.AF_NETLINK, socket.NETLINK_ROUTE):
            found.append(sock)
        else:
            sock.close()
    return found
