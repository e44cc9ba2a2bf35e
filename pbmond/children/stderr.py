"""What a child says on its standard error, brought into the daemon's log: escaped, and not much.

A child that strangers talk to may be theirs one day. It must not fill the log, nor write lines that
look like the daemon's own or that a terminal obeys.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from typing import Final

LINE_CHARACTERS: Final = 300
#: So many lines in so long a time, and then only their number.
LINES: Final = 20
WINDOW_NS: Final = 10_000_000_000
_READ_BYTES: Final = 4096
_READS: Final = 16  # at a time: a pipe's 64 KiB


class ErrorPipe:
    """Reads one child's standard error. Nothing blocks; what does not fit is the child's loss."""

    def __init__(self, name: str, log: logging.Logger, logged: Budget) -> None:
        """Make a pipe; children of a kind share ``logged``, so that a new one has no new budget."""
        self._name = name
        self._log = log
        self._logged = logged
        self._line = b""
        self._fd, self._childs = os.pipe()
        os.set_blocking(self._fd, False)
        os.set_blocking(self._childs, False)

    @property
    def childs(self) -> int:
        """The end for the child; ``given`` closes it here."""
        return self._childs

    def given(self) -> None:
        """Close the child's end, once the child has it, or never will."""
        os.close(self._childs)

    def take(self, now_ns: int) -> None:
        """Log the lines that have come. Times are CLOCK_MONOTONIC ns."""
        for _ in range(_READS):
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                return
            *lines, self._line = (self._line + data).split(b"\n")
            for line in lines:
                self._say(line, now_ns)
            self._line = self._line[: LINE_CHARACTERS + 1]  # the rest would be cut anyway

    def close(self, now_ns: int) -> None:
        """Log the rest, also a line without an end."""
        self.take(now_ns)
        if self._line:
            self._say(self._line, now_ns)
        os.close(self._fd)

    def _say(self, line: bytes, now_ns: int) -> None:
        text = line.decode("utf-8", "backslashreplace")
        safe = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
        cut = safe[:LINE_CHARACTERS] + "…" * (len(safe) > LINE_CHARACTERS)
        if self._logged.allows(now_ns):
            self._log.warning("the %s says: %s", self._name, cut)
        elif self._logged.first_refusal:
            self._log.warning("the %s says more than is logged", self._name)


class Budget:
    """How many lines may still be logged."""

    def __init__(self) -> None:
        self._at: deque[int] = deque(maxlen=LINES)
        self._refused = 0

    def allows(self, now_ns: int) -> bool:
        """Return whether a line may be logged now, and count it if so."""
        if len(self._at) == LINES and now_ns - self._at[0] < WINDOW_NS:
            self._refused += 1
            return False
        self._at.append(now_ns)
        self._refused = 0
        return True

    @property
    def first_refusal(self) -> bool:
        """Return whether the last answer was the first "no" after a "yes"."""
        return self._refused == 1
