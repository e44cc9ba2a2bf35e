"""The reader of a store: what moved in a range, as a message; series; and what is kept."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pbmon_client.history.bundle import indexer_of
from pbmon_client.history.finding import Finder, FoundBuckets, Selected, equal, unreadable
from pbmon_client.history.index import Index, TailBlock
from pbmon_client.history.layout import FLOWS, LAYOUTS, PROCESSES, TOTALS, Layout
from pbmon_client.history.loading import DAMAGE, LoadedBlock
from pbmon_client.history.message import RangeSums, message_of
from pbmon_client.history.packing import Chosen, Ints, Unsigned
from pbmon_client.history.plan import pieces, reach, rounded, width_at
from pbmon_client.history.recorder import NO_RECORDER, RecorderState, recorder_of
from pbmon_client.history.rows import SummedRows, likely, totals_of
from pbmon_client.history.segments import BlockAt, Missing
from pbmon_client.history.spans import TimeSpan, gaps_between, has_gap
from pbmon_client.history.tiers import TIERS
from pbmond.wire import Message

_SECOND: Final = 1_000_000_000
#: A tick that ended so long ago should be recorded.
_LATE_S: Final = 10


@dataclass(frozen=True, slots=True)
class Series:
    """A counter for each step: ``begins`` are seconds, ``sums`` steps by ``counters``."""

    step: int
    begins: Ints
    sums: Ints
    counters: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeptTier:
    """What is kept of a tier: its width in seconds, its files' bytes, and its first and last ns."""

    width: int
    size: int
    span: TimeSpan | None


@dataclass(frozen=True, slots=True)
class Kept:
    """What a store has: its tiers, the gaps in what was recorded, and what cannot be read.

    ``recorder`` is who writes it; None: that is not known.
    """

    tiers: tuple[KeptTier, ...]
    gaps: tuple[TimeSpan, ...]
    missing: tuple[Missing, ...]
    recorder: RecorderState | None

    @property
    def span(self) -> TimeSpan | None:
        """From the first to the last ns of all tiers; None if nothing is kept."""
        spans = [tier.span for tier in self.tiers if tier.span is not None]
        if not spans:
            return None
        return TimeSpan(min(each.since_ns for each in spans), max(each.until_ns for each in spans))

    @property
    def why_empty(self) -> str:
        """Why nothing is kept, for people, where ``span`` is None."""
        if self.missing:
            return f"nothing of the history can be read: {self.missing[-1].why}"
        return "the history has nothing yet: it was started just now"


