"""The past as routes and pages ask for it: read in a thread of its own, one after another."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pbmon_client.data.model import Selection, Snapshot, snapshot_of
from pbmon_client.data.users import user_name
from pbmon_client.history.errors import PastError
from pbmon_client.history.layout import LAYOUTS, PROCESSES
from pbmon_client.history.spans import TimeSpan
from pbmon_client.web.desk import Desk
from pbmond.wire import Message

if TYPE_CHECKING:
    from pbmon_client.history.past import Kept
    from pbmon_client.history.source import PastSource

_SECOND: Final = 1_000_000_000
_NOTHING: Final = "nothing is recorded yet"
#: What was recorded since is looked for so often.
_FRESH_S: Final = 1.0
#: Snapshots that stay; a page asks again for the one it shows whenever it scrolls.
_SNAPSHOTS: Final = 4
#: So much may wait for the thread.
_MOST_WAITING: Final = 40
#: The busiest rows of each table that an answer is made of.
MOST_ROWS: Final = 20_000
#: Steps of a series.
MOST_STEPS: Final = 5_000
#: Steps are made of whole buckets of the coarsest tier that fits, which bounds what is read.
_ROUND_STEPS: Final = (3600, 60, 10)
WasRead = TypeVar("WasRead")


@dataclass(frozen=True, slots=True)
class When:
    """A moment of the past, or a range of it without its end, in seconds of the epoch.

    ``remarks`` say how times were read that are not plain; they make no other time of it.
    """

    since: int
    until: int | None = None
    remarks: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Whose:
    """The rows of a table that a series sums up, by values of the wire."""

    table: str
    where: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KnownSeries:
    """What moved in each step; None in steps in which nothing was recorded.

    ``newest`` is the end of what is recorded yet.
    """

    since: int
    step: int
    newest: int
    sums: Mapping[str, list[int | None]]
    reasons: tuple[str, ...]


class PastReader:
    """Answers about the past. PastError where none can be read, BusyError if too much waits."""

    def __init__(self, given: Path | None = None) -> None:
        #: Where what it answers is arranged, too.
        self.desk: Final = Desk(_MOST_WAITING, one_clock=False)
        self._given = given
        self._source: PastSource | None = None
        self._kept: Kept | None = None
        self._refreshed_s = 0.0
        self._snapshots: OrderedDict[tuple[When, bool], Snapshot] = OrderedDict()

    async def snapshot(self, when: When, *, flows: bool) -> Snapshot:
        """Return what moved then; of a moment, in the shortest interval kept around it."""
        return await self.desk.do(lambda: self._read(lambda it: self._shown(it, when, flows=flows)))

    async def kept(self) -> Kept:
        """Return what there is."""
        return await self.desk.do(lambda: self._read(lambda _source: self._known))

    async def series(self, when: When, step: int, whose: Whose | None) -> KnownSeries:
        """Return what moved in each step of a range: of all processes, or of some rows."""
        return await self.desk.do(
            lambda: self._read(lambda it: self._series(it, when, step, whose))
        )

    def close(self) -> None:
        """End the thread."""
        self.desk.close()

    # --- in the thread ----------------------------------------------------------------------------

    def _read(self, read: Callable[[PastSource], WasRead]) -> WasRead:
        """Read from the past as it is now; after a failure it is opened again."""
        try:
            return read(self._opened())
        except OSError as error:
            self._source = None
            raise PastError(f"cannot read the history: {error.strerror or error}") from None
        except PastError:
            self._source = None
            raise

    def _opened(self) -> PastSource:
        now_s = time.monotonic()
        source = self._source
        if source is None:
            source = _open(self._given)
        elif now_s < self._refreshed_s + _FRESH_S:
            return source
        else:
            source.refresh()
        self._kept = source.kept()
        _span(self._kept)
        self._source, self._refreshed_s = source, now_s
        return source

    @property
    def _known(self) -> Kept:
        if self._kept is None:
            raise PastError(_NOTHING)
        return self._kept

    def _shown(self, source: PastSource, when: When, *, flows: bool) -> Snapshot:
        _since, newest = span_of(self._known)
        key = (when, flows or when.until is None)  # a moment has all tables
        found = self._snapshots.get(key)
        if found is None:
            found = _snapshot(source, self._message(source, when, newest, flows=flows))
            if (when.since + 1 if when.until is None else when.until) > newest:
                return found  # more of it is being recorded
            self._snapshots[key] = found
            if len(self._snapshots) > _SNAPSHOTS:
                self._snapshots.popitem(last=False)
        self._snapshots.move_to_end(key)
        return found

    def _message(self, source: PastSource, when: When, newest: int, *, flows: bool) -> Message:
        if when.until is None:
            return source.frame(min(when.since, newest - 1))
        message = source.message(when.since, when.until, flows=flows, top=MOST_ROWS)
        tables = (message.processes, message.connections, message.files)
        if all(table is None or table.length < MOST_ROWS for table in tables):
            return message
        reasons = [*message.health["reasons"], f"history: the {MOST_ROWS:,} busiest rows only"]
        return replace(message, health={"status": "incomplete", "reasons": reasons})

    def _series(
        self, source: PastSource, when: When, step: int, whose: Whose | None
    ) -> KnownSeries:
        least = next((each for each in _ROUND_STEPS if step >= each), 1)
        step = -(-step // least) * least
        until = when.since + 1 if when.until is None else when.until
        found = source.series(
            when.since // step * step,
            until,
            step,
            None if whose is None else whose.where,
            PROCESSES if whose is None else whose.table,
        )
        begins = found.begins.tolist()
        unknown = _unknown(self._known, begins, found.step)
        sums = {
            counter: [
                None if gap else value
                for gap, value in zip(unknown, found.sums[:, place].tolist(), strict=True)
            ]
            for place, counter in enumerate(found.counters)
        }
        newest = span_of(self._known)[1]
        return KnownSeries(begins[0], found.step, newest, sums, found.reasons)


def _open(given: Path | None) -> PastSource:
    """Open the past; numpy, which takes ten megabytes, is loaded when it is first asked for."""
    from pbmon_client.history.source import open_past  # noqa: PLC0415 - it loads numpy

    return open_past(given)


def span_of(kept: Kept) -> tuple[int, int]:
    """Return the first and the last second of what is kept."""
    span = _span(kept)
    return span.since_ns // _SECOND, span.until_ns // _SECOND


def _span(kept: Kept) -> TimeSpan:
    """Return what is kept from first to last; PastError if that is nothing."""
    if kept.span is None:
        raise PastError(kept.why_empty)
    return kept.span


def _snapshot(source: PastSource, message: Message) -> Snapshot:
    made = snapshot_of(message, Selection(flows=True), os.geteuid(), source.scope, user_name)
    return replace(made, past=True)


def _unknown(kept: Kept, begins: list[int], step: int) -> list[bool]:
    """Return in which steps nothing was recorded."""
    span = _span(kept)
    gaps = [TimeSpan(-1, span.since_ns), *kept.gaps, TimeSpan(span.until_ns, 1 << 63)]
    unknown = [False] * len(begins)
    for gap in gaps:
        steps = gap.silent(begins, step)
        unknown[steps] = [True] * (steps.stop - steps.start)
    return unknown


def whose_of(table: str, where: Mapping[str, Any]) -> Whose | None:
    """Check values of the wire by column; None if no row can have them."""
    fits = all(LAYOUTS[table].can_choose(name, value) for name, value in where.items())
    return Whose(table, where) if fits else None
