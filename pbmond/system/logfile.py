"""The daemon's log: standard error, or a file that is opened anew after it was rotated."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def one_line(text: str) -> str:
    """Return ``text`` with everything escaped that a terminal or a reader of lines would obey."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()


class _Lines(logging.Formatter):
    """Writes names from the kernel and from files harmlessly: a message is one line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802, ANN401 - logging's
        return "\n".join(map(one_line, super().formatException(ei).split("\n")))


class LogFile(logging.FileHandler):
    """Appends to a file."""

    def reopen(self) -> None:
        """Go on in a new file of the same name; OSError leaves the old one in use."""
        before = self.setStream(self._open())
        if before is not None:
            before.close()


class Log:
    """Where the daemon's messages go."""

    def __init__(self, level: str, path: Path | None) -> None:
        """Log from ``level`` up to ``path``, None for standard error; raises OSError."""
        self._file = None if path is None else LogFile(path)
        handler = self._file or logging.StreamHandler()
        handler.setFormatter(_Lines(_FORMAT))
        root = logging.getLogger()
        root.addHandler(handler)
        root.setLevel(level.upper())

    def reopen(self) -> None:
        """Reopen the file if there is one; say in the log what that did, and what it did not."""
        log = logging.getLogger("pbmond")
        done = "there is no log file to reopen"
        if self._file is not None:
            try:
                self._file.reopen()
                done = "log file reopened"
            except OSError as error:
                log.error("SIGHUP: the log file cannot be reopened: %s", error)
                return
        log.info("SIGHUP: %s; the configuration is read only at the start: restart pbmond", done)
