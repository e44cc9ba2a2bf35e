"""The pusher: takes a snapshot at every interval, and sends what the meter makes of it."""

from __future__ import annotations

import os
import sys
import time
from typing import Final

from pbmon_client.command_line import version
from pbmon_client.data.model import Selection
from pbmon_client.data.stream import Stream
from pbmon_client.data.text import safe_text
from pbmon_client.export.options import ExportOptions
from pbmon_client.export.otlp import OtlpExporter, metrics_data
from pbmon_client.metrics.families import measured
from pbmon_client.metrics.meter import Meter
from pbmon_client.subscription import (
    Subscription,
    connect_problem,
    silence_words,
    woken_by_signals,
)

#: How long one push may take, its repetitions included; never longer than the interval.
_TIMEOUT_S: Final = 10.0
_FIRST_S: Final = 2.0


def run(chosen: ExportOptions) -> None:
    """Push until as many arrived as requested. Errors are those of Subscription."""
    exporter = OtlpExporter(chosen.url, min(_TIMEOUT_S, chosen.interval_s))
    try:
        with (
            woken_by_signals() as signal_fd,
            Subscription(chosen.socket, os.geteuid(), "processes", signal_fd=signal_fd) as source,
        ):
            _Pusher(chosen, source, exporter).run()
    finally:
        exporter.close()


class _Pusher:
    """Pushes, and says once what is wrong, and once that it is over."""

    def __init__(self, chosen: ExportOptions, source: Subscription, exporter: OtlpExporter) -> None:
        self._chosen = chosen
        self._source = source
        self._exporter = exporter
        self._stream = Stream(Selection(), os.geteuid())
        self._meter = Meter(chosen.metering)
        self._trouble = ""

    def run(self) -> None:
        arrived = 0
        due = time.monotonic()
        while not self._chosen.count or arrived < self._chosen.count:
            arrived += self._step(due)
            due = max(due + self._chosen.interval_s, time.monotonic() + self._exporter.wait_s)

    def _step(self, due: float) -> bool:
        """Push the first snapshot from ``due`` on; return whether it arrived."""
        while True:
            message = self._source.receive(self._patience_s(), newest=True)
            if message is None:
                self._on_silence()
                continue
            snapshot = self._stream.take(message, self._source.scope, None)
            if snapshot is not None and time.monotonic() >= due:
                break
        self._meter.take(snapshot)
        families = measured(self._meter, snapshot, version())
        data = metrics_data(families, snapshot.host, version(), message.time_ns)
        arrived = self._exporter.send(data)
        url, refused = self._chosen.url, self._exporter.refused
        if not arrived:
            self._say(f"{url} does not take the metrics")
        else:
            self._say(f"{url} does not take all of the metrics" if refused else "", refused)
        return arrived

    def _patience_s(self) -> float:
        return _FIRST_S if self._stream.last is None else self._stream.patience_s

    def _on_silence(self) -> None:
        self._source.start_over()
        path = self._chosen.socket
        problem = connect_problem(path)
        self._say(silence_words(path, problem, breaks_off=self._source.breaks_off))

    def _say(self, trouble: str, more: str = "") -> None:
        if trouble == self._trouble:
            return
        words = f"{trouble}: {more}" if more else trouble
        text = f"{words}; trying again" if trouble else "the metrics arrive again"
        self._trouble = trouble
        if sys.stderr is not None:
            sys.stderr.write(f"pbmon-client: {safe_text(text)}\n")
