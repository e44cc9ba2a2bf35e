"""The thread that reads the past, so that no key press waits for it; the present goes on beside it.

numpy, which reading needs, is loaded only when the past is first asked for.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from pbmon_client.data import model
from pbmon_client.data.users import user_name
from pbmon_client.history.errors import PastError
from pbmon_client.history.layout import LAYOUTS, PROCESSES
from pbmon_client.history.tiers import TIERS
from pbmon_client.present.arrange import ViewQuery, arrange
from pbmon_client.tui.feed.messages import (
    Crashed,
    FeedRequest,
    News,
    PastCurvesReady,
    PastFailed,
    PastReady,
    SnapshotSource,
    TimelineReady,
)
from pbmon_client.tui.feed.prefetch import prepare_view
from pbmon_client.tui.feed.render_priority import RenderPriority
from pbmon_client.tui.session.curves import Sample, curve_names
from pbmon_client.tui.session.past import (
    CENTRE,
    PastCurves,
    PastRequest,
    PastShown,
    RowPast,
    Timeline,
)
from pbmond.fields import HISTORY
from pbmond.wire import Message

if TYPE_CHECKING:
    from pbmon_client.history.past import Series
    from pbmon_client.history.source import PastSource

OpenPast = Callable[[], "PastSource"]
#: Returns the interval that ends next after a second.
FrameAt = Callable[[int], Message]
_SECOND: Final = 1_000_000_000
_JOIN_S: Final = 2.0
#: What was recorded meanwhile is looked at no more often than this.
_REFRESH_S: Final = 1.0
#: Where ticks are longer than a second, so many seconds are tried for the one before.
_TRIES: Final = 120
#: So many intervals are kept: a step may look at the one that is shown again.
_FRAMES: Final = 4
#: Of the curves of a range, so many are in it: as many as a narrow screen shows.
_RANGE_SAMPLES: Final = 16


class PastFeed:
    """A source of the present that also reads the past, when it is asked to."""

    def __init__(
        self,
        live: SnapshotSource,
        open_past: OpenPast,
        selection: model.Selection,
        priority: RenderPriority | None = None,
    ) -> None:
        self._live = live
        self._lock = threading.Condition()
        self._news: dict[type[News], News] = {}
        self._request: FeedRequest | None = None  # the newest, until the thread takes it
        self._asked: FeedRequest | None = None
        self._stopped = False
        priority = priority or RenderPriority()
        self._reader = _Reader(open_past, selection, priority, self._put, self._goes_on)
        self._thread: threading.Thread | None = None

    @property
    def fd(self) -> int:
        """The descriptor that becomes readable when there is news."""
        return self._live.fd

    def news(self) -> list[News]:
        """Take the news of both, each oldest first."""
        live = self._live.news()
        with self._lock:
            news, self._news = list(self._news.values()), {}
        return live + news

    def request(self, request: FeedRequest) -> None:
        """Pass on what is needed of the present, and have the past read."""
        self._live.request(replace(request, past=None))
        if request == self._asked:
            return
        self._asked = request
        with self._lock:
            self._request = request
            self._lock.notify()
        if request.past is not None and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="past", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Make ``fd`` readable; may be called from any thread."""
        self._live.wake()

    def close(self) -> None:
        """End both threads."""
        with self._lock:
            self._stopped = True
            self._lock.notify()
        self._live.close()
        if self._thread is not None:
            self._thread.join(timeout=_JOIN_S)

    def _put(self, news: News) -> bool:
        """Pass on some news; whether there is still nothing newer to do."""
        with self._lock:
            self._news.pop(type(news), None)
            self._news[type(news)] = news
        self._live.wake()
        return self._goes_on()

    def _goes_on(self) -> bool:
        """Whether there is still nothing newer to do."""
        with self._lock:
            return self._request is None and not self._stopped

    def _run(self) -> None:
        try:
            while True:
                with self._lock:
                    self._lock.wait_for(lambda: self._stopped or self._request is not None)
                    if self._stopped:
                        return
                    request, self._request = self._request, None
                if request is not None and request.past is not None:
                    self._reader.read(request, request.past)
        except Exception as error:  # noqa: BLE001 - raised again where the terminal is restored
            self._put(Crashed(error))


