"""The scene of the past: where its cursor is, what was read for it, and what to read next.

Times are whole seconds of the epoch; the end of a range is not part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pbmon_client.data.model import Snapshot
from pbmon_client.present.listing import RowKey
from pbmon_client.present.views import View
from pbmon_client.tui.session.curves import Sample, curve_names
from pbmond.fields import HISTORY, IDENTITY

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
#: What the timeline can span.
SPANS: Final = (
    *(10 * _MINUTE, _HOUR, 6 * _HOUR),
    *(_DAY, 7 * _DAY, 30 * _DAY, 365 * _DAY),
)
#: Samples of a curve before that of the cursor, and after it.
CENTRE: Final = 60
_FEWEST_CELLS: Final = 10


@dataclass(frozen=True, slots=True)
class RowPast:
    """A row of a view whose curves are wanted; ``where`` are its values of the wire by column."""

    view: View
    key: RowKey
    where: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class PastRequest:
    """What the screen shows of the past.

    One interval, of ``width`` seconds or of what is kept, with second ``at`` in it; or the sum from
    ``at`` to ``until``. After a step, it begins before second ``before``, or not before ``after``.
    The timeline begins at ``left`` and has steps of at least ``step`` seconds.
    """

    at: int
    until: int | None
    width: int | None
    before: int | None
    after: int | None
    flows: bool
    left: int
    span: int
    step: int
    row: RowPast | None

    @property
    def what(self) -> tuple[object, ...]:
        """What is to be read, without timeline and curves."""
        return self.at, self.until, self.width, self.before, self.after, self.flows

    @property
    def line(self) -> tuple[int, int, int]:
        """Which timeline is to be read."""
        return self.left, self.span, self.step


@dataclass(frozen=True, slots=True)
class PastShown:
    """What moved from ``begin`` to ``end``. In a ``gap``, they are the bounds of the gap.

    ``width`` is that of the interval, also in a gap.
    """

    snapshot: Snapshot
    begin: int
    end: int
    width: int
    gap: bool = False


@dataclass(frozen=True, slots=True)
class Timeline:
    """Bytes/s of all traffic, in steps of ``step`` seconds; None where nothing is kept.

    ``gaps`` are the (begin, end) of what was not recorded; ``oldest`` and ``newest`` bound what is
    kept.
    """

    begin: int
    step: int
    rates: tuple[Sample, ...]
    gaps: tuple[tuple[int, int], ...]
    oldest: int
    newest: int

    def rate(self, at: float) -> Sample:
        """Return the rate at a time."""
        place = int((at - self.begin) // self.step)
        return self.rates[place] if 0 <= place < len(self.rates) else None

    def missing(self, begin: float, end: float) -> float:
        """Return how much of a span is in gaps, from 0 to 1."""
        inside = (min(end, until) - max(begin, since) for since, until in self.gaps)
        return sum(each for each in inside if each > 0) / (end - begin)


@dataclass(frozen=True, slots=True)
class PastCurves:
    """The curves of the host and of one row around the cursor, whose sample is ``CENTRE``."""

    of_host: Sequence[Sequence[Sample]] = ()
    row: RowPast | None = None
    of_row: Sequence[Sequence[Sample]] = ()
    centre: int = CENTRE

    def host(self) -> list[list[Sample]]:
        """Return the curves of the host's totals; see ``Curves``."""
        return [list(curve) for curve in self.of_host] or [[] for _ in HISTORY]

    def of(self, view: View, key: RowKey) -> list[list[Sample]]:
        """Return a row's curves, empty ones until they were read."""
        if self.row is not None and (self.row.view, self.row.key) == (view, key) and self.of_row:
            return [list(curve) for curve in self.of_row]
        return [[] for _ in curve_names(view.table)]


