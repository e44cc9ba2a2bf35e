"""The top of a screen of the past: which time it shows, and the timeline with its cursor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from pbmon_client.data.times import zone_if_twice
from pbmon_client.present.cells import Line, fill, spread
from pbmon_client.present.numbers import duration
from pbmon_client.tui.draw.graphs import spark
from pbmon_client.tui.session.past import PastScene, PastShown, Timeline
from pbmon_client.tui.session.state import State

_DAY: Final = 86_400
#: Seconds between two labels of the scale; of days and more, their midnights.
_TICKS: Final = (60, 120, 300, 600, 1800, 3600, 7200, 3 * 3600, 6 * 3600, 12 * 3600)
_DAYS: Final = (1, 2, 7, 14, 30, 61, 122, 365)
_LABEL_CELLS: Final = 12
#: A cell that nothing was recorded of, one that is not kept, and one in which nothing moved.
_GAP, _OUTSIDE, _STILL = "?", " ", "·"


def when(shown: PastShown) -> str:
    """Write what time a screen shows, in local time."""
    begin, end = _local(shown.begin), _local(shown.end)
    first = f"{begin:%a %d %b %H:%M:%S}{zone_if_twice(begin)}"
    if shown.end - shown.begin <= 1 and not shown.gap:
        return first
    pattern = "%H:%M:%S" if begin.date() == end.date() else "%a %d %b %H:%M:%S"
    return f"{first} to {end:{pattern}}{zone_if_twice(end)}"


def short(shown: PastShown, cells: int) -> str:
    """Write the same where there is little room."""
    begin = _local(shown.begin)
    text = f"{begin:%d %b %H:%M:%S}{zone_if_twice(begin)}"
    return text if len(text) <= cells else f"{begin:%H:%M:%S}"


def ago(state: State, shown: PastShown) -> str:
    """Write how long ago it is."""
    return f"{duration(state.wall() - shown.end)} ago"


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds).astimezone()


def timeline(state: State, past: PastScene, width: int, lines: int) -> list[Line]:
    """Draw the bars, and with two ``lines`` the scale below them."""
    cells = max(1, width - 2)
    drawn = [_bars(past, cells, width)]
    if lines > 1:
        drawn.append(_range(state, past, width) or _scale(past, cells, width))
    return drawn


# --- bars -----------------------------------------------------------------------------------------


def _bars(past: PastScene, cells: int, width: int) -> Line:
    """Draw a bar for each cell. The cursor is a mark of its own, so that it needs no colour."""
    line, each = past.timeline, past.span / cells
    if line is None:
        return fill([("dim", " reading the history")], width)
    begins = [past.left + at * each for at in range(cells)]
    rates = [line.rate(begin + each / 2) for begin in begins]
    text = spark(rates, cells, max((rate for rate in rates if rate is not None), default=0.0))
    cursor = _cell_of(past, past.cursor, cells)
    marked = past.range
    runs: Line = [("dim", "│")]
    for at, begin in enumerate(begins):
        role, char = _bar(line, begin, begin + each, rates[at], text[at])
        if at == cursor:
            role, char = "cursor", "┃"
        elif marked is not None and begin + each > marked[0] and begin < marked[1]:
            role = "range"
        if runs[-1][0] == role:
            runs[-1] = (role, runs[-1][1] + char)
        else:
            runs.append((role, char))
    return fill([*runs, ("dim", "│")], width)


def _bar(
    line: Timeline, begin: float, end: float, rate: float | None, text: str
) -> tuple[str, str]:
    missing = line.missing(begin, end)
    if missing > 0.5:
        return "warn", _GAP
    if rate is None:
        return "dim", _OUTSIDE
    if not rate:
        return "dim", _STILL
    return "warn" if missing else "bar", text


def _cell_of(past: PastScene, seconds: float, cells: int) -> int:
    return max(0, min(cells - 1, int((seconds - past.left) * cells / past.span)))


# --- the scale ------------------------------------------------------------------------------------


def _scale(past: PastScene, cells: int, width: int) -> Line:
    """Write times below their cells; midnights are days. The cursor has an arrow."""
    text = [" "] * width
    free = 0
    for seconds, label, day in _labels(past, cells):
        at = 1 + _cell_of(past, seconds, cells)
        words = f"│{label}" if day else f"╵{label}"
        if at >= free and at + len(words) <= width:
            text[at : at + len(words)] = words
            free = at + len(words) + 1
    arrow = 1 + _cell_of(past, past.cursor, cells)
    before, after = "".join(text[:arrow]), "".join(text[arrow + 1 :])
    return [run for run in (("dim", before), ("cursor", "▲"), ("dim", after)) if run[1]]


def _labels(past: PastScene, cells: int) -> Iterator[tuple[float, str, bool]]:
    """Yield (seconds, words, whether a day begins) for the labels that fit.

    Days begin at local midnights, which are 23 to 25 hours apart.
    """
    least = past.span * _LABEL_CELLS / cells
    midnights = list(_midnights(past))
    if least > _TICKS[-1]:
        every = next((days for days in _DAYS if days * _DAY >= least), _DAYS[-1])
        for midnight in midnights:
            if midnight.toordinal() % every == 0:
                yield midnight.timestamp(), f"{midnight:%a %d %b}", True
        return
    tick = next(tick for tick in _TICKS if tick >= least)
    found = {}
    for midnight in midnights:
        begin = int(midnight.timestamp())
        first = begin + max(0, (past.left - begin) // tick * tick)
        for seconds in range(first, min(begin + _DAY + 3600, past.left + past.span), tick):
            local = _local(seconds)
            day = local.hour == local.minute == local.second == 0
            found[seconds] = (f"{local:%a %d %b}" if day else f"{local:%H:%M}", day)
    for seconds in sorted(found):
        if seconds >= past.left:
            yield seconds, *found[seconds]


def _midnights(past: PastScene) -> Iterator[datetime]:
    day = _local(past.left).date()
    while True:
        midnight = datetime(day.year, day.month, day.day).astimezone()
        if midnight.timestamp() >= past.left + past.span:
            return
        yield midnight
        day += timedelta(1)


def _range(state: State, past: PastScene, width: int) -> Line | None:
    """Say what moved in the range that is marked; None without one."""
    marked, shown = past.range, past.shown
    if marked is None or shown is None:
        return None
    begin, end = marked
    if not past.answered:
        return fill([("range", f" range of {duration(end - begin)} "), ("dim", " reading")], width)
    totals = shown.snapshot.totals
    line: Line = [("range", f" range {duration(end - begin)} ")]
    units = replace(state.units, totals=True)
    for name, ways in (("net", ("rx", "tx")), ("file", ("read", "write"))):
        line.append(("dim", f"  {name}"))
        for way in ways:
            word = {"rx": "in", "tx": "out"}.get(way, way)
            written = units.write(totals.get(f"{name}_{way}_bytes")).strip()
            line += [("dim", f" {word} "), ("strong", written)]
    return spread(line, [("key", "m"), ("dim", " ends it ")], width)