class _Reader:
    """What the thread reads: a message, the timeline and the curves, and of these what changed."""

    def __init__(
        self,
        open_past: OpenPast,
        selection: model.Selection,
        priority: RenderPriority,
        put: Callable[[News], bool],
        goes_on: Callable[[], bool],
    ) -> None:
        self._open = open_past
        self._selection = selection
        self._priority = priority
        self._put = put
        self._goes_on = goes_on
        self._forget()

    def _forget(self) -> None:
        self._source: PastSource | None = None
        self._refreshed_s = -_REFRESH_S
        self._kept: _Bounds | None = None
        self._what: tuple[object, ...] = ()
        self._query: ViewQuery | None = None
        self._shown: PastShown | None = None
        self._line: tuple[object, ...] = ()
        self._curves: tuple[object, ...] = ()

    def read(self, request: FeedRequest, past: PastRequest) -> None:
        """Read what changed since the last request, until there is a newer one."""
        try:
            self._read(request, past)
        except ModuleNotFoundError as error:
            if error.name != "numpy":
                raise
            self._put(PastFailed("the past needs numpy: install python3-numpy, with pip numpy"))
        except (PastError, OSError) as error:
            words = str(error) if isinstance(error, PastError) else _words(error)
            self._forget()  # the next request opens it again
            self._put(PastFailed(words))

    def _read(self, request: FeedRequest, past: PastRequest) -> None:
        source, frame, kept = self._newest()
        shown = self._shown
        if shown is None or past.what != self._what or request.query != self._query:
            moved = False
            if shown is None or past.what != self._what:
                shown, moved = _shown(source, frame, kept, past, self._selection)
            self._shown, self._what, self._query = shown, past.what, request.query
            rows = None
            if request.query is not None:
                pause = self._priority.yield_to_screen
                prepare_view(shown.snapshot, request.query, request.typed, pause)
                rows = arrange(shown.snapshot, request.query)
            if not self._put(PastReady(past, shown, request.query, rows, moved=moved)):
                return
        line = (*past.line, kept)
        if line != self._line:
            self._line = line
            if not self._put(TimelineReady(_timeline(source, kept, past))):
                return
        curves = (shown.begin, shown.end, shown.width, past.row, past.until is None)
        if curves != self._curves:
            made = _curves(source, kept, shown, past, self._goes_on)
            if made is not None:
                self._curves = curves
                self._put(PastCurvesReady(made))

    def _newest(self) -> tuple[PastSource, FrameAt, _Bounds]:
        """Return the source, its frames, and what it has by now. PastError if that is nothing."""
        if self._source is None:
            self._source = self._open()
        elif self._kept is None or time.monotonic() - self._refreshed_s >= _REFRESH_S:
            self._source.refresh()
        else:
            return self._source, self._frame, self._kept
        self._refreshed_s = time.monotonic()
        self._kept = _bounds_of(self._source)
        self._frame: FrameAt = lru_cache(_FRAMES)(self._source.frame)
        return self._source, self._frame, self._kept


def _words(error: OSError) -> str:
    return f"cannot read the history any more: {error.strerror or error}"


class _Bounds(NamedTuple):
    """The first and the last second of what is kept, and the (begin, end) of its gaps."""

    oldest: int
    newest: int
    gaps: tuple[tuple[int, int], ...]


