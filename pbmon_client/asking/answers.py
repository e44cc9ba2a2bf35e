"""What was asked of the past as snapshots like those of the present, and as they are printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from pbmon_client.asking.options import PastOptions
from pbmon_client.data.model import Selection, Snapshot, snapshot_of
from pbmon_client.data.users import user_name
from pbmon_client.history.source import PastSource
from pbmon_client.history.spans import TimeSpan
from pbmon_client.present.views import PROCESSES, View
from pbmond.fields import FIELDS
from pbmond.wire import SCHEMA, Message

_SECOND: Final = 1_000_000_000


class Range(NamedTuple):
    """From ``begin`` to ``end``, which it does not include, in seconds of the epoch.

    ``silent`` is known to be a gap in what was recorded, or before or after it.
    """

    begin: int
    end: int
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps of so many seconds from ``begin`` to ``end``; the last one may be shorter."""

    begin: int
    end: int
    width: int

    def __iter__(self) -> Iterator[Range]:
        for begin in range(self.begin, self.end, self.width):
            yield Range(begin, min(begin + self.width, self.end))

    def after(self, time_ns: int) -> int:
        """Return where the first step begins that begins after a time."""
        return self.begin - (self.begin - time_ns // _SECOND - 1) // self.width * self.width

    def until(self, time_ns: int) -> int:
        """Return where the last step ends that ends before a time or then."""
        if time_ns >= self.end * _SECOND:
            return self.end
        return self.begin + (time_ns // _SECOND - self.begin) // self.width * self.width


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the past, of which rows, and in which view.

    ``replay`` asks for a snapshot of each interval that is kept, ``flows`` for the connections and
    files too, ``counts`` for how many of them each process has. ``uid`` is the viewer's.
    """

    asked: PastOptions
    selection: Selection
    view: View
    flows: bool
    counts: bool
    replay: bool
    uid: int

    @property
    def since(self) -> int:
        """When the range begins."""
        return self.asked.since or 0

    @property
    def until(self) -> int:
        """When the range ends."""
        return self.asked.now if self.asked.until is None else self.asked.until


def snapshots(source: PastSource, question: Question) -> Iterator[Snapshot]:
    """Yield the answer, of the oldest first. PastError if the past cannot be read."""
    asked = question.asked
    if asked.at is not None:
        yield _snapshot(source, source.frame(asked.at), question)
        return
    top, by = pushed_down(question)
    replay = _is_replay(question)
    for each in _ranges(source, question):
        # A host that slept, or had no recorder, has an interval of hours.
        message = source.message(
            each.begin, each.end, flows=question.flows, counts=question.counts,
            top=top, by=by, whole_ticks=replay,
        )  # fmt: skip
        if replay and not message.epoch and not each.silent:
            continue  # the next tick's interval covers it
        yield _snapshot(source, message, question)


def printed(
    source: PastSource,
    question: Question,
    render: Callable[[Snapshot, str], bytes],
    *,
    one_object: bool,
) -> Iterator[bytes]:
    """Yield the answer as ``render`` writes it; ``one_object`` joins the steps of a range.

    PastError if the past cannot be read.
    """
    texts = (render(snapshot, "") for snapshot in snapshots(source, question))
    return _in_one_object(texts) if one_object else texts


def _in_one_object(texts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield one JSON object whose ``steps`` are snapshots that are written as JSON."""
    yield f'{{"schema":"{SCHEMA}","past":true,"steps":['.encode()
    between = b"\n"
    for text in texts:
        yield between + text.rstrip(b"\n")
        between = b",\n"
    yield b"]}\n"


def pushed_down(question: Question) -> tuple[int | None, tuple[str, ...] | None]:
    """Return how many rows the source need return, and by which counters; None is all, and any.

    It is one row more than is shown, so that it is known whether there are more.
    """
    chosen = question.selection
    narrowed = (chosen.pids, chosen.uids, chosen.names, chosen.filter, chosen.active)
    other = question.flows or question.view is not PROCESSES or question.asked.at is not None
    if chosen.top is None or any(narrowed) or chosen.reverse or other:
        return None, None
    if chosen.sort is None:
        return chosen.top + 1, None
    counter = FIELDS[chosen.sort].rate_of or chosen.sort
    return (chosen.top + 1, (counter,)) if FIELDS[counter].is_traffic else (None, None)


def _snapshot(source: PastSource, message: Message, question: Question) -> Snapshot:
    made = snapshot_of(message, question.selection, question.uid, source.scope, user_name)
    return replace(made, past=True)


# --- ranges ---------------------------------------------------------------------------------------


def _is_replay(question: Question) -> bool:
    return question.replay and question.asked.step is None


def _ranges(source: PastSource, question: Question) -> Iterable[Range]:
    step, whole = question.asked.step, Range(question.since, question.until)
    if step is not None:
        return _steps(source, whole, step)
    if not question.replay:
        return [whole]
    kept = source.kept()
    if kept.span is None:
        return [whole]
    first, last = kept.span
    until = question.until
    if question.asked.until is None:  # what is recorded yet
        until = max(question.since + 1, min(until, last // _SECOND + 1))
    silent = [TimeSpan(0, first), *kept.gaps, TimeSpan(last, until * _SECOND)]
    return _joined(_steps(source, Range(question.since, until), 1), silent)


def _steps(source: PastSource, whole: Range, step: int) -> Steps:
    """Return the steps of a range, of which no interval that is kept belongs to two."""
    kept = source.series(whole.begin, whole.begin + 1, step)  # one, rounded to what is kept
    return Steps(int(kept.begins[0]), whole.end, kept.step)


def _joined(steps: Steps, silent: Iterable[TimeSpan]) -> Iterator[Range]:
    """Yield steps, those in a row in which nothing was recorded as one."""
    at = steps.begin
    for span in sorted(silent):
        begin, end = max(at, steps.after(span.since_ns)), steps.until(span.until_ns)
        if begin < end:
            yield from replace(steps, begin=at, end=begin)
            yield Range(begin, end, silent=True)
            at = end
    yield from replace(steps, begin=at)
