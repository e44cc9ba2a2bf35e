"""The page in a browser, measured from within: paints, long tasks, and memory."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from playwright.sync_api import Browser, Page, sync_playwright
from web_viewers import PATIENCE_S, Server

#: Records in the page: when rows were painted first, and every task that took over 50 ms.
_RECORDER: Final = """
window.painted = (done) => requestAnimationFrame(() => {
  const after = new MessageChannel();
  after.port1.onmessage = () => done(performance.now());
  after.port2.postMessage(null);
});
window.longTasks = [];
new PerformanceObserver((list) => {
  for (const each of list.getEntries()) window.longTasks.push(each.duration);
}).observe({ type: "longtask" });
new MutationObserver((_changes, observer) => {
  if (document.querySelector(".rows .line .cell") === null) return;
  observer.disconnect();
  window.painted((at) => { window.firstRowsMs = at; });
}).observe(document, { childList: true, subtree: true });
"""
#: Clicks the title PID; resolves with the ms until the first row, now another, was painted.
_CLICK: Final = """
() => new Promise((resolve) => {
  const title = [...document.querySelectorAll("[role=columnheader] button")]
    .find((each) => each.textContent.trim().startsWith("PID"));
  const at = title.closest("[role=columnheader]").ariaColIndex;
  const pid = () => Number([...document.querySelectorAll(".rows .line")]
    .find((row) => row.ariaRowIndex === "2")
    ?.querySelector(`[aria-colindex='${at}']`)?.textContent);
  const before = pid();
  const began = performance.now();
  const look = () => {
    if (![1, 10000].includes(pid()) || pid() === before) requestAnimationFrame(look);
    else window.painted((end) => resolve(end - began));
  };
  title.click();
  look();
})
"""
_TOUR: Final = ("5", "j", "2", "j", "3", "8", "j", "9", "1", "j", "a", "a", "Escape")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the distribution's browser, or the one that Playwright brings."""
    names = ("chromium", "google-chrome", "chromium-browser")
    where = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=where, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, running: Server, place: str = "") -> Iterator[Page]:
    """Open the page and wait for its first rows."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_S * 1000)
    page = context.new_page()
    page.add_init_script(_RECORDER)
    page.goto(running.entrance + place)
    end_s = time.monotonic() + PATIENCE_S
    while page.evaluate("window.firstRowsMs === undefined"):  # its policy forbids to wait inside
        if time.monotonic() > end_s:
            raise SystemExit("the page shows no rows")
        page.wait_for_timeout(20)
    yield page
    context.close()


def first_paint_ms(browser: Browser, running: Server) -> float:
    """Return the ms from the start of the navigation to painted rows."""
    with opened(browser, running) as page:
        return float(page.evaluate("window.firstRowsMs"))


def clicks_ms(page: Page, count: int) -> list[float]:
    """Return how long it takes from a click on a title to the rows in their new order."""
    taken = []
    for _ in range(count + 1):
        taken.append(float(page.evaluate(_CLICK)))
        page.wait_for_timeout(270)  # at every phase of the publisher's second
    return taken[1:]  # the first began in another order


def tasks_ms(page: Page, seconds: float) -> tuple[list[float], float]:
    """Return the tasks over 50 ms of a while, and what the page's thread used a second, in ms.

    The tasks are by the clock, and a busy machine makes them longer; what is used is processor
    time.
    """
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def used_s() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))

    page.evaluate("window.longTasks.length = 0")
    before_s = used_s()
    page.wait_for_timeout(seconds * 1000)
    tasks: list[float] = page.evaluate("window.longTasks")
    return tasks, (used_s() - before_s) / seconds * 1000


def growth_bytes(page: Page, settle_s: float, seconds: float) -> int:
    """Return by how much the heap grows, while somebody looks at everything."""
    session = page.context.new_cdp_session(page)

    def heap() -> int:
        """What is in use while the page is paused: messages that come in are no growth."""
        for key in ("1", "Escape", "Space"):
            page.keyboard.press(key)
        used = []
        for _ in range(6):
            page.wait_for_timeout(500)
            for _ in range(2):
                session.send("HeapProfiler.collectGarbage")
            used.append(int(session.send("Runtime.getHeapUsage")["usedSize"]))
        page.keyboard.press("Space")
        return min(used)

    def tour(whole_s: float) -> None:
        end_s = time.monotonic() + whole_s
        while time.monotonic() < end_s:
            for key in _TOUR:
                page.keyboard.press(key)
                page.wait_for_timeout(250)

    tour(settle_s)
    before = heap()
    tour(seconds)
    return heap() - before
