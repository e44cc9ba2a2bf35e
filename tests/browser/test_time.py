"""The page as time passes: long lists, pauses, daemons and servers that go and come back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.live_world import World, crowd
from tests.browser.page_reader import (
    await_history,
    choose,
    column,
    pane,
    pass_ticks,
    serious_findings,
)
from tests.browser.page_server import Server

#: Rows that stay where they are.
STILL = "#sort=pid"
HOST_CHART = ".host-chart canvas"


@contextmanager
def serving(folder: Path, world: World) -> Iterator[Server]:
    """A server of its own over a world, which it closes."""
    server = Server(folder / "socket", folder)
    try:
        yield server
    finally:
        server.stop()
        world.close()


def test_ten_thousand_rows_scroll_without_a_jump(tmp_path: Path, visit: Visit) -> None:
    with serving(tmp_path, World(tmp_path / "socket", crowd(10_000))) as server:
        page = visit(server)
        expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "10001")
        assert page.locator(".rows .line").count() < 80
        page.evaluate("document.querySelector('.grid').scrollTop = 140000")
        middle = page.locator(".rows .line:not(:has(.quiet:only-child))")
        expect(middle.first).to_have_attribute("aria-rowindex", re.compile(r"^4\d\d\d$"))
        pass_ticks(page)
        assert page.evaluate("document.querySelector('.grid').scrollTop") == 140000
        page.keyboard.press("End")
        expect(page.locator(".rows .chosen")).to_have_attribute("aria-rowindex", "10001")
        assert "worker-0" in column(page, "NAME")


def test_a_pause_stops_the_page_and_is_a_gap_with_a_name(server: Server, visit: Visit) -> None:
    page, other = visit(server, STILL), visit(server)
    choose(page, "backup")
    # With its past: where that comes later, it has what the pause left out.
    await_history(pane(page).get_by_role("img"), 15)
    page.keyboard.press("Space")
    clock = page.locator(".clock")
    expect(clock).to_have_text(re.compile(r"^paused "))
    stopped = clock.text_content()
    pass_ticks(other, 4)
    assert clock.text_content() == stopped
    page.keyboard.press("Space")
    gap = re.compile(r"\. Paused from [\d:]{8} to [\d:]{8}\.")
    expect(page.locator(HOST_CHART)).to_have_attribute("aria-label", gap)
    expect(pane(page).get_by_role("img")).to_have_attribute("aria-label", gap)


def test_the_page_comes_back_after_the_server(tmp_path: Path, visit: Visit) -> None:
    with serving(tmp_path, World(tmp_path / "socket", age=120)) as server:
        page = visit(server, STILL)
        choose(page, "backup")
        away = page.locator(".away")
        expect(away).to_have_count(0)
        server.stop()
        expect(away).to_contain_text("No data since")
        assert column(page, "NAME")  # what was known stays
        server.start()
        expect(away).to_have_count(0)
        expect(pane(page)).to_contain_text("backup.service")
        await_history(page.locator(HOST_CHART), 55)
        await_history(pane(page).get_by_role("img"), 55)


def test_the_page_comes_back_after_the_daemon_and_keeps_what_it_saw(
    tmp_path: Path, visit: Visit
) -> None:
    world = World(tmp_path / "socket", age=120)
    with serving(tmp_path, world) as server:
        page = visit(server, STILL)
        choose(page, "backup")
        other_theme = visit(server, color_scheme="light")
        await_history(page.locator(HOST_CHART), 55)
        world.close()
        away = page.locator(".away")
        expect(away).to_contain_text("No data since")
        expect(other_theme.locator(".away")).to_contain_text("No data since")
        assert serious_findings(page) | serious_findings(other_theme) == set()
        world = World(tmp_path / "socket")  # it knows nothing of the time before
        try:
            expect(away).to_have_count(0)
            expect(pane(page)).to_contain_text("backup.service")
            gap = re.compile(r"\. No data from [\d:]{8} to [\d:]{8}\.")
            expect(page.locator(HOST_CHART)).to_have_attribute("aria-label", gap)
            await_history(page.locator(HOST_CHART), 55)
        finally:
            world.close()
