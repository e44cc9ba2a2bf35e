"""What the daemon tells systemd: that it serves, and that it still does (sd_notify(3)).

The protocol is a datagram to a socket that the environment names. It is promised to stay, and that
page shows it done by hand: sdnotify of PyPI is no less code, and had its last release in 2017.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Final

_SOCKET: Final = "NOTIFY_SOCKET"
_TIMEOUT: Final = "WATCHDOG_USEC"
#: At long intervals the manager waits for so many of them instead.
_INTERVALS: Final = 3


class ServiceManager:
    """The manager that started this process, if one did that wants to know."""

    def __init__(self, interval_ns: int) -> None:
        """``interval_ns`` is the time between snapshots. Children do not inherit the address."""
        address = os.environ.pop(_SOCKET, "")
        timeout = os.environ.pop(_TIMEOUT, "")
        self._sock: socket.socket | None = None
        self._first = f"READY=1\n{_longer(timeout, interval_ns)}"
        if address.startswith(("/", "@")):
            self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sock.settimeout(0)
            with suppress(OSError):
                self._sock.connect(address.replace("@", "\0", 1))

    def close(self) -> None:
        """Say nothing more."""
        if self._sock is not None:
            self._sock.close()

    def served(self) -> None:
        """Say that a snapshot was made, and that a publisher serves it. Never waits."""
        if self._sock is None:
            return
        with suppress(OSError):  # it has no room now, or is being restarted: the next one counts
            self._sock.send(f"{self._first}WATCHDOG=1".encode())
            self._first = ""


def _longer(timeout: str, interval_ns: int) -> str:
    """Return what asks for a longer timeout, if snapshots are further apart than it allows."""
    needed_us = _INTERVALS * interval_ns // 1000
    if timeout.isascii() and timeout.isdigit() and int(timeout) < needed_us:
        return f"WATCHDOG_USEC={needed_us}\n"
    return ""
