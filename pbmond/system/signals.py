"""What signals do: SIGTERM and SIGINT end the daemon, SIGHUP has it reopen its log."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable
from types import FrameType


class Signals:
    """Handles these signals from now on, until the process ends."""

    def __init__(self, reopen_log: Callable[[], None], *, hangup_ends: bool) -> None:
        """``hangup_ends``: the log is on a terminal, so that SIGHUP means that it was closed."""
        self._reopen_log = reopen_log
        self._hangup_ends = hangup_ends
        self._read, self._write = socket.socketpair()
        self._read.settimeout(0)
        self._write.settimeout(0)
        self._serving = False
        self._end = self._hangup = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._handle)

    def __enter__(self) -> Signals:
        return self

    def __exit__(self, *_: object) -> None:
        self._read.close()
        self._write.close()

    @property
    def fd(self) -> int:
        """Readable once a signal has come; ``ending`` tells which."""
        return self._read.fileno()

    def serve(self) -> None:
        """From now on signals wait for ``ending``; before, one that ends raises SystemExit."""
        self._serving = True

    def ending(self) -> bool:
        """Act on the signals that have come; return whether the daemon must end."""
        with contextlib.suppress(BlockingIOError):
            self._read.recv(4096)
        if self._hangup:
            self._hangup = False
            self._reopen_log()
        return self._end

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP and not self._hangup_ends:
            self._hangup = True
        elif self._serving:
            self._end = True
        else:
            self._serving = True
            raise SystemExit(0)
        with contextlib.suppress(OSError):  # full: it is readable already; or closed at the end
            self._write.send(b"S")
