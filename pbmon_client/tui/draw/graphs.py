"""Graphs of rates as text: one line of eighth blocks, or several of braille dots.

Samples are bytes/s, oldest first. None is unknown and stays blank. The newest is at the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pbmon_client.present.cells import Line
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


def around(
    samples: Sequence[Sample], centre: int | None, count: int
) -> tuple[Sequence[Sample], int | None]:
    """Return ``count`` samples with the one at ``centre`` in their middle, and where that is then.

    Without a centre, all of them.
    """
    if centre is None or count <= 0:
        return samples, None
    start = max(0, min(centre - count // 2, len(samples) - count))
    return samples[start : start + count], centre - start


def marked(role: str, text: str, at: int | None) -> Line:
    """Return a line of a graph whose cell ``at`` is the cursor's; None marks none."""
    if at is None or not 0 <= at < len(text):
        return [(role, text)]
    runs = [(role, text[:at]), ("cursor", text[at]), (role, text[at + 1 :])]
    return [run for run in runs if run[1]]


def spark_line(
    samples: Sequence[Sample], centre: int | None, cells: int, top: float, role: str
) -> Line:
    """Draw one line around a centre, or, without one, up to the newest sample."""
    shown, at = around(samples, centre, cells)
    text = spark(shown, cells, top)
    return marked(role, text, None if at is None else at + len(text) - len(shown))


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