class Past:
    """Reads the store in a directory, also while it is written, or a bundle.

    Times are seconds of the epoch.

    ``uid`` is whose rows may be seen; None is everybody's. What is damaged or missing never raises:
    the message's health and the series' reasons say it. OSError if there is no such directory,
    MalformedError if a file is no bundle.
    """

    def __init__(self, place: Path, uid: int | None = None, index: Index | None = None) -> None:
        """``index`` is what somebody has just read of ``place``."""
        self._indexer = indexer_of(place)
        self._place = place
        self._uid = uid
        self._finder: Final = Finder(self._indexer.read() if index is None else index, uid)

    def seen_by(self, uid: int | None) -> Past:
        """Return the same as a user sees it, without reading the index again."""
        return Past(self._place, uid, self._finder.index)

    @property
    def scope(self) -> str:
        """Whose rows it shows: "all", or "own"."""
        return "all" if self._uid is None else "own"

    def refresh(self) -> None:
        """Take note of what was recorded since. OSError if the directory is gone."""
        self._finder.index = self._indexer.read()

    # --- what moved -------------------------------------------------------------------------------

    def message(
        self,
        since: int,
        until: int,
        *,
        flows: bool = True,
        counts: bool = True,
        top: int | None = None,
        by: Sequence[str] | None = None,
        whole_ticks: bool = False,
    ) -> Message:
        """Return what moved from ``since`` to ``until`` (exclusive).

        Without ``flows`` it has no connections and files, only how many of them each process has;
        without ``counts`` not even that, but 0.
        It is rounded outward to what is kept: see ``time_ns`` and ``interval_ns``; with
        ``whole_ticks`` to where its first tick began.
        ``top`` keeps so many rows of each table that moved most by the sum of the counters ``by``
        (None: all traffic). ValueError unless since < until.
        """
        begin, end, found = self._found(since, until)
        processes, moved = self._processes(found, top, by)
        totals, retired = self._totals(found, moved)
        pids = None if top is None else processes.numbers("pid")
        theirs = self._flows(found, pids) if flows else {}
        owners = self._owners(found, pids, theirs, FLOWS if counts else ())
        busiest = {name: _busiest(rows, top, by) for name, rows in theirs.items()}
        return message_of(
            RangeSums(
                _since_ns(found, begin) if whole_ticks else begin * _SECOND,
                end * _SECOND,
                totals=totals,
                retired=retired,
                tables={PROCESSES: processes, **busiest},
                owners=owners,
                reasons=self._reasons(found, begin, self._due(end, until)),
                **_newest(found, end * _SECOND),
            )
        )

    def _found(self, since: int, until: int) -> tuple[int, int, FoundBuckets]:
        """Return the rounded range and its buckets."""
        if since >= until:
            raise ValueError("the range is empty")
        kept = self._finder.index.kept
        begin, end = rounded(since, until, reach(kept))
        return begin, end, self._finder.find(pieces(begin, end, kept))

    def _processes(
        self, found: FoundBuckets, top: int | None, by: Sequence[str] | None
    ) -> tuple[SummedRows, Ints]:
        """Return the processes, or the busiest of them, and what all of them moved."""
        layout = LAYOUTS[PROCESSES]
        parts = self._finder.parts(found, PROCESSES, None)
        totals = totals_of(parts, layout)
        if top is None:
            return SummedRows(layout, parts), totals
        wanted = _wanted(layout, by)
        rows = SummedRows(layout, likely(parts, top, wanted))
        return rows.take(rows.busiest(top, wanted)), totals

    def _flows(self, found: FoundBuckets, pids: Unsigned | None) -> dict[str, SummedRows]:
        """Return the connections and files of some processes, or of all."""
        return {
            table: SummedRows(LAYOUTS[table], self._finder.parts(found, table, pids))
            for table in FLOWS
        }

    def _owners(
        self,
        found: FoundBuckets,
        pids: Unsigned | None,
        theirs: Mapping[str, SummedRows],
        wanted: Sequence[str],
    ) -> Mapping[str, Collection[bytes]]:
        """Return whose each connection or file of some tables is; ``theirs`` were read already."""
        read = {name: rows.owners() for name, rows in theirs.items()}
        return read or {name: self._finder.owners(found, name, pids) for name in wanted}

    def _totals(self, found: FoundBuckets, processes: Ints) -> tuple[Ints, Ints]:
        """Return the totals of the range, and what of them no process has."""
        if self._uid is not None:
            return processes, np.zeros_like(processes)
        totals = np.zeros(len(TOTALS), np.int64)
        for each in found.selected:
            totals += each.block.host.totals[each.chosen].sum(axis=0)
        return totals, np.maximum(totals - processes, 0)

    def _due(self, end: int, until: int) -> int:
        """Return up to where a range that was asked ``until`` should be recorded by now.

        What comes after the newest tick is not missing unless it is late.
        """
        newest = max(kept.time_ns for kept in self._finder.index.kept) // _SECOND
        due = min(end, until, int(time.time()))
        return min(end, newest) if due <= newest + _LATE_S else due

    def frame(self, at: int) -> Message:
        """Return the interval of the finest tier that ends next after second ``at``.

        Where nothing was recorded, the message has no rows, and its health says so.
        """
        moment = at * _SECOND
        for block in self._covering(moment):
            covering = (block.host.since_ns <= moment) & (block.host.time_ns > moment)
            if covering.any():
                slot = int(block.host.slots[covering][0])
                width = TIERS[block.header.tier].width
                return self.message(slot, slot + width, whole_ticks=True)
        return self.message(at, at + 1)

    def _covering(self, moment_ns: int) -> Iterator[LoadedBlock]:
        """Yield the blocks that span a moment, those of the finest tier first."""
        for place in range(len(TIERS)):
            for each in self._finder.blocks(place):
                if each.header.since_ns <= moment_ns < each.header.time_ns:
                    block = self._finder.load(each)
                    if not isinstance(block, Missing):
                        yield block

    def series(
        self,
        since: int,
        until: int,
        step: int,
        where: Mapping[str, Any] | None = None,
        table: str = PROCESSES,
    ) -> Series:
        """Return what moved in each step: the host's totals, or those of the rows ``where``.

        ``where`` has values of the wire by column, such as ``{"unit": b"ssh.service"}``. Range and
        step are rounded up to the buckets that are kept. ValueError for an empty range or step.
        """
        if since >= until or step <= 0:
            raise ValueError("the range is empty")
        width = width_at(since, reach(self._finder.index.kept))
        step = -(-step // width) * width
        begin = since // width * width
        end = begin + -(-(until - begin) // step) * step
        found = self._finder.find(pieces(begin, end, self._finder.index.kept, within=step))
        counters = TOTALS if where is None else LAYOUTS[table].counters
        sums = np.zeros(((end - begin) // step, len(counters)), np.int64)
        for each in list(found.selected):
            steps = (each.block.host.slots - begin) // step
            try:
                if where is None and self._uid is None:
                    totals = each.block.host.totals[each.chosen]
                    np.add.at(sums, steps[each.chosen], totals)
                else:
                    self._add_rows(sums, each, steps, where or {}, table)
            except DAMAGE as error:
                found.missing.append(unreadable(each.block.header, error))
        begins = np.arange(begin, end, step)
        return Series(
            step, begins, sums, counters, tuple(self._reasons(found, begin, self._due(end, until)))
        )

    def _add_rows(
        self, sums: Ints, each: Selected, steps: Ints, where: Mapping[str, Any], table: str
    ) -> None:
        section = self._finder.table(each.block, table)
        if section is None:
            return
        wanted = dict(where) if self._uid is None else {**where, "viewer": self._uid}
        matches = np.ones(section.rows, np.bool_)
        for name, value in wanted.items():
            matches &= equal(section, name, value)
            if not matches.any():
                return
        buckets, _rows, counters, values = section.moved(matches, each.chosen)
        np.add.at(sums, (steps[buckets], counters), values)

    def _reasons(self, found: FoundBuckets, begin: int, end: int) -> list[str]:
        """Say what is missing of a range, of which all should be recorded."""
        covered_ns, ticks = found.covered()
        reasons = []
        # The intervals of the first and the last tick reach beyond the range.
        usual_ns = 2 * covered_ns // ticks + _SECOND if ticks else 0
        missing_ns = (end - begin) * _SECOND - covered_ns
        later_ns = self._later_ns(begin, end) if missing_ns > usual_ns else 0
        if later_ns <= usual_ns:
            later_ns = 0
        else:
            last = f"the last {later_ns / _SECOND:.0f} s of it" if ticks else "it"
            reasons.append(f"history: what moved in {last} is in an interval that ends later")
        if not ticks and not later_ns:
            reasons.append("history: nothing was recorded")
        elif missing_ns - later_ns > usual_ns:
            seconds = (missing_ns - later_ns) / _SECOND
            reasons.append(f"history: about {seconds:.0f} s were not recorded")
        lost = dict.fromkeys((each.tier, each.why) for each in found.missing)
        return reasons + [f"history: {why} ({TIERS[tier].width} s)" for tier, why in lost]

    def _later_ns(self, begin: int, end: int) -> int:
        """Return how much of a range, at its end, an interval covers that ends later.

        So long are those of a host that was suspended, and of time without a recorder.
        """
        end_ns = end * _SECOND
        for block in self._covering(end_ns - 1):
            host = block.host
            whole = host.covered_ns + _SECOND > host.time_ns - host.since_ns
            since_ns = host.since_ns[whole & (host.since_ns < end_ns) & (host.time_ns >= end_ns)]
            if since_ns.size:
                return end_ns - max(begin * _SECOND, int(since_ns.min()))
        return 0

    # --- what is kept -----------------------------------------------------------------------------

    def kept(self) -> Kept:
        """Return what the store has."""
        tiers = []
        for place, tier in enumerate(TIERS):
            headers = [each.header for each in self._finder.blocks(place)]
            span = None
            if headers:
                span = TimeSpan(
                    min(header.since_ns for header in headers),
                    max(header.time_ns for header in headers),
                )
            size = sum(file.size for file in self._finder.index.files if file.tier == place)
            tiers.append(KeptTier(tier.width, size, span))
        # Nobody writes what was exported.
        recorder = recorder_of(self._place) if self._place.is_dir() else NO_RECORDER
        return Kept(tuple(tiers), tuple(self._gaps()), self._finder.index.missing, recorder)

    def _gaps(self) -> list[TimeSpan]:
        """Return the gaps, by the finest tier that goes back to each time."""
        spans: list[TimeSpan] = []
        until: float = float("inf")
        for place, kept in enumerate(self._finder.index.kept):
            for each in self._finder.blocks(place):
                header = each.header
                if header.first < until:
                    spans += self._recorded(each)
            until = min(until, kept.oldest if kept.last else until)
        return gaps_between(spans)

    def _recorded(self, block: BlockAt | TailBlock) -> list[TimeSpan]:
        header = block.header
        if has_gap(header.since_ns, header.time_ns, header.covered_ns):
            loaded = self._finder.load(block)
            if not isinstance(loaded, Missing):
                whole = Selected(loaded, np.ones(header.buckets, np.bool_))
                return FoundBuckets([whole]).spans()
        return [TimeSpan(header.since_ns, header.time_ns)]


def _wanted(layout: Layout, by: Sequence[str] | None) -> Chosen:
    """Return which counters say what is busiest."""
    return np.array(layout.traffic if by is None else [name in by for name in layout.counters])


def _busiest(rows: SummedRows, top: int | None, by: Sequence[str] | None) -> SummedRows:
    return rows if top is None else rows.take(rows.busiest(top, _wanted(rows.layout, by)))


def _since_ns(found: FoundBuckets, begin: int) -> int:
    """Return when a range begins: before ``begin`` if its first tick took more than a second."""
    begins = [int(each.block.host.since_ns[each.chosen].min()) for each in found.selected]
    earliest = min(begins, default=begin * _SECOND)
    return earliest if earliest < (begin - 1) * _SECOND else begin * _SECOND


def _newest(found: FoundBuckets, until_ns: int) -> dict[str, Any]:
    """Return the words of the newest tick that was found."""
    if not found.selected:
        return {"now_ns": 0, "number": 0, "host": "", "boot_id": "", "epoch": ""}
    newest = found.selected[-1]
    host = newest.block.host
    place = int(np.flatnonzero(newest.chosen)[-1])
    return {
        "now_ns": max(0, int(host.now_ns[place]) + until_ns - int(host.time_ns[place])),
        "number": int(host.first[place]),
        **{name: host.text(name, place) for name in ("host", "boot_id", "epoch")},
    }
