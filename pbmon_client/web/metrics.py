"""The address /metrics: the meter's families by prometheus_client, as OpenMetrics or plain text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from starlette.responses import Response

from pbmon_client.command_line import version
from pbmon_client.data.model import Snapshot
from pbmon_client.metrics.families import FilledFamily, measured
from pbmon_client.metrics.meter import Meter, MeterOptions
from pbmon_client.web.house import House
from pbmon_client.web.problems import ProblemError

_OPENMETRICS: Final = "application/openmetrics-text"
_PLAIN: Final = "text/plain; version=0.0.4; charset=utf-8"
#: What is answered for each type that a scraper may accept; of equal ones, the first.
_ACCEPTED: Final = {_OPENMETRICS: True, "text/plain": False, "text/*": False, "*/*": False}


class MetricsPage:
    """Answers scrapes; what is made of a snapshot serves all that ask until the next one."""

    def __init__(self, house: House, options: MeterOptions) -> None:
        self._house = house
        self._meter = Meter(options)
        self._made_of: tuple[str, int, str] | None = None
        self._families: list[FilledFamily] = []
        self._made: dict[bool, bytes] = {}  # by format

    async def answer(self, accept: str) -> Response:
        """Answer one scrape; ``accept`` is its Accept header."""
        is_open = prefers_openmetrics(accept)
        media_type = openmetrics.CONTENT_TYPE_LATEST if is_open else _PLAIN
        return Response(await self._body(is_open=is_open), media_type=media_type)

    async def _body(self, *, is_open: bool) -> bytes:
        try:
            snapshot = await self._house.snapshot()
        except ProblemError:  # a scraper is told so by a metric
            return exposition(measured(Meter(MeterOptions()), None, version()), is_open=is_open)
        return await self._house.do(lambda: self._of(snapshot, is_open=is_open), first=True)

    def _of(self, snapshot: Snapshot, *, is_open: bool) -> bytes:
        """Return what is made of a snapshot; called at the desk only."""
        # Not kept by the desk, which would keep the snapshot as well until others have come.
        made_of = (snapshot.message.epoch, snapshot.message.seq, snapshot.scope)
        if made_of != self._made_of:
            self._made_of = made_of
            self._made.clear()
            self._meter.take(snapshot)
            self._families = measured(self._meter, snapshot, version())
        if is_open not in self._made:
            self._made[is_open] = exposition(self._families, is_open=is_open)
        return self._made[is_open]


def prefers_openmetrics(accept: str) -> bool:
    """Whether an Accept header (RFC 9110) prefers OpenMetrics to plain text."""
    offers = [_offer(part) for part in accept.split(",")]
    known = [(quality, name) for name, quality in offers if name in _ACCEPTED and quality > 0]
    best = max(known, key=lambda offer: offer[0], default=(0.0, "*/*"))
    return _ACCEPTED[best[1]]


def _offer(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    try:
        return name, float(quality)
    except ValueError:
        return name, 0.0


def exposition(families: Iterable[FilledFamily], *, is_open: bool) -> bytes:
    """Write families in one of the two formats. Plain text has no place for when they began."""
    registry = CollectorRegistry()
    registry.register(_FamilyCollector(families, created=is_open))
    if is_open:
        return bytes(openmetrics.generate_latest(registry))  # type: ignore[no-untyped-call]
    return generate_latest(registry)


class _FamilyCollector(Collector):
    """Hands our families to prometheus_client."""

    def __init__(self, families: Iterable[FilledFamily], *, created: bool) -> None:
        self._families = families
        self._created = created

    def describe(self) -> Iterable[Metric]:
        return ()  # a registry of one collector has no names to compare

    def collect(self) -> Iterator[Metric]:
        for each in self._families:
            yield _MAKERS[each.family.kind](each, self._created)


def _counter(each: FilledFamily, created: bool) -> Metric:  # noqa: FBT001 - called by table
    of = each.family
    made = CounterMetricFamily(of.name, of.meaning, labels=of.labels, unit=of.unit)
    began_s = each.created_s if created else None
    for labels, value in each.samples:
        made.add_metric(labels, value, created=began_s)
    return made


def _gauge(each: FilledFamily, _created: bool) -> Metric:  # noqa: FBT001 - called by table
    of = each.family
    made = GaugeMetricFamily(of.name, of.meaning, labels=of.labels, unit=of.unit)
    for labels, value in each.samples:
        made.add_metric(labels, value)
    return made


def _states(each: FilledFamily, _created: bool) -> Metric:  # noqa: FBT001 - called by table
    made = StateSetMetricFamily(each.family.name, each.family.meaning)
    made.add_metric((), {labels[0]: bool(value) for labels, value in each.samples})
    return made


def _info(each: FilledFamily, _created: bool) -> Metric:  # noqa: FBT001 - called by table
    of = each.family
    made = InfoMetricFamily(of.name, of.meaning)
    for labels, _value in each.samples:
        made.add_metric((), dict(zip(of.labels, labels, strict=True)))
    return made


_MAKERS: Final[dict[str, Callable[[FilledFamily, bool], Metric]]] = {
    "counter": _counter,
    "gauge": _gauge,
    "states": _states,
    "info": _info,
}
