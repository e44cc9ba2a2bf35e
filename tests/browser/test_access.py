"""The page for everybody: by screen reader, by keyboard alone, on a telephone."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.page_reader import (
    choose,
    column,
    pane,
    press,
    serious_findings,
    settle,
)
from tests.browser.page_server import Server

#: Rows that stay where they are.
STILL = "#sort=pid"
THEMES = pytest.mark.parametrize("theme", ["dark", "light"])


def test_the_table_is_a_grid_with_counts_and_indexes(server: Server, visit: Visit) -> None:
    page = visit(server, STILL)
    grid = page.get_by_role("grid")
    rows, titles = grid.get_by_role("row"), grid.get_by_role("columnheader")
    # Few enough to be all there.
    expect(grid).to_have_attribute("aria-rowcount", str(rows.count()))
    expect(grid).to_have_attribute("aria-colcount", str(titles.count()))
    indexes = rows.evaluate_all("(rows) => rows.map((row) => +row.ariaRowIndex)")
    assert sorted(indexes) == [*range(1, rows.count() + 1)]
    places = rows.evaluate_all(
        "(rows) => rows.map((row) => [...row.children].map((cell) => +cell.ariaColIndex))"
    )
    assert places == [[*range(1, titles.count() + 1)]] * rows.count()
    expect(page.locator("[aria-sort]")).to_have_count(1)
    expect(page.get_by_role("columnheader", name="PID")).to_have_attribute(
        "aria-sort", "descending"
    )
    choose(page, "backup")
    chosen = grid.get_by_role("row", selected=True)
    expect(chosen).to_have_count(1)
    row_id = chosen.get_attribute("id")
    assert row_id
    expect(grid).to_have_attribute("aria-activedescendant", row_id)


@THEMES
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_serious(server: Server, visit: Visit, theme: str, width: int) -> None:
    page = visit(server, STILL, width=width, color_scheme=theme)
    found = serious_findings(page)
    choose(page, "backup")
    expect(pane(page).locator(".flows table")).to_have_count(2)
    found |= serious_findings(page)
    for key, ready in (("?", "kbd"), ("C", "input"), ("H", ".report dd")):
        page.keyboard.press(key)
        expect(page.get_by_role("dialog").locator(ready).first).to_be_visible()
        found |= serious_findings(page)
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
    assert found == set()


@THEMES
def test_axe_finds_nothing_serious_when_something_is_wrong(
    server: Server, visit: Visit, theme: str
) -> None:
    page = visit(server, STILL, color_scheme=theme)
    choose(page, "backup")
    page.get_by_label("Filter").fill("nonsense > 5")
    expect(page.get_by_role("alert")).not_to_be_empty()
    found = serious_findings(page)
    page.get_by_label("Filter").fill("nobody knows this")
    expect(page.get_by_text("Nothing matches the filter")).to_be_visible()
    found |= serious_findings(page)
    page.get_by_label("Filter").press("Escape")
    settle(page)
    press(page, "p")
    page.keyboard.press("Space")
    expect(page.locator(".clock.paused")).to_be_visible()
    found |= serious_findings(page)
    assert found == set()


def test_everything_is_reached_with_keys_alone(server: Server, visit: Visit) -> None:
    page = visit(server, STILL)
    keys = page.keyboard
    press(page, "j")
    keys.press("ArrowDown")
    chosen = page.locator(".rows .chosen")
    expect(chosen).to_have_attribute("aria-rowindex", "3")
    press(page, "k")
    expect(chosen).to_have_attribute("aria-rowindex", "2")
    total = page.get_by_role("grid").get_attribute("aria-rowcount")
    assert total
    for key, row in (("G", total), ("g", "2"), ("End", total), ("Home", "2")):
        keys.press(key)
        expect(chosen).to_have_attribute("aria-rowindex", row)
    keys.press("PageDown")
    expect(chosen).to_have_attribute("aria-rowindex", re.compile(r"^1\d$"))
    keys.press("PageUp")
    expect(chosen).to_have_attribute("aria-rowindex", "2")
    keys.press("Enter")
    expect(pane(page)).to_be_focused()
    keys.press("Escape")
    keys.press("/")
    keys.type("nginx")
    keys.press("Enter")
    expect(page.get_by_role("grid")).to_be_focused()
    assert {*column(page, "NAME")} == {"nginx"}
    keys.press("Escape")
    expect(page.get_by_label("Filter")).to_have_value("")
    press(page, "2g")
    expect(chosen).to_have_count(1)
    keys.press("Enter")
    expect(page.locator(".crumb")).to_be_visible()
    keys.press("Escape")
    expect(page.locator(".crumb")).to_have_count(0)
    press(page, "s")
    expect(page.locator("[aria-sort]")).to_have_count(1)
    keys.press("Space")
    expect(page.get_by_role("button", name="Paused")).to_be_visible()
    keys.press("Space")
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    tab_to(page, "grid")
    keys.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("grid")).to_be_focused()


def tab_to(page: Page, role: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.role") == role:
            return
    raise AssertionError(f"Tab never reaches the {role}")


def test_what_has_the_focus_is_seen(server: Server, visit: Visit) -> None:
    page = visit(server, STILL)
    seen = "(it) => getComputedStyle(it, it.role === 'grid' ? '' : null).outlineStyle"
    for _ in range(30):
        page.keyboard.press("Tab")
        now = page.locator(":focus")
        if now.count() == 0:
            break
        if now.get_attribute("role") == "grid":
            ring = "(it) => getComputedStyle(it.parentElement, '::after').borderTopWidth"
            assert now.evaluate(ring) == "2px"
        else:
            assert now.evaluate(seen) != "none", now.evaluate("(it) => it.outerHTML")


#: What is pressed with a finger and is smaller than 40 px; a title's button fills its cell.
SMALL = """() => [...document.querySelectorAll('button, select, input, label.choice')]
    .filter((it) => it.checkVisibility() && it.type !== 'checkbox')
    .map((it) => it.closest('.title') ?? it)
    .filter((it) => it.getBoundingClientRect().height < 40)
    .map((it) => it.outerHTML.slice(0, 120))"""
WIDE = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"


@THEMES
def test_a_telephone_shows_table_and_details(server: Server, visit: Visit, theme: str) -> None:
    page = visit(server, STILL, width=390, color_scheme=theme, has_touch=True, is_mobile=True)
    assert column(page, "NET RX")
    about = pane(page)
    expect(about).to_be_hidden()
    page.locator(".rows .line", has_text="backup").tap()
    expect(about).to_be_visible()
    box = about.bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (390, 844)
    assert page.evaluate(SMALL) == []
    page.get_by_role("button", name="Close the details").tap()
    expect(about).to_be_hidden()


def test_a_telephone_has_no_sideways_scroll_and_nothing_too_small_for_a_finger(
    server: Server, visit: Visit
) -> None:
    page = visit(server, STILL, width=390, has_touch=True, is_mobile=True)
    for view in "123456789":
        press(page, view)
        assert page.evaluate(WIDE) == 390
        assert page.get_by_role("columnheader").count() > 1
        assert page.evaluate(SMALL) == []
    for key in "?CH":
        page.keyboard.press(key)
        expect(page.get_by_role("dialog")).to_be_visible()
        assert page.evaluate(WIDE) == 390
        assert page.evaluate(SMALL) == []
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
