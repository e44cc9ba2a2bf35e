"""Text on one line: names from the kernel, files and arguments, escaped for logs and terminals."""

from __future__ import annotations

import logging
from typing import Any


def one_line(text: str) -> str:
    """Return ``text`` with everything escaped that a terminal or a reader of lines would obey."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()


class OneLineFormatter(logging.Formatter):
    """Writes each message on one line; only a traceback has more, and nothing else to obey."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Escape the message, whatever names are in it."""
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802, ANN401 - logging's
        """Escape the lines of a traceback, whose last one may hold a name."""
        return "\n".join(map(one_line, super().formatException(ei).split("\n")))
