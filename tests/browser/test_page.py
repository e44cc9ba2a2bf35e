"""The page in a real browser: what is seen, clicked and typed."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Dialog, Page, expect

from tests.browser.conftest import Visit
from tests.browser.live_world import HOSTILE, World, crowd
from tests.browser.page_server import BUILT, PATIENCE_MS, Server

expect.set_options(timeout=PATIENCE_MS)

_POWERS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}


def column(page: Page, name: str) -> list[str]:
    """The texts of a column's cells in sight, from the top, once the table shows one snapshot."""
    at = page.get_by_role("columnheader", name=name, exact=True).get_attribute("aria-colindex")
    texts: list[str] = page.evaluate(
        "(at) => [...document.querySelectorAll('.rows .line')]"
        ".sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)"
        ".map((row) => row.querySelector(`[aria-colindex='${at}']`)?.textContent)",
        at,
    )
    return texts


def number(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)([KMG]?)", text)
    return float(found[1]) * _POWERS[found[2]] if found else 0.0


#: Rows that stay where they are.
STILL = "#sort=pid"


def choose(page: Page, name: str) -> None:
    page.locator(".rows .line", has_text=name).first.click()
    expect(page.get_by_role("complementary")).to_contain_text(name)


def samples(page: Page) -> int:
    """How many pixels of the host's chart are drawn on."""
    drawn: int = page.evaluate(
        "() => { const it = document.querySelector('.host-chart canvas');"
        "const all = it.getContext('2d').getImageData(0, 0, it.width, it.height).data;"
        "return all.filter((value, at) => at % 4 === 3 && value > 0).length }"
    )
    return drawn


def test_the_page_names_the_host_and_lists_its_processes(server: Server, visit: Visit) -> None:
    page = visit(server)
    expect(page.locator(".host")).to_contain_text("web-1")
    assert "nginx" in column(page, "NAME")
    grid = page.get_by_role("grid")
    rows = page.locator(".rows .line").count()
    expect(grid).to_have_attribute("aria-rowcount", str(rows + 1))  # few enough to be all there
    assert samples(page) > 1000


def test_a_click_on_a_title_sorts_and_another_reverses(server: Server, visit: Visit) -> None:
    page = visit(server)
    title = page.get_by_role("columnheader", name="NET TX", exact=True)
    title.click()
    expect(title).to_have_attribute("aria-sort", "descending")
    page.wait_for_timeout(700)
    values = [number(text) for text in column(page, "NET TX")]
    assert values == sorted(values, reverse=True) != sorted(values)
    title.click()
    expect(title).to_have_attribute("aria-sort", "ascending")
    page.wait_for_timeout(700)
    values = [number(text) for text in column(page, "NET TX")]
    assert values == sorted(values)
    assert "sort=" in page.url


def test_words_and_expressions_filter_and_a_mistake_is_explained(
    server: Server, visit: Visit
) -> None:
    page = visit(server)
    field = page.get_by_label("Filter")
    field.fill("postgres")
    expect(page.locator(".count strong")).to_be_visible()
    assert {*column(page, "NAME")} == {"postgres"}
    field.fill("uid = 112 and net_rx_bytes >= 0")
    expect(page.locator(".rows .line")).to_have_count(1)
    field.fill("nonsense_field > 5")
    expect(page.get_by_role("alert")).to_contain_text("nonsense_field")
    expect(field).to_have_attribute("aria-invalid", "true")
    field.press("Escape")
    expect(page.locator("#filter-mistake")).to_be_empty()


def test_the_selected_row_shows_what_it_is_and_what_it_uses(server: Server, visit: Visit) -> None:
    page = visit(server, STILL)
    choose(page, "backup")
    pane = page.get_by_role("complementary")
    expect(pane).to_contain_text("backup.service")
    expect(pane).to_contain_text("198.51.100.7:873")
    expect(pane).to_contain_text("/srv/www/media/archive-2026.tar")
    expect(pane.locator(".badge.net").first).to_have_text("net")
    chart = pane.get_by_role("img")
    expect(chart).to_have_attribute("aria-label", re.compile(r"file read [\d.]+M"))


