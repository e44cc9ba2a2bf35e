"""Graphs of rates as text: one line of eighth blocks, or several of braille dots.

Samples are bytes/s, oldest first. None is unknown and stays blank. The newest is at the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pbmon_client.tui.session.curves import Sample

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
#: Dots of a braille cell from the bottom up, left and right column (Unicode 3.0, U+2800).
_DOTS: Final = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))


def peak(*curves: Sequence[Sample]) -> float:
    """Return the largest known sample of some curves, or 0."""
    return max((value for curve in curves for value in curve if value is not None), default=0.0)


def spark(samples: Sequence[Sample], cells: int, top: float) -> str:
    """Draw one line; ``top`` is a full block. Anything above zero shows at least an eighth."""
    shown = samples[-cells:] if cells > 0 else ()
    text = "".join(_block(value, top) for value in shown)
    return text.rjust(cells)


def _block(value: Sample, top: float) -> str:
    if not value or top <= 0:
        return " "
    return _BLOCKS[min(7, max(0, round(value / top * 8) - 1))]


def area(
    samples: Sequence[Sample], cells: int, rows: int, top: float, *, ascii_only: bool = False
) -> list[str]:
    """Draw a filled curve of ``rows`` lines, two samples in each cell where there are that many."""
    if ascii_only:
        return _bars(samples, cells, rows, top)
    wanted = cells * 2
    if len(samples) <= cells:
        doubled = [value for value in samples for _ in range(2)]
    else:
        doubled = list(samples[-wanted:])
    blank: list[Sample] = [None] * (wanted - len(doubled))
    doubled = blank + doubled
    heights = [_height(value, top, rows * 4) for value in doubled]
    return [
        "".join(
            _braille(heights[2 * at], heights[2 * at + 1], 4 * (rows - 1 - row))
            for at in range(cells)
        )
        for row in range(rows)
    ]


def _height(value: Sample, top: float, dots: int) -> int:
    if not value or top <= 0:
        return 0
    return min(dots, max(1, round(value / top * dots)))


def _braille(left: int, right: int, floor: int) -> str:
    return _CELLS[max(0, min(4, left - floor))][max(0, min(4, right - floor))]


def _cell(left: int, right: int) -> str:
    code = sum(_DOTS[0][:left]) + sum(_DOTS[1][:right])
    return chr(0x2800 + code) if code else " "


#: Braille cells by the heights of their two columns.
_CELLS: Final = tuple(tuple(_cell(left, right) for right in range(5)) for left in range(5))


def _bars(samples: Sequence[Sample], cells: int, rows: int, top: float) -> list[str]:
    shown = list(samples[-cells:]) if cells > 0 else []
    heights = [0] * (cells - len(shown)) + [_height(value, top, rows * 2) for value in shown]
    marks = " .#"
    return [
        "".join(marks[max(0, min(2, height - 2 * (rows - 1 - row)))] for height in heights)
        for row in range(rows)
    ]
