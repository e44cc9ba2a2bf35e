"""What /metrics answers: both formats, what is in them, and while no daemon answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any

import client_messages as made
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain
from prometheus_client.samples import Sample
from starlette.testclient import TestClient
from web_client import MESSAGES, snapshot

from pbmon_client.metrics.families import FAMILIES
from pbmon_client.metrics.meter import MeterOptions
from pbmon_client.web.house import House
from pbmon_client.web.metrics import MetricsPage, prefers_openmetrics
from pbmon_client.web.receiver import Arrived, Silence
from pbmond.fields import COUNTERS, TABLES

OPEN = {"Accept": "application/openmetrics-text; version=1.0.0"}
#: What Prometheus 2.42 sends.
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


def samples(families: Iterable[Metric]) -> list[Sample]:
    return [sample for family in families for sample in family.samples]


def scraped(client: TestClient, *, is_open: bool) -> list[Sample]:
    answer = client.get("/metrics", headers=OPEN if is_open else {})
    assert answer.status_code == 200
    return samples((parse_open if is_open else parse_plain)(answer.text))


@pytest.mark.parametrize(
    ("accept", "expected"),
    [(PROMETHEUS, True), ("application/openmetrics-text", True), ("*/*", False), ("", False),
     ("text/plain", False), ("text/html", False), ("application/openmetrics-text;q=0", False),
     ("text/plain, application/openmetrics-text;q=0.5", False),
     ("text/plain;q=0.4, application/openmetrics-text;q=0.5", True),
     ("APPLICATION/OpenMetrics-Text ; Q=1", True), ("application/openmetrics-text;q=x", False)],
)  # fmt: skip
def test_the_format_is_the_one_that_the_scraper_prefers(
    client: TestClient, accept: str, expected: bool
) -> None:
    assert prefers_openmetrics(accept) == expected
    answer = client.get("/metrics", headers={"Accept": accept})
    kind = "application/openmetrics-text" if expected else "text/plain"
    assert answer.headers["content-type"].split(";")[0] == kind
    assert answer.text.endswith("# EOF\n") == expected


def test_a_stranger_gets_no_metrics(stranger: TestClient) -> None:
    assert stranger.get("/metrics").status_code == 401


@pytest.mark.parametrize("is_open", [True, False])
def test_the_sums_of_each_family_are_the_totals(client: TestClient, is_open: bool) -> None:
    sums: dict[tuple[str, str, str], float] = {}
    for sample in scraped(client, is_open=is_open):
        key = (sample.name, sample.labels.get("class", ""), sample.labels.get("direction", ""))
        sums[key] = sums.get(key, 0) + sample.value
    totals = MESSAGES[1].totals
    for prefix in ("pbmon", "pbmon_user", "pbmon_container"):
        for name in COUNTERS:
            of = TABLES["processes"][name]
            what = of.name if of.direction is None else f"io_{of.unit}"
            if of.byte_class == "disk":
                key = (f"{prefix}_disk_bytes_total", "", of.direction or "")
            elif of.direction is None:
                key = (f"{prefix}_tcp_{what}_total", "", "")
            else:
                key = (f"{prefix}_{what}_total", of.byte_class or "", of.direction)
            assert sums.get(key, 0) == totals[name], key
    assert totals["file_write_bytes"] > 0


def test_the_counters_say_when_the_daemon_began(
    client: TestClient, tell: Callable[[Any], None]
) -> None:
    before = scraped(client, is_open=True)
    assert not [sample for sample in before if sample.name.endswith("_created")]
    message = made.message([made.process(1, net_rx_bytes=5)], epoch="epoch-2",
                           health=made.HEALTH | {"began_ns": 250_000_000})  # fmt: skip
    tell(Arrived(None, snapshot(message)))
    now = scraped(client, is_open=True)
    began_s = (message.time_ns - message.now_ns + 250_000_000) / 1e9
    created = [sample for sample in now if sample.name.endswith("_created")]
    (value,) = {sample.value for sample in created}
    assert value == pytest.approx(began_s)
    counters = [sample for sample in now if sample.name.endswith("_total")]
    assert len(created) == len(counters) > 0


def test_no_label_is_a_process_id_and_every_series_is_in_the_table(client: TestClient) -> None:
    known = {family.series: {*family.labels} for family in FAMILIES}
    found = scraped(client, is_open=True)
    for sample in found:
        assert sample.labels.keys() == known[sample.name], sample
    assert "pid" not in {label for labels in known.values() for label in labels}
    assert len({(sample.name, *sorted(sample.labels.items())) for sample in found}) == len(found)


@pytest.mark.parametrize("is_open", [True, False])
def test_hostile_names_are_values_of_labels(
    client: TestClient, tell: Callable[[Any], None], is_open: bool
) -> None:
    hostile = b'a"} 1\n# EOF\nx\\{\xff\x1b[31m'
    rows = [made.process(1, unit=hostile, container=hostile, net_rx_bytes=5)]
    message = made.message(rows, epoch="epoch-2")
    tell(Arrived(None, snapshot(message)))
    found = {sample.labels.get("unit") for sample in scraped(client, is_open=is_open)}
    assert 'a"} 1\\n# EOF\\nx\\{\\xff\\x1b[31m'.replace("\\n", "\\x0a") in found


def test_a_scrape_does_not_wait_for_the_tick_of_all_pages(house: House) -> None:
    page = MetricsPage(house, MeterOptions())
    gate = threading.Event()

    async def run() -> bool:
        held = asyncio.create_task(house.desk.do(gate.wait))
        await asyncio.sleep(0)
        tick = asyncio.create_task(house.desk.do(lambda: bool(page._made)))
        asked = asyncio.create_task(page.answer(""))
        for _ in range(20):  # until the scrape is at the desk
            await asyncio.sleep(0)
        gate.set()
        _, was_made, _ = await asyncio.gather(held, tick, asked)
        house.desk.close()
        return was_made

    assert asyncio.run(run())


def test_without_a_daemon_it_says_so(client: TestClient, tell: Callable[[Any], None]) -> None:
    assert 1 in [s.value for s in scraped(client, is_open=True) if s.name == "pbmon_daemon_up"]
    tell(Silence(1, "pbmond is not running"))
    found = {sample.name: sample.value for sample in scraped(client, is_open=True)}
    assert found == {"pbmon_daemon_up": 0, "pbmon_build_info": 1}
    tell(Arrived(None, snapshot(MESSAGES[2])))
    assert len(scraped(client, is_open=True)) > 50


def test_names_of_containers_are_an_info_of_their_own(
    client: TestClient, tell: Callable[[Any], None]
) -> None:
    named: dict[str, Any] = {"container": b"docker:1", "container_name": b"shop"}
    named["image"] = b"shop:2"
    rows = [made.process(1, net_rx_bytes=5, **named), made.process(2, container=b"docker:1")]
    tell(Arrived(None, snapshot(made.message(rows, epoch="epoch-2"))))
    found = [s for s in scraped(client, is_open=True) if s.name == "pbmon_container_info"]
    (only,) = found
    expected = {"container": "docker:1", "name": "shop", "image": "shop:2", "pod": ""}
    assert only.labels == {**expected, "namespace": ""}


def test_losses_and_status_are_series(client: TestClient, tell: Callable[[Any], None]) -> None:
    health = made.HEALTH | {"status": "incomplete", "lost": {"bytes": 7, "events": 0}}
    tell(Arrived(None, snapshot(made.message([], epoch="epoch-2", health=health))))
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for sample in scraped(client, is_open=True)
    }
    assert found["pbmon_lost_total", "bytes"] == 7
    assert found["pbmon_lost_total", "events"] == 0
    assert found["pbmon_health", "incomplete"] == 1
    assert found["pbmon_health", "complete"] == 0