@dataclass(slots=True)
class PastScene:
    """The cursor, the mark that a range begins with, the timeline, and what was read so far.

    ``at`` is wanted; ``shown`` may still be what was wanted before, until ``answered``. ``now`` is
    the present, which nothing is after.
    """

    at: int
    now: int
    mark: tuple[int, int] | None = None
    before: int | None = None
    after: int | None = None
    width: int = 1
    span: int = _HOUR
    left: int = 0
    shown: PastShown | None = None
    answered: bool = False
    timeline: Timeline | None = None
    curves: PastCurves = field(default_factory=PastCurves)
    _read: tuple[object, ...] = ()  # what ``shown`` answers

    def __post_init__(self) -> None:
        self._place()

    @property
    def cursor(self) -> int:
        """Where the timeline's cursor is."""
        shown = self.shown
        if shown is None or not self.answered or shown.gap or self.mark is not None:
            return self.at
        return shown.begin

    @property
    def range(self) -> tuple[int, int] | None:
        """The range that is marked, from the mark to the cursor's interval."""
        if self.mark is None:
            return None
        return min(self.mark[0], self.at), max(self.mark[1], self.at + self.width)

    def go(self, at: int, *, before: int | None = None, after: int | None = None) -> None:
        """Move the cursor to a time; of a step, ``before`` or ``after`` what was shown."""
        self.at = max(0, min(at, self.now))
        self.before, self.after = before, after
        self.answered = False
        if not self.left <= self.at < self.left + self.span:
            self._place()

    def step(self, count: int) -> None:
        """Move by so many intervals, forth or back; a gap is one."""
        shown = self.shown
        if shown is None or not self.answered or self.mark is not None:
            self.go(self.at + count * self.width)
        elif count > 0:
            after = shown.end + (count - 1) * self.width
            self.go(after, after=after)
        else:
            before = shown.begin + (count + 1) * self.width
            self.go(before - 1, before=before)

    def scrub(self, count: int, cells: int) -> None:
        """Move by so many cells of the timeline, or at least by so many intervals."""
        by = self.span // max(_FEWEST_CELLS, cells)
        if by <= self.width:
            self.step(count)
        else:
            self.go(self.cursor + count * by)

    def zoom(self, by: int) -> None:
        """Let the timeline span more, or less."""
        place = SPANS.index(self.span)
        self.span = SPANS[max(0, min(len(SPANS) - 1, place + by))]
        self._place()

    def show_range(self) -> None:
        """Let the timeline span the whole range that is marked."""
        marked = self.range
        if marked is not None:
            begin, end = marked
            self.span = next((span for span in SPANS if span > end - begin), SPANS[-1])
            middle = begin + (end - begin) // 2
            self.left = max(0, min(middle - self.span // 2, self.now - self.span))

    def switch_mark(self) -> None:
        """Begin a range at what is shown, or end the one there is."""
        shown = self.shown
        if self.mark is not None:
            self.mark = None
            self.answered = False
        elif shown is not None and self.answered:
            self.mark = (shown.begin, shown.end)
            self.at = self.at if shown.gap else shown.begin

    def request(
        self, *, interval_s: float | None, flows: bool, cells: int, row: RowPast | None
    ) -> PastRequest:
        """Say what is to be read."""
        marked = self.range
        begin, until = (self.at, None) if marked is None else marked
        made = PastRequest(
            at=begin,
            until=until,
            width=int(interval_s) if interval_s and interval_s >= 1 else None,
            before=None if marked else self.before,
            after=None if marked else self.after,
            flows=flows or marked is None,
            left=self.left,
            span=self.span,
            step=max(1, -(-self.span // max(_FEWEST_CELLS, cells))),
            row=row,
        )
        self.answered = self._read == made.what
        return made

    def take(self, request: PastRequest, shown: PastShown) -> None:
        """Show what was read."""
        self.shown = shown
        self._read = request.what
        if request.until is None:
            self.width = shown.width
        wanted = self.range or (self.at, None)
        if (request.at, request.until) != wanted:
            return  # the cursor is elsewhere by now
        self.answered = True
        if not self.left <= self.cursor < self.left + self.span:
            self._place()

    def _place(self) -> None:
        """Place the timeline so that the cursor is in its middle, or now at its end."""
        self.left = max(0, min(self.cursor - self.span // 2, self.now - self.span))


def row_past(view: View, key: Any) -> RowPast:  # noqa: ANN401 - the view's kind of key
    """Say how the rows of the store belong to a row of a view."""
    if view.grouping is not None:
        return RowPast(view, key, tuple(view.grouping.where(key).items()))
    return RowPast(view, key, tuple(zip(IDENTITY[view.table], key, strict=True)))
