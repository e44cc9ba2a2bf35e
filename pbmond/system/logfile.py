"""The daemon's log: standard error, or a file that is opened anew after it was rotated."""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

from pbmond.system.one_line import OneLineFormatter
from pbmond.system.safe_paths import Walk, open_own

_CLOSED: Final = -1
_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
#: How often standard error hears of a file that cannot be written.
_COMPLAIN_EVERY_S: Final = 60.0


class LogFile(logging.Handler):
    """Appends to a file, which only root can have put where it is; OSError if it cannot.

    A message for which the disk has no room is lost. The next one that can be written says so.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._lost = 0
        self._torn = False  # the last line has no end
        self._complained_s = -_COMPLAIN_EVERY_S
        self._fd = self._open()

    def reopen(self) -> None:
        """Go on in a new file of the same name; OSError leaves the old one in use."""
        before, self._fd = self._fd, self._open()
        self._torn = False
        os.close(before)

    def emit(self, record: logging.LogRecord) -> None:
        """Append a message at once: nothing is kept back that may fail to be written later."""
        try:
            text = f"{self.format(record)}\n"
            if self._lost:
                text = f"{self._lost} messages are missing here: they could not be written\n{text}"
            if self._torn:
                text = f"\n{text}"
            self._write(text.encode(errors="backslashreplace"))
            self._lost = 0
        except OSError as error:
            self._lost += 1
            self._complain(error)
        except Exception:  # noqa: BLE001 - a message that cannot be formatted ends nothing
            self.handleError(record)

    def close(self) -> None:
        """Close the file; messages that come later are lost."""
        if self._fd != _CLOSED:
            os.close(self._fd)
            self._fd = _CLOSED
        super().close()

    def _open(self) -> int:
        with Walk().parent(self._path, follow=False) as (folder, name):
            return open_own(folder, name, os.O_WRONLY | os.O_APPEND, 0o640)

    def _write(self, line: bytes) -> None:
        written = os.write(self._fd, line)
        self._torn = written < len(line)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _complain(self, error: OSError) -> None:
        """Say once in a while on standard error, if there is one, that messages are lost."""
        now = time.monotonic()
        if now - self._complained_s >= _COMPLAIN_EVERY_S:
            self._complained_s = now
            with suppress(OSError, AttributeError):
                sys.stderr.write(f"pbmond: {self._path}: {error.strerror}; messages are lost\n")


class StandardError(logging.StreamHandler[TextIO]):
    """Standard error. If it is gone or full, messages are lost: there is nowhere to say so."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Write no traceback to where writing just failed; a wrong call still gets one."""
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


class Log:
    """Where the daemon's messages go."""

    def __init__(self, level: str, path: Path | None) -> None:
        """Log from ``level`` up to ``path``, None for standard error; raises OSError."""
        self._file = None if path is None else LogFile(path)
        handler = self._file or StandardError()
        handler.setFormatter(OneLineFormatter(_FORMAT))
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
                log.error("SIGHUP: the log file cannot be reopened: %s", error.strerror)
                return
        log.info("SIGHUP: %s; the configuration is read only at the start: restart pbmond", done)
