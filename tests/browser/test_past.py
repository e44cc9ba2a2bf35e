"""The past in the page: the timeline, links to a time, ranges to the byte, and back to live."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from pbmon_client.history.past import Past
from tests.browser import past_world
from tests.browser.conftest import Visit
from tests.browser.live_world import World
from tests.browser.page_reader import (
    choose,
    column,
    pane,
    pass_ticks,
    press,
    serious_findings,
    settle,
)
from tests.browser.page_server import Server

#: 2025-10-26, 03:00 in summer, and 02:00 again in Berlin.
CLOCKS_CHANGED = 1_761_440_400
HOST_CHART = ".host-chart canvas"
MOVED = {"Net in": "net_rx", "Net out": "net_tx", "File read": "file_read",
         "File write": "file_write"}  # fmt: skip


@dataclass(frozen=True)
class Recorded:
    """A server with a history that ends at ``now_s``."""

    server: Server
    past: Past
    now_s: int


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    now_s = int(time.time()) // 3600 * 3600
    with recorded_until(now_s, tmp_path_factory.mktemp("recorded")) as made:
        yield made


@contextmanager
def recorded_until(now_s: int, folder: Path) -> Iterator[Recorded]:
    past_world.write(folder / "history", now_s)
    world = World(folder / "socket", age=60, more=())
    server = Server(folder / "socket", folder)
    try:
        yield Recorded(server, Past(folder / "history"), now_s)
    finally:
        server.stop()
        world.close()


def written(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def slider(page: Page) -> Locator:
    return page.get_by_role("slider", name="Time")


def banner(page: Page) -> Locator:
    return page.locator(".banner.past")


def test_a_click_on_the_timeline_shows_that_time_and_live_comes_back(
    recorded: Recorded, visit: Visit
) -> None:
    page = visit(recorded.server)
    expect(slider(page)).to_have_attribute("aria-valuetext", "now")
    expect(banner(page)).to_have_count(0)
    page.get_by_label("Timeline shows").select_option("21600")
    box = slider(page).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 20)
    page.mouse.down()
    expect(banner(page)).to_contain_text("Not now")
    before = slider(page).get_attribute("aria-valuenow")
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 20, steps=3)
    page.mouse.up()
    settle(page)
    assert before is not None
    expect(slider(page)).not_to_have_attribute("aria-valuenow", before)
    expect(slider(page)).to_have_attribute(
        "aria-valuetext", re.compile(r"bytes per second|nothing")
    )
    assert "at=" in page.url
    page.get_by_role("button", name="Back to live").click()
    expect(banner(page)).to_have_count(0)
    pass_ticks(page)
    assert "at=" not in page.url
    expect(page.locator(HOST_CHART)).to_have_attribute("aria-label", re.compile(r"Now: "))


def test_a_range_sums_to_the_byte_and_a_link_shows_it(recorded: Recorded, visit: Visit) -> None:
    since, until = recorded.now_s - 2400, recorded.now_s - 600
    place = f"#view=users&since={written(since)}&until={written(until)}&totals=1&exact=1"
    page = visit(recorded.server, place)
    message = recorded.past.message(since, until)
    for words, name in MOVED.items():
        moved = message.totals[f"{name}_bytes"]
        assert moved > 0
        expect(banner(page).locator(".sums")).to_contain_text(f"{words} {moved:,} B")
        strip = page.locator(f".stats .{name} .value")
        expect(strip).to_have_text(f"{moved:,} B")
    shown = [int(text.replace(",", "").replace("·", "0")) for text in column(page, "NET TX")]
    assert sum(shown) == message.totals["net_tx_bytes"]
    page.reload()
    settle(page)
    expect(banner(page)).to_contain_text("(30 m)")
    assert [int(t.replace(",", "").replace("·", "0")) for t in column(page, "NET TX")] == shown


def test_shift_and_drag_mark_a_range_in_totals_which_go_with_it(
    recorded: Recorded, visit: Visit
) -> None:
    page = visit(recorded.server)
    page.get_by_label("Timeline shows").select_option("21600")
    box = slider(page).bounding_box()
    assert box is not None
    page.keyboard.down("Shift")
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 20, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")
    expect(banner(page).locator(".sums")).to_be_visible()
    totals = page.get_by_role("button", name="Totals")
    expect(totals).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("L")
    expect(banner(page)).to_have_count(0)
    expect(totals).to_have_attribute("aria-pressed", "false")


def test_keys_travel_as_in_the_terminal(recorded: Recorded, visit: Visit) -> None:
    page = visit(recorded.server)
    expect(slider(page)).to_be_visible()  # what is kept is known
    page.keyboard.press("b")
    question = page.get_by_role("dialog", name="Go to a time")
    question.get_by_role("textbox").fill("soon")
    question.get_by_role("button", name="Go", exact=True).click()
    expect(question.get_by_role("alert")).to_contain_text("'soon' is not a time")
    question.get_by_role("textbox").fill(written(recorded.now_s - 1195))
    question.get_by_role("textbox").press("Enter")
    expect(question).to_have_count(0)

    def at(seconds: int) -> None:
        settle(page)
        expect(slider(page)).to_have_attribute("aria-valuenow", str(recorded.now_s + seconds))

    at(-1195)
    shown = recorded.past.frame(recorded.now_s - 1195)
    since, until = ((shown.time_ns - back) // 10**9 - recorded.now_s
                    for back in (shown.interval_ns, 0))  # fmt: skip
    press(page, "]")
    at(until)
    press(page, "[")
    shown = recorded.past.frame(recorded.now_s + until)
    at((shown.time_ns - shown.interval_ns) // 10**9 - recorded.now_s - 1)
    assert since < until
    slider(page).focus()
    before = slider(page).get_attribute("aria-valuenow")
    assert before is not None
    page.keyboard.press("ArrowLeft")
    expect(slider(page)).not_to_have_attribute("aria-valuenow", before)
    page.keyboard.press("End")
    expect(banner(page)).to_have_count(0)


def test_a_time_that_clocks_show_twice_is_remarked_on_while_it_is_shown(
    tmp_path: Path, visit: Visit
) -> None:
    with recorded_until(CLOCKS_CHANGED, tmp_path) as autumn:
        page = visit(autumn.server, timezone_id="Europe/Berlin")
        expect(slider(page)).to_be_visible()  # what is kept is known
        page.keyboard.press("b")
        question = page.get_by_role("dialog", name="Go to a time").get_by_role("textbox")
        question.fill("2025-10-26 02:30")
        question.press("Enter")
        remark = page.get_by_text("02:30+02:00")
        expect(remark).to_be_visible()
        page.keyboard.press("]")
        expect(remark).to_have_count(0)


def test_the_past_is_filtered_selected_and_looked_into(recorded: Recorded, visit: Visit) -> None:
    since, until = recorded.now_s - 2400, recorded.now_s - 600
    page = visit(recorded.server, f"#filter=nginx&since={written(since)}&until={written(until)}")
    assert {*column(page, "NAME")} == {"nginx"}
    choose(page, "nginx")
    expect(pane(page)).to_contain_text("nginx.service")
    expect(pane(page).locator(".flows").first).to_contain_text("connections")
    chart = pane(page).get_by_role("img")
    expect(chart).to_have_attribute("aria-label", re.compile(r"At most: .*net out [\d.]+M"))
    press(page, "3")
    assert len(column(page, "USER")) > 0


def test_charts_zoom_out_and_show_gaps(recorded: Recorded, visit: Visit) -> None:
    page = visit(recorded.server)
    spans = page.get_by_role("group", name="The charts show").first
    for name in ("1 h", "6 h", "1 d", "1 w"):
        spans.get_by_role("button", name=name, exact=True).click()
        expect(page.locator(HOST_CHART)).to_have_attribute("aria-label", re.compile("At most: "))
    spans.get_by_role("button", name="6 h", exact=True).click()
    gap = re.compile(r"No data from \w+,? \d+ \w+ [\d:]{8} to ")
    expect(page.locator(HOST_CHART)).to_have_attribute("aria-label", gap)
    page.reload()
    expect(spans.get_by_role("button", name="6 h", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    spans.get_by_role("button", name="Live", exact=True).click()
    expect(page.locator(HOST_CHART)).to_have_attribute("aria-label", re.compile("Now: "))


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_past_fits_is_accessible_and_breaks_no_rule(
    recorded: Recorded, visit: Visit, theme: str, width: int
) -> None:
    place = f"#at={written(recorded.now_s - 900)}"
    page = visit(recorded.server, place, width, color_scheme=theme)
    expect(banner(page)).to_be_visible()
    expect(slider(page)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.get_by_role("button", name="Back to live").bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= width
    page.keyboard.press("m")
    page.keyboard.press("]")
    settle(page)
    page.keyboard.press("@")
    assert serious_findings(page) == set()
    page.keyboard.press("Escape")
    assert serious_findings(page) == set()
    assert page.evaluate("window.refused") == []


def test_a_moment_is_shown_while_no_daemon_runs(tmp_path: Path, visit: Visit) -> None:
    now_s = int(time.time())
    past_world.write(tmp_path / "history", now_s, [(60, 0, 10)])
    server = Server(tmp_path / "socket", tmp_path)
    try:
        page = visit(server, f"#at={written(now_s - 35)}")
        expect(banner(page)).to_contain_text("Not now")
        assert "nginx" in column(page, "NAME")
    finally:
        server.stop()


def test_without_a_history_there_is_no_timeline_and_health_says_how_to_get_one(
    server: Server, visit: Visit
) -> None:
    page = visit(server)
    expect(slider(page)).to_have_count(0)
    expect(page.get_by_role("group", name="The charts show")).to_have_count(0)
    page.keyboard.press("@")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("H")
    expect(page.get_by_role("dialog")).to_contain_text("`pbmon-client record` writes one")