def test_a_reload_shows_the_same_place(server: Server, visit: Visit) -> None:
    page = visit(server)
    page.keyboard.press("3")
    page.get_by_role("columnheader", name="NET RX", exact=True).click()
    choose(page, "root")
    page.get_by_role("button", name="Members").click()
    expect(page.locator(".crumb strong")).to_have_text("root")
    page.keyboard.press("a")
    before = page.url
    page.reload()
    expect(page.locator(".crumb strong")).to_have_text("root")
    expect(page.get_by_role("button", name="Totals")).to_have_attribute("aria-pressed", "true")
    assert page.url == before
    page.go_back()
    expect(page.locator(".crumb")).to_have_count(0)
    expect(page.get_by_role("columnheader", name="NET RX", exact=True)).to_have_attribute(
        "aria-sort", "descending"
    )


def test_hostile_names_are_text(server: Server, visit: Visit) -> None:
    page = visit(server, STILL)
    alarms: list[str] = []

    def refuse(dialog: Dialog) -> None:
        alarms.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", refuse)
    shown = column(page, "NAME")
    for name in HOSTILE:
        assert any(name[:15] in text for text in shown), name
        choose(page, name)
        expect(page.get_by_role("complementary")).to_contain_text(f"/tmp/{name}")
    for view in "8249":
        page.keyboard.press(view)
        page.locator(".rows .line .cell").first.wait_for()
    assert page.locator("img, script:not([src])").count() == 0
    assert alarms == []


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_telephone_shows_table_and_details(server: Server, visit: Visit, theme: str) -> None:
    page = visit(server, STILL, width=390, color_scheme=theme, has_touch=True)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide == 390
    assert column(page, "NET RX")
    pane = page.get_by_role("complementary")
    expect(pane).to_be_hidden()
    page.locator(".rows .line", has_text="backup").tap()
    expect(pane).to_be_visible()
    box = pane.bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (390, 844)
    page.get_by_role("button", name="Close the details").tap()
    expect(pane).to_be_hidden()


