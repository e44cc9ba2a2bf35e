"""Text for people: hostile bytes made safe once, display widths, short numbers and times."""

from __future__ import annotations

import re
import time
import unicodedata
from typing import Final

_SUFFIXES = "KMGTPE"
_UNKNOWN = "?"


def safe(raw: bytes) -> str:
    r"""Turn bytes of any origin into one line of printable text.

    Invalid UTF-8 becomes ``\xNN``; control, format (bidi among them), separator and unassigned
    characters become ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``. Not reversible.
    """
    return safe_text(raw.decode("utf-8", "backslashreplace"))


def safe_text(text: str) -> str:
    """Do for text what ``safe`` does for bytes."""
    return text if text.isprintable() else "".join(map(_escape, text))


def _escape(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def safe_cmdline(raw: bytes) -> str:
    """Join the NUL-separated arguments of a process with spaces, made safe."""
    return safe(raw.rstrip(b"\0").replace(b"\0", b" "))


def width(text: str) -> int:
    """Count the terminal cells of printable text: wide characters take two, combining ones none."""
    if text.isascii() or _NARROW.fullmatch(text):
        return len(text)
    return sum(map(_cells, text))


#: Characters of one cell each, including those that the interface itself draws with. Asking the
#: character database about each of them would take half the time of drawing a screen.
_NARROW: Final = re.compile(
    r"[ -~\xa1-\xac\xae-\u02ff\u2013-\u2014\u2018-\u2020\u2022\u2026\u203a"
    r"\u2190-\u21ff\u2500-\u259f\u25b2\u25bc\u2800-\u28ff]*"
)


def _cells(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, cells: int, *, keep_end: bool = False) -> str:
    """Cut text to ``cells`` terminal cells, marking the cut with ``…``, and pad it with spaces."""
    spare = cells - width(text)
    if spare >= 0:
        return text + " " * spare
    kept, used = "", 0
    for char in reversed(text) if keep_end else text:
        used += _cells(char)
        if used > cells - 1:
            break
        kept += char
    kept = "…" + kept[::-1] if keep_end else kept + "…"
    return kept + " " * (cells - width(kept))


def human(value: float | None, kilo: int = 1000) -> str:
    """Write a number of bytes (or bytes/s) in at most five characters: ``999``, ``1.5M``, ``?``.

    K is ``kilo``. ``?`` is unknown; ``<1`` is more than nothing.
    """
    if value is None:
        return _UNKNOWN
    if value < 999.5:
        return "<1" if 0 < value < 0.5 else f"{value:.0f}"
    for suffix in _SUFFIXES:
        value /= kilo
        if value < 99.95:
            return f"{value:.1f}{suffix}"
        if value < 999.5:
            break
    return f"{value:.0f}{suffix}"


def iso_time(time_ns: int) -> str:
    """Write CLOCK_REALTIME nanoseconds as ISO 8601 in UTC, to the microsecond."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{stamp}.{rest // 1000:06d}Z"


def device(number: int) -> str:
    """Write a device number as the kernel keeps it (major << 20 | minor) as ``major:minor``."""
    return f"{number >> 20}:{number & 0xFFFFF}"
