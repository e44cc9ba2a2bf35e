"""Claims about the pages: links and paths lead somewhere, and the contract's fields are there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import client_messages as make
import pytest
from demo_world import messages
from tui_driver import started

from pbmon_client.data.model import Selection, snapshot_of
from pbmon_client.output import jsonout
from pbmond import wire
from pbmond.fields import SHOWN
from pbmond.kernel.maps import LOST
from pbmond.kernel.records import ProbeRuns
from pbmond.selftest.workloads import NAMES
from pbmond.store.health import Cost, Health, Looks, ProcessCost
from tests import pages
from tests.fake_kernel import FakeKernel

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    str(page.relative_to(ROOT))
    for place in (".", ".github", ".github/ISSUE_TEMPLATE", "packaging", "packaging/doc")
    for page in (ROOT / place).glob("*.md")
)
CONTRACT = (ROOT / "packaging/doc/json.md").read_text()
#: What a path in the text begins with, if it is one of the checkout's.
TOP = ("bpf/", "pbmond/", "pbmon_client/", "packaging/", "tests/", ".github/", ".ci/")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", without_code(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def links(page: str) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code((ROOT / page).read_text())):
        if not target.startswith("https://"):
            yield target


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_page_and_a_heading(page: str) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        to = (ROOT / page).parent / path if path else ROOT / page
        assert to.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in anchors(to), f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES)
def test_every_path_named_in_the_text_exists(page: str) -> None:
    text = without_code((ROOT / page).read_text())
    named = {word for code in re.findall(r"`([^`\n]+)`", text) for word in code.split()}
    paths = {word for word in named if word.startswith(TOP)}
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_the_screen_in_the_readme_is_one_of_todays_client() -> None:
    """It is recorded from real programs; if this fails, record it anew."""
    screen = re.search(r"^```\n( pbmon .*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    assert screen
    recorded = screen[1].splitlines()
    driver = started(messages(12), width=100, height=len(recorded))
    driver.draw()
    drawn = driver.lines()
    for line in (4, 5):  # the views, and the titles of their columns
        assert recorded[line].rstrip() == drawn[line].rstrip()
    assert recorded[-1][:70] == drawn[-1][:70]  # the keys
    for words in ("every 1 s  bytes/s  ▼ busiest", "every user  complete*", "  in    out  total"):
        assert any(words in line for line in recorded)
        assert any(words in line for line in drawn)


def test_the_pages_say_how_many_paths_the_self_test_has() -> None:
    assert f"known bytes through {len(NAMES)} paths" in (ROOT / "README.md").read_text()
    exactness = (ROOT / "packaging/doc/exactness.md").read_text()
    assert f"{len(NAMES)} small programs" in exactness
    assert re.search(rf"^\| all +\| +{len(NAMES)} \|", exactness, re.MULTILINE)


def test_every_path_of_the_self_test_has_its_line_in_the_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests/bench")
    scoreboard = import_module("scoreboard")
    assert {scoreboard.area_of(name) for name in NAMES} == {*scoreboard.AREAS.values()}


def test_the_architecture_names_every_room() -> None:
    table = (ROOT / "packaging/doc/architecture.md").read_text()
    named = set(re.findall(r"^\| `([^`]+)/` \|", table, re.MULTILINE))
    rooms = {
        str(path.parent.relative_to(ROOT))
        for package in ("pbmond", "pbmon_client")
        for path in (ROOT / package).rglob("__init__.py")
        if "workloads" not in path.parts
    }
    assert rooms <= named


# --- the JSON contract --------------------------------------------------------------------------


def section(title: str) -> str:
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#|\Z)", CONTRACT, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def first_cells(title: str) -> list[str]:
    """The names in the first column of a section's table, in order."""
    return re.findall(r"^\| `(\w+)` \|", section(title), re.MULTILINE)


def every_name(title: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", section(title)))


def snapshot() -> dict[str, Any]:
    """A snapshot as the client prints it."""
    coverage = make.coverage(interfaces=[make.interface(b"eth0")], disks=[make.disk(b"vda")])
    message = make.received(make.message([make.process(7)], [], [], coverage=coverage))
    shown = snapshot_of(message, Selection(), 1000, "own", str)
    printed: dict[str, Any] = json.loads(jsonout.render(shown, row_a_line=False))
    return printed


def test_the_contract_is_that_of_the_schema() -> None:
    assert f"`{wire.SCHEMA}`" in CONTRACT.splitlines()[0]
    assert f'`"{wire.SCHEMA}"`' in section("The snapshot")


def test_the_contract_lists_every_field_of_a_snapshot() -> None:
    printed = snapshot()
    assert set(first_cells("The snapshot")) == printed.keys()
    assert set(first_cells("Viewer")) == printed["viewer"].keys()


@pytest.mark.parametrize("name", pages.contract_parts())
def test_the_contract_has_every_field_of_the_table(name: str) -> None:
    """If this fails: ``python -m tests.pages``."""
    assert pages.part_of(CONTRACT, name) == pages.contract_parts()[name]


@pytest.mark.parametrize("table", SHOWN)
def test_every_field_of_a_table_is_in_the_contract_once(table: str) -> None:
    named = re.findall(r"^\| `(\w+)` \|", pages.part_of(CONTRACT, table), re.MULTILINE)
    if table in ("processes", "retired"):
        named += re.findall(r"`(\w+_\w+)`", pages.part_of(CONTRACT, "counters"))
    assert [name for name in SHOWN[table] if named.count(name) != 1] == []


def test_a_part_is_changed_between_its_comments_only() -> None:
    changed = pages.with_part(CONTRACT, "files", "new\n")
    assert pages.part_of(changed, "files") == "new\n"
    assert pages.with_part(changed, "files", pages.part_of(CONTRACT, "files")) == CONTRACT
    with pytest.raises(ValueError, match="no comments of nothing"):
        pages.part_of(CONTRACT, "nothing")


def test_the_contract_lists_every_field_of_health() -> None:
    cost = Cost(0, [ProcessCost("collector", 7, 0, 1)], ProbeRuns(0, 0), Looks(0, 0, 0, None))
    health = Health(FakeKernel(), 0).tick({}, {}, cost)
    assert first_cells("Health") == list(health)
    assert first_cells("Cost") == list(health["cost"])
    assert {*health["cost"]["processes"][0]} <= every_name("Cost")


def test_the_contract_lists_every_loss() -> None:
    assert first_cells("Lost") == [*LOST, "skipped_calls"]


def test_the_contract_lists_every_field_of_coverage() -> None:
    coverage = snapshot()["coverage"]
    names = {*coverage, *coverage["interfaces"][0], *coverage["disks"][0]}
    names |= {*coverage["elsewhere"], *coverage["attributed"]}
    counted = {name for name in names if not name.endswith("_interval")}
    assert counted <= every_name("Coverage")
    assert {wire.interval_name(name) for name in counted} & names


def test_the_page_of_security_quotes_the_table_of_rights() -> None:
    page = pages.SECURITY.read_text()
    assert pages.part_of(page, "rights") == pages.rights_table()
    assert pages.part_of(page, "inputs") == pages.inputs_table()
