"""The daemon's log: standard error, or a file that is opened anew after it was rotated."""

from __future__ import annotations

import logging
from pathlib import Path

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


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
        handler.setFormatter(logging.Formatter(_FORMAT))
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