def _bounds_of(source: PastSource) -> _Bounds:
    kept = source.kept()
    if kept.span is None:
        raise PastError(kept.why_empty)
    oldest = -(-kept.span.since_ns // _SECOND)
    newest = (kept.span.until_ns - 1) // _SECOND
    # A second belongs to the interval that ends in it.
    gaps = [(gap.since_ns // _SECOND + 1, gap.until_ns // _SECOND + 1) for gap in kept.gaps]
    return _Bounds(oldest, max(oldest, newest), tuple(gaps))


# --- what moved -----------------------------------------------------------------------------------


def _shown(
    source: PastSource,
    frame: FrameAt,
    kept: _Bounds,
    past: PastRequest,
    selection: model.Selection,
) -> tuple[PastShown, bool]:
    """Return what moved at that time, and whether that is elsewhere than was asked for."""
    at = max(kept.oldest, min(past.at, kept.newest))
    if past.until is not None:
        message = source.message(past.at, past.until, flows=past.flows)
    elif past.width is not None:
        at = at // past.width * past.width
        message = source.message(at, at + past.width)
    else:
        message = _interval(frame, kept, at, past)
    begin, end = _bounds(message)
    width = end - begin
    around = [gap for gap in kept.gaps if gap[0] <= begin and end <= gap[1]]
    if message.epoch:  # a tick ended in the second in which the gap begins
        around = []
    if around and past.until is None:
        begin, end = around[0]
    snapshot = model.snapshot_of(message, selection, os.geteuid(), source.scope, user_name)
    if past.before is not None:
        moved = begin >= past.before
    elif past.after is not None:
        moved = end <= past.after
    else:
        moved = past.until is None and not kept.oldest <= past.at <= kept.newest
    return PastShown(snapshot, begin, end, width, gap=bool(around)), moved


def _interval(frame: FrameAt, kept: _Bounds, at: int, past: PastRequest) -> Message:
    """Return the interval with a time in it, or of a step, the next one in its direction.

    An interval is kept by the second in which it ends, so several times may be of the same one, and
    one that is longer begins before the end of the one before.
    """
    if past.before is not None:
        times = range(at, max(at - _TRIES, kept.oldest) - 1, -1)
    elif past.after is not None:
        times = range(max(at - 1, kept.oldest), min(at + _TRIES, kept.newest) + 1)
    else:
        return frame(at)
    for each in times:
        message = frame(each)
        begin, end = _bounds(message)
        if past.before is not None and begin < past.before:
            break
        if past.after is not None and end > past.after:
            break
    return message


def _bounds(message: Message) -> tuple[int, int]:
    return (message.time_ns - message.interval_ns) // _SECOND, message.time_ns // _SECOND


# --- timeline and curves --------------------------------------------------------------------------


def _timeline(source: PastSource, kept: _Bounds, past: PastRequest) -> Timeline:
    """Read the bytes of what is kept of the timeline's span."""
    begin, end = max(past.left, kept.oldest), min(past.left + past.span, kept.newest + 1)
    if begin >= end:
        return Timeline(past.left, past.step, (), kept.gaps, kept.oldest, kept.newest)
    # Steps begin at the same times wherever the timeline does, so that bars only move.
    step = _whole_slots(past.step)
    begin = max(begin // step * step, 0)
    series = source.series(begin, end, step)
    traffic = [at for at, counts in enumerate(LAYOUTS[PROCESSES].traffic) if counts]
    sums = series.sums[:, traffic].sum(axis=1).tolist()
    rates = [total / series.step for total in sums]
    first = int(series.begins[0])
    return Timeline(first, series.step, tuple(rates), kept.gaps, kept.oldest, kept.newest)


def _whole_slots(step: int) -> int:
    """Return a step that is up to a quarter longer, of slots of the coarsest tier that is so.

    Sixty blocks of a minute take much longer to read than six of ten minutes.
    """
    rounded = (-(-step // tier.width) * tier.width for tier in reversed(TIERS))
    return next(each for each in rounded if each * 4 <= step * 5)


def _curves(
    source: PastSource,
    kept: _Bounds,
    shown: PastShown,
    past: PastRequest,
    goes_on: Callable[[], bool],
) -> PastCurves | None:
    """Read the curves around the cursor; of a range, those of the range.

    None if meanwhile there is something newer to read.
    """
    step = shown.width
    since = shown.begin - CENTRE * step
    if past.until is not None:  # the whole of it, and what was around
        step = max(1, -(-shown.width // _RANGE_SAMPLES))
        since = (shown.begin + shown.end) // 2 - CENTRE * step
    elif shown.gap:
        since = past.at - CENTRE * step
    until = since + (2 * CENTRE + 1) * step

    def rates(series: Series, names: tuple[str, ...]) -> list[list[Sample]]:
        places = [series.counters.index(name.removesuffix("_per_s")) for name in names]
        times = [since + at * step for at in range(2 * CENTRE + 1)]
        rows = [_row_at(series, at, kept) for at in times]
        columns = [(series.sums[:, place] / series.step).tolist() for place in places]
        return [[None if row is None else column[row] for row in rows] for column in columns]

    host = rates(source.series(max(0, since), until, step), HISTORY)
    row = past.row
    if row is None:
        return PastCurves(host)
    if not goes_on():
        return None
    where, table = dict(row.where), row.view.table
    of_row = rates(source.series(max(0, since), until, step, where, table), _names(row))
    return PastCurves(host, row, of_row)


def _names(row: RowPast) -> tuple[str, ...]:
    return curve_names(row.view.table)


def _row_at(series: Series, at: int, kept: _Bounds) -> int | None:
    """Return the step of a series at a time; None where nothing was recorded."""
    if not kept.oldest <= at <= kept.newest or any(a <= at < b for a, b in kept.gaps):
        return None
    row = (at - int(series.begins[0])) // series.step
    return row if 0 <= row < len(series.begins) else None
