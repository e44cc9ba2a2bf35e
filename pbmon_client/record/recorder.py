"""The recorder's loop: takes what moved from the daemon, and has it written."""

from __future__ import annotations

import gc
import os
import sys
from typing import Final

import numpy as np

from pbmon_client.data.moved import Happened, MovedReader
from pbmon_client.data.text import safe_text
from pbmon_client.history.buckets import RowsMoved, Tick
from pbmon_client.history.handles import RowValues
from pbmon_client.history.layout import LAYOUTS
from pbmon_client.history.writer import HistoryWriter
from pbmon_client.record.options import RecordOptions
from pbmon_client.subscription import (
    Subscription,
    connect_problem,
    silence_words,
    woken_by_signals,
)
from pbmond.moved_wire import MovedMessage, decode_moved

#: A daemon is called silent after its first message is so late, or after some of its intervals.
_FIRST_S: Final = 2.0
_SILENT_INTERVALS: Final = 3
_NS: Final = 1e9
#: Ticks are recorded once they are so long together, because several take little more than one.
_TOGETHER_NS: Final = 5_000_000_000
#: Bytes of messages that wait at most.
_WAITING_BYTES: Final = 4 << 20
#: New objects between two looks for cycles. A tick makes thousands, and no cycle.
_NEW_OBJECTS: Final = 50_000


def run(chosen: RecordOptions) -> None:
    """Record until a signal ends it.

    Errors are those of Subscription; OSError if the directory cannot be used, or if another
    recorder has it.
    """
    with (
        HistoryWriter(chosen.directory, chosen.settings.size, chosen.settings.keeps) as writer,
        woken_by_signals() as signal_fd,
        Subscription(chosen.socket, os.geteuid(), "moved", signal_fd=signal_fd) as source,
    ):
        gc.freeze()  # what is loaded stays
        gc.set_threshold(_NEW_OBJECTS)
        recorder = _Recorder(chosen.socket, source, writer)
        try:
            while True:
                recorder.step()
        finally:
            recorder.record()


def tick_of(happened: Happened) -> Tick:
    """Return what the writer takes; it knows by ``cumulative`` what was missed before."""
    return Tick(
        time_ns=happened.time_ns,
        interval_ns=happened.interval_ns,
        now_ns=happened.now_ns,
        host=happened.host,
        boot_id=happened.boot_id,
        epoch=happened.position.epoch,
        totals=happened.totals,
        tables={
            name: RowsMoved(RowValues(table.numbers, table.texts, table.places), table.counters)
            for name, table in happened.tables.items()
            if name in LAYOUTS
        },
        cumulative=np.array(happened.position.totals, np.int64),
        running_ns=max(0, happened.now_ns - happened.began_ns),
    )


class _Recorder:
    """Records, and says once what is wrong, and once that it is over."""

    def __init__(self, path: str, source: Subscription, writer: HistoryWriter) -> None:
        self._path = path
        self._source = source
        self._writer = writer
        self._reader = MovedReader({name: each.columns for name, each in LAYOUTS.items()})
        self._waiting: list[MovedMessage] = []
        self._waiting_bytes = 0
        self._interval_ns = 0
        self._trouble = ""

    def step(self) -> None:
        """Take the next message, or say that there is none; record what is long enough."""
        frame = self._source.receive_frame(self._patience_s())
        if frame is None and self._waiting:
            self.record()
            return
        if frame is None:
            self._interval_ns = 0  # what comes next is recorded at once
            self._source.start_over()
            problem = connect_problem(self._path)
            self._say(silence_words(self._path, problem, breaks_off=self._source.breaks_off))
            return
        self._waiting.append(decode_moved(frame))
        self._waiting_bytes += len(frame)
        is_long = len(self._waiting) * self._interval_ns >= _TOGETHER_NS
        if not self._interval_ns or is_long or self._waiting_bytes > _WAITING_BYTES:
            self.record()

    def _patience_s(self) -> float:
        interval_s = self._interval_ns / _NS
        return 2 * interval_s if self._waiting else _FIRST_S + _SILENT_INTERVALS * interval_s

    def record(self) -> None:
        """Record what waits, if anything does."""
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if not waiting:
            return
        ticks = [tick_of(happened) for happened in self._reader.take(*waiting)]
        self._writer.ticks(ticks)
        if ticks:
            self._interval_ns = ticks[-1].interval_ns
        paused = self._writer.paused
        self._say("" if paused is None else f"cannot write: {paused}; recording is paused")

    def _say(self, trouble: str) -> None:
        if trouble == self._trouble:
            return
        self._trouble = trouble
        text = f"{trouble}; trying again" if trouble else "recording again"
        if sys.stderr is not None:
            sys.stderr.write(f"pbmon-client: {safe_text(text)}\n")
            sys.stderr.flush()
