"""A server of the page over a made-up daemon, and a real browser that looks at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.live_world import World
from tests.browser.page_reader import settle
from tests.browser.page_server import ARGUMENTS, BUILT, PATIENCE_MS, Server, browser_path


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not BUILT.is_file():
        pytest.fail("the page is not built: packaging/quickstart --setup-only builds it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=[*ARGUMENTS])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    world = World(folder / "socket", age=60)
    server = Server(folder / "socket", folder)
    yield server
    server.stop()
    world.close()


Visit = Callable[..., Page]


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Visit]:
    """Open the page in a browser of its own, and hold it to its word: what it asked for and what
    the browser refused are in ``page.requests`` and ``page.refused``."""
    contexts: list[BrowserContext] = []

    def open_page(server: Server, place: str = "", width: int = 1440, **options: object) -> Page:
        height = 844 if width < 500 else 900
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            **options,  # type: ignore[arg-type]
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.add_init_script(
            "window.refused = []; addEventListener('securitypolicyviolation',"
            "(event) => window.refused.push(`${event.violatedDirective} ${event.blockedURI}`))"
        )
        page.goto(server.entrance + place)
        page.locator(".rows .line .cell").first.wait_for()
        settle(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
