"""What a test does with the page, and reads of it; each waits for what the page shows."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.browser.page_server import PATIENCE_MS

expect.set_options(timeout=PATIENCE_MS)

_POWERS: Final = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
_SPAN: Final = re.compile(r" from ([\d:]{8}) to ([\d:]{8})\. Now")


def settle(page: Page) -> None:
    """Wait until the table shows what was asked for last."""
    expect(page.get_by_role("grid", include_hidden=True)).to_have_attribute("aria-busy", "false")


def press(page: Page, keys: str) -> None:
    """Press keys, one after the other, each when the page has followed the one before."""
    for key in keys:
        page.keyboard.press(key)
        settle(page)


def column(page: Page, name: str) -> list[str]:
    """The texts of a column's cells in sight, from the top, of one snapshot."""
    settle(page)
    title = page.get_by_role("columnheader", name=name, exact=True)
    at = title.get_attribute("aria-colindex")
    texts: list[str] = page.evaluate(
        "(at) => [...document.querySelectorAll('.rows .line')]"
        ".sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)"
        ".map((row) => row.querySelector(`[aria-colindex='${at}']`)?.textContent)",
        at,
    )
    return texts


def number(text: str) -> float:
    """The number that a cell shows."""
    found = re.fullmatch(r"([\d.]+)([KMG]?)", text)
    return float(found[1]) * _POWERS[found[2]] if found else 0.0


def pane(page: Page) -> Locator:
    """The pane of the selected row."""
    return page.get_by_role("complementary")


def choose(page: Page, name: str) -> None:
    """Click on a row; wait until the pane tells all of it."""
    settle(page)
    page.locator(".rows .line", has_text=name).first.click()
    expect(pane(page)).to_have_accessible_name(f"Selected: {name}")
    expect(pane(page).locator(".facts dd").first).to_be_attached()


def eventually(page: Page, claim: Callable[[], bool]) -> None:
    """Wait until what is drawn bears out a claim that no locator can make."""
    until = time.monotonic() + PATIENCE_MS / 1000
    while not claim():
        assert time.monotonic() < until
        page.wait_for_timeout(50)


def pass_ticks(page: Page, count: int = 2) -> None:
    """Wait until the page has shown snapshots of so many more seconds."""
    clock = page.locator(".clock")
    for _ in range(count):
        shown = clock.text_content()
        assert shown is not None
        expect(clock).not_to_have_text(shown)


def drawn(page: Page) -> int:
    """How many pixels of the host's chart are drawn on."""
    pixels: int = page.evaluate(
        "() => { const it = document.querySelector('.host-chart canvas');"
        "const all = it.getContext('2d').getImageData(0, 0, it.width, it.height).data;"
        "return all.filter((value, at) => at % 4 === 3 && value > 0).length }"
    )
    return pixels


def await_history(chart: Locator, seconds: int) -> None:
    """Wait until a chart shows so many seconds, which it can know from a history only."""
    for _ in range(seconds // 3):
        if chart_seconds(chart) >= seconds:
            return
        pass_ticks(chart.page, 1)
    raise AssertionError(chart.get_attribute("aria-label"))


def chart_seconds(chart: Locator) -> int:
    """How many seconds a chart shows."""
    expect(chart).to_have_attribute("aria-label", _SPAN)
    found = _SPAN.search(chart.get_attribute("aria-label") or "")
    assert found is not None
    first, last = (datetime.strptime(each, "%H:%M:%S") for each in found.groups())
    return (last - first).seconds


def serious_findings(page: Page) -> set[tuple[str, str, str]]:
    """What axe finds serious or worse: the rule, the element, what is wrong."""
    return {
        (each["id"], each["nodes"][0]["html"][:160], each["nodes"][0]["failureSummary"])
        for each in Axe().run(page).response["violations"]
        if each["impact"] in ("serious", "critical")
    }
