"""Metrics as OTLP, by the OpenTelemetry SDK: made of our families, and sent over HTTP."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import Final, NoReturn

import requests
from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from pbmon_client.metrics.families import FilledFamily, MetricFamily

_UNITS: Final = {"bytes": "By", "seconds": "s", "ratio": "1"}
_LARGEST: Final = (1 << 63) - 1
_SCOPE: Final = InstrumentationScope("pbmon")
#: What the SDK's own limit, which a byte now and then of an answer puts off, gets beyond its end.
_GRACE_S: Final = 0.5
#: No receiver may ask for more.
_LONGEST_WAIT_S: Final = 3600.0
#: Characters of why it left something out.
_LONGEST_REASON: Final = 200


class OtlpExporter:
    """Sends to one receiver; a try that fails in passing is repeated within ``timeout_s``.

    ``wait_s`` is how long the receiver wants to be left alone after the last one, and ``refused``
    says what it left out of what it took: "" is nothing.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        # It would write several lines, each with a traceback, for what we say in one.
        log = logging.getLogger("opentelemetry")
        log.addHandler(logging.NullHandler())
        log.propagate = False
        session = requests.Session()
        session.hooks["response"].append(self._hear)
        self._exporter = OTLPMetricExporter(endpoint=url, timeout=timeout_s, session=session)
        self._longest_s = timeout_s + _GRACE_S
        self._is_redirected = False
        self.wait_s = 0.0
        self.refused = ""

    def send(self, data: MetricsData) -> bool:
        """Send it; return whether the receiver has taken it."""
        self._is_redirected, self.wait_s, self.refused = False, 0.0, ""
        with suppress(TimeoutError), _within(self._longest_s):
            result = self._exporter.export(data)
            # To the SDK, an answer that names another address is a success.
            return result is MetricExportResult.SUCCESS and not self._is_redirected
        return False

    def _hear(self, response: requests.Response, *_given: object, **_named: object) -> None:
        self._is_redirected |= 300 <= response.status_code < 400
        self.wait_s = _seconds(response.headers.get("Retry-After", ""))
        self.refused = _refused(response.content) if response.ok else ""

    def close(self) -> None:
        """End its connections."""
        self._exporter.shutdown()


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Let what takes longer end with TimeoutError."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _seconds(retry_after: str) -> float:
    """Return how long to wait for a header, which is seconds or a date; 0 if it is neither."""
    seconds = 0.0
    if retry_after.isascii() and retry_after.isdigit():
        seconds = float(retry_after[:10])
    else:
        with suppress(ValueError, TypeError, OverflowError):
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
    return min(max(0.0, seconds), _LONGEST_WAIT_S)


def _refused(body: bytes | None) -> str:
    """Return what an answer says was left out (OTLP's "partial success"), if it says so."""
    try:
        partial = ExportMetricsServiceResponse.FromString(body or b"").partial_success
    except DecodeError:  # many answer with something else, which is of no interest
        return ""
    count, why = partial.rejected_data_points, partial.error_message[:_LONGEST_REASON]
    return f"{count} left out ({why or 'it does not say why'})" if count > 0 else ""


def metrics_data(
    families: Iterable[FilledFamily], host: str, version: str, time_ns: int
) -> MetricsData:
    """Make the message of families as they were at ``time_ns`` (Unix time)."""
    resource = Resource.create(
        {"service.name": "pbmon", "service.version": version, "host.name": host}
    )
    metrics = [_metric(each, time_ns) for each in families]
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(_SCOPE, metrics, "")], "")])


def _metric(each: FilledFamily, time_ns: int) -> Metric:
    of = each.family
    began_ns = None if each.created_s is None else round(each.created_s * 1e9)
    if began_ns is not None and not 0 <= began_ns <= time_ns:
        began_ns = None  # clocks that cannot be: it is not known then
    points = [
        _point(of, labels, value, began_ns if of.kind == "counter" else None, time_ns)
        for labels, value in each.samples
    ]
    if of.kind == "counter":
        data: Sum | Gauge = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
    else:
        data = Gauge(points)
    # Receivers add _total to counters themselves.
    name = of.name if of.kind == "counter" else of.series
    return Metric(name, of.meaning, _UNITS.get(of.unit, ""), data)


def _point(
    of: MetricFamily, labels: Sequence[str], value: float, began_ns: int | None, time_ns: int
) -> NumberDataPoint:
    attributes = dict(zip(of.labels, labels, strict=True))
    # A whole number of OTLP has 63 bits; what is larger is sent as a float.
    sent = value if value <= _LARGEST else float(value)
    return NumberDataPoint(attributes, began_ns or 0, time_ns, sent)
