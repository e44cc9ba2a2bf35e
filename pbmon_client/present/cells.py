"""Lines of terminal cells: text made safe, cut, padded and laid over each other.

A line is a list of (role, text) runs; a role is a name of ``palette``. Text in lines is printable.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

from pbmon_client.data.text import fit, width

#: Characters that look like others, named to avoid mix-ups.
TIMES: Final = "\N{MULTIPLICATION SIGN}"
DASH: Final = "\N{EN DASH}"
CRUMB: Final = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"

Span = tuple[str, str]
Line = list[Span]

#: Left-to-right mark, zero cells wide: keeps a right-to-left name from reordering its neighbours.
_LRM: Final = "\u200e"
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL", "AN"})
#: Characters whose width terminals disagree on; one in a name would shift the line.
_CONTESTED: Final = dict.fromkeys(
    [
        *range(0x1160, 0x1200),  # Hangul vowels and finals, which join the syllable before
        *range(0xD7B0, 0xD800),
        *range(0xFE00, 0xFE10),  # variation selectors: some terminals widen the character before
        *range(0x1F1E6, 0x1F200),  # regional indicators: a pair is a flag in some terminals
        *range(0x1F3FB, 0x1F400),  # skin tones
        *range(0xE0100, 0xE01F0),
    ],
    "?",
)
_LONGEST: Final = 4096  # characters looked at to fill a line; a name may have a million
#: What an ASCII terminal gets in place of the characters that the interface itself uses.
_ASCII: Final = str.maketrans(
    {
        **dict(zip("▁▂▃▄▅▆▇█", "__..--=#", strict=True)),
        **dict(zip("…─│┃╵┌┐└┘├▲▼·•→←↑↓", "~-|!'++++|^v.*><^v", strict=True)),
        TIMES: "x",
        DASH: "-",
        CRUMB: ">",
        _LRM: None,
    }
)


def clean(text: str) -> str:
    """Make printable text safe in a line of cells: no contested widths, no reordering."""
    if text.isascii():
        return text
    text = text[:_LONGEST].translate(_CONTESTED)
    if any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in text):
        return f"{_LRM}{text}{_LRM}"
    return text


def reads_unicode(environment: Mapping[str, str]) -> bool:
    """Whether the locale's terminal shows Unicode.

    Python itself treats the C locale as UTF-8, so it cannot be asked.
    """
    names = ("LC_ALL", "LC_CTYPE", "LANG")
    locale = next((value for name in names if (value := environment.get(name))), "")
    return "utf" in locale.lower()


def in_ascii(text: str) -> str:
    """Write clean text in ASCII, in as many cells; what has no ASCII likeness becomes ``?``."""
    text = text.translate(_ASCII)
    return text if text.isascii() else "".join(map(_likeness, text))


def _likeness(char: str) -> str:
    return char if char.isascii() else "?" * width(char)


def cell(text: str, cells: int, *, right: bool = False, keep_end: bool = False) -> str:
    """Cut or pad clean text to exactly ``cells`` cells."""
    if text.isascii() and len(text) <= cells:
        return text.rjust(cells) if right else text.ljust(cells)
    if cells <= 0:
        return ""
    text = text[-_LONGEST:] if keep_end else text[:_LONGEST]
    marked = text.startswith(_LRM)
    shown = fit(text.strip(_LRM), cells, keep_end=keep_end)
    if right:
        body = shown.rstrip()
        shown = " " * (len(shown) - len(body)) + body
    return f"{_LRM}{shown}{_LRM}" if marked else shown


def wrap(text: str, cells: int) -> list[str]:
    """Break clean text into lines of at most ``cells`` (from 2) cells, at spaces where it can."""
    lines: list[str] = []
    line = ""
    for word in text.strip(_LRM)[:_LONGEST].split():
        joined = f"{line} {word}" if line else word
        if cells_of(word) > cells:  # a word longer than a line is cut at the end of each line
            *full, joined = _pieces(joined, cells)
            lines += full
        elif cells_of(joined) > cells:
            lines.append(line)
            joined = word
        line = joined
    return [clean(each.rstrip()) for each in (*lines, line) if each]


def _pieces(text: str, cells: int) -> list[str]:
    pieces = [""]
    for char in text:
        if cells_of(pieces[-1] + char) > cells:
            pieces.append("")
        pieces[-1] += char
    return pieces


def cells_of(text: str) -> int:
    """Count the cells of clean text."""
    return len(text) if text.isascii() else width(text.replace(_LRM, ""))


def line_cells(line: Line) -> int:
    """Count the cells of a line."""
    return sum(cells_of(text) for _role, text in line)


def crop(line: Line, start: int, end: int) -> Line:
    """Return the runs from cell ``start`` to cell ``end``; half a wide character is a space."""
    kept: Line = []
    at = 0
    for role, text in line:
        size = cells_of(text)
        if at + size > start and at < end:
            if at >= start and at + size <= end:
                kept.append((role, text))
            else:
                kept.append((role, _cut(text, start - at, end - at)))
        at += size
    return kept


def _cut(text: str, start: int, end: int) -> str:
    if text.isascii():
        return text[max(0, start) : max(0, end)]
    kept, at = "", 0
    for char in text:
        size = cells_of(char)
        if at >= start and at + size <= end:
            kept += char
        elif at < end and at + size > start:
            kept += " " * (min(end, at + size) - max(start, at))
        at += size
    return kept


def fill(line: Line, cells: int, role: str = "text") -> Line:
    """Cut or pad a line to exactly ``cells`` cells."""
    size = line_cells(line)
    if size > cells:
        return crop(line, 0, cells)
    return [*line, (role, " " * (cells - size))] if size < cells else line


def spread(left: Line, right: Line, cells: int) -> Line:
    """Put one part at each end of a line; the left one gives way."""
    room = cells - line_cells(right)
    if room < 0:
        return crop(right, 0, cells)
    return [*fill(left, room), *right]


def overlay(lines: list[Line], box: Iterable[Line], x: int, y: int) -> None:
    """Lay a box over lines, in place, its left upper corner at cell ``x`` of line ``y``."""
    for row, top in enumerate(box, y):
        if 0 <= row < len(lines):
            below = lines[row]
            size = line_cells(top)
            rest = crop(below, x + size, line_cells(below))
            lines[row] = [*fill(below, x), *top, *rest]


def recolour(line: Line, role: str) -> Line:
    """Return the line in one role."""
    return [(role, text) for _role, text in line]


def plain(line: Line) -> str:
    """Return the text of a line, for a terminal without cursor."""
    return "".join(text for _role, text in line).rstrip()