def test_a_tour_asks_nobody_else_and_breaks_no_rule(server: Server, visit: Visit) -> None:
    page = visit(server)
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda opened: asked.append(opened.url))
    page.on("console", lambda line: complaints.append(line.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.reload()
    for view in "123456789":
        page.keyboard.press(view)
        page.locator(".rows .line .cell").first.wait_for()
        page.locator(".rows .line").first.click()
        expect(page.get_by_role("complementary")).to_be_visible()
    page.hover(".host-chart canvas")
    for key, name in (("?", "Keys and filters"), ("C", "Classes and columns"), ("H", "Health")):
        page.keyboard.press(key)
        dialog = page.get_by_role("dialog", name=name)
        expect(dialog).to_be_visible()
        if key == "H":
            expect(dialog.locator(".report dd").first).to_be_visible()
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
    for key in "abBetTTTopd":
        page.keyboard.press(key)
    page.wait_for_timeout(1500)
    assert page.evaluate("window.refused") == []
    assert complaints == []
    allowed = (f"{server.origin}/", f"ws://127.0.0.1:{server.port}/")
    assert asked
    assert [address for address in asked if not address.startswith(allowed)] == []


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_serious(server: Server, visit: Visit, theme: str, width: int) -> None:
    page = visit(server, STILL, width=width, color_scheme=theme)
    choose(page, "backup")
    page.wait_for_timeout(1200)
    found = [*Axe().run(page).response["violations"]]
    for key in "?CH":
        page.keyboard.press(key)
        page.get_by_role("dialog").wait_for()
        page.wait_for_timeout(300)
        found += Axe().run(page).response["violations"]
        page.keyboard.press("Escape")
    serious = {
        (each["id"], each["nodes"][0]["html"][:160], each["nodes"][0]["failureSummary"])
        for each in found
        if each["impact"] in ("serious", "critical")
    }
    assert serious == set()


def test_everything_is_reached_with_keys_alone(server: Server, visit: Visit) -> None:
    page = visit(server, STILL)
    keys = page.keyboard
    keys.press("j")
    keys.press("ArrowDown")
    chosen = page.locator(".rows .chosen")
    expect(chosen).to_have_attribute("aria-rowindex", "3")
    keys.press("k")
    expect(chosen).to_have_attribute("aria-rowindex", "2")
    keys.press("G")
    total = page.get_by_role("grid").get_attribute("aria-rowcount")
    expect(chosen).to_have_attribute("aria-rowindex", str(total))
    keys.press("/")
    keys.type("nginx")
    keys.press("Enter")
    expect(page.locator(".count strong")).to_be_visible()
    assert {*column(page, "NAME")} == {"nginx"}
    keys.press("Escape")
    expect(page.get_by_label("Filter")).to_have_value("")
    keys.press("2")
    expect(page.get_by_role("columnheader", name="PROGRAM")).to_be_visible()
    keys.press("g")
    expect(chosen).to_have_count(1)
    keys.press("Enter")
    expect(page.locator(".crumb")).to_be_visible()
    keys.press("Escape")
    expect(page.locator(".crumb")).to_have_count(0)
    keys.press("s")
    expect(page.locator("[aria-sort]")).to_have_count(1)
    keys.press(" ")
    expect(page.get_by_role("button", name="Paused")).to_be_visible()
    keys.press(" ")
    for _ in range(40):
        keys.press("Tab")
        if page.evaluate("document.activeElement.role") == "grid":
            break
    assert page.evaluate("document.activeElement.role") == "grid"
    keys.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_ten_thousand_rows_scroll_without_a_jump(tmp_path: Path, visit: Visit) -> None:
    world = World(tmp_path / "socket", crowd(10_000))
    server = Server(tmp_path / "socket", tmp_path)
    try:
        page = visit(server)
        expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "10001")
        assert page.locator(".rows .line").count() < 80
        page.evaluate("document.querySelector('.grid').scrollTop = 140000")
        middle = page.locator(".rows .line:not(:has(.quiet:only-child))")
        expect(middle.first).to_have_attribute("aria-rowindex", re.compile(r"^4\d\d\d$"))
        page.wait_for_timeout(1500)
        assert page.evaluate("document.querySelector('.grid').scrollTop") == 140000
        page.keyboard.press("End")
        expect(page.locator(".rows .chosen")).to_have_attribute("aria-rowindex", "10001")
        assert "worker-0" in column(page, "NAME")
    finally:
        server.stop()
        world.close()


def test_the_page_comes_back_after_server_and_daemon(tmp_path: Path, visit: Visit) -> None:
    world = World(tmp_path / "socket")
    server = Server(tmp_path / "socket", tmp_path)
    try:
        page = visit(server, STILL)
        choose(page, "backup")
        away = page.locator(".away")
        expect(away).to_have_count(0)
        server.stop()
        expect(away).to_contain_text("No data since")
        assert column(page, "NAME")  # what was known stays
        server.start()
        expect(away).to_have_count(0)
        expect(page.get_by_role("complementary")).to_contain_text("backup.service")
        world.close()
        expect(away).to_contain_text("No data since", timeout=PATIENCE_MS)
        world = World(tmp_path / "socket")
        expect(away).to_have_count(0, timeout=PATIENCE_MS)
        assert samples(page) > 1000
    finally:
        server.stop()
        world.close()


def test_the_page_is_small() -> None:
    scripts = [*BUILT.parent.glob("assets/*.js")]
    assert scripts
    assert sum(len(gzip.compress(each.read_bytes())) for each in scripts) <= 120_000
