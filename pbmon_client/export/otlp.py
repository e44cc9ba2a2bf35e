"""Metrics as OTLP, by the OpenTelemetry SDK: made of our families, and sent over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
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


class OtlpExporter:
    """Sends to one receiver; a try that fails in passing is repeated within ``timeout_s``."""

    def __init__(self, url: str, timeout_s: float) -> None:
        # It would write several lines, each with a traceback, for what we say in one.
        log = logging.getLogger("opentelemetry")
        log.addHandler(logging.NullHandler())
        log.propagate = False
        self._exporter = OTLPMetricExporter(endpoint=url, timeout=timeout_s)

    def send(self, data: MetricsData) -> bool:
        """Send it; return whether the receiver has taken it."""
        return self._exporter.export(data) is MetricExportResult.SUCCESS

    def close(self) -> None:
        """End its connections."""
        self._exporter.shutdown()


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
