"""What packaging/metrics asks of Prometheus exists, and promtool accepts it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import client_messages as made
import pytest

from pbmon_client.data import model
from pbmon_client.metrics.families import FAMILIES, measured
from pbmon_client.metrics.meter import Meter, MeterOptions
from pbmon_client.web.metrics import exposition
from pbmond.fields import COUNTERS
from tests import pages

ROOT = Path(__file__).parents[3]
PLACE = ROOT / "packaging/metrics"
DASHBOARD = json.loads((PLACE / "dashboard.json").read_text())
RULES = (PLACE / "pbmon.rules.yml").read_text()


def full_exposition() -> str:
    """Return the text of a snapshot in which everything is known and not 0."""
    counters = dict.fromkeys(COUNTERS, 5)
    labels = {"unit": b"a.service", "container": b"docker:1", "container_name": b"shop"}
    health = made.HEALTH | {"lost": {"bytes": 0}}
    health["cost"] |= {"probe_ns_per_call": 90.0}
    coverage = made.coverage(
        interfaces=[made.interface(b"eth0", 7)],
        disks=[made.disk(b"vda", 7)],
        elsewhere=made.counts(("payload_rx_bytes", "payload_tx_bytes"), 7, 7),
    )
    row = {"pid": 1, "start_ns": 1000, "uid": 0, "name": b"x", **labels, **counters}
    message = made.message([row], health=health, coverage=coverage)
    shown = model.snapshot_of(message, model.Selection(), 0, "all", str)
    meter = Meter(MeterOptions(programs=True), str)
    meter.take(shown)
    return exposition(measured(meter, shown, "1"), is_open=False).decode()


def labels_of(text: str) -> dict[str, set[str]]:
    """Return the labels of each series in plain text."""
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, inside = re.findall(r"^(\w+)(?:\{(.*)\})? ", line)[0]
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', inside))
    return found


EXPOSED = labels_of(full_exposition())
#: Labels that Prometheus adds.
ADDED = {"instance", "job"}


def queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (each["definition"] for each in DASHBOARD["templating"]["list"] if "refresh" in each)
    yield from re.findall(r"expr: (.*)", RULES)


def test_the_exposition_has_every_family() -> None:
    assert {family.series: {*family.labels} for family in FAMILIES} == EXPOSED


@pytest.mark.parametrize("query", [*queries()])
def test_a_query_names_series_and_labels_that_exist(query: str) -> None:
    named = {*re.findall(r"\b(pbmon_\w+|up)\b", query)}
    assert named
    known = {name: ADDED | (EXPOSED[name] if name != "up" else set()) for name in named}
    for name, inside in re.findall(r"\b(\w+)\{([^}]*)\}", query):
        assert {*re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', inside)} <= known[name]
    labels = set().union(*known.values())
    for listed in re.findall(r"(?:by|on|group_left|without)\s*\(([^)]*)\)", query):
        assert {*re.split(r",\s*", listed)} <= labels


def test_there_are_queries_to_compare() -> None:
    assert len([*queries()]) > 20


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])
        }  # 24 columns
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_the_page_has_every_family() -> None:
    page = (ROOT / "packaging/doc/metrics.md").read_text()
    assert pages.part_of(page, "families") == pages.families()


# --- promtool -------------------------------------------------------------------------------------

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed: packaging/check does it"
)


def promtool(*arguments: str, text: str = "") -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=PLACE, input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", "pbmon.rules.yml"), ("test", "rules", "pbmon.rules.test.yml"),
     ("check", "config", "--syntax-only", "prometheus.yml")],
)  # fmt: skip
def test_promtool_accepts_the_files(arguments: tuple[str, ...]) -> None:
    promtool(*arguments)


@needs_promtool
def test_promtool_accepts_the_exposition() -> None:
    promtool("check", "metrics", text=full_exposition())
