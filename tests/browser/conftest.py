"""A server of the page over a made-up daemon, and a real browser that looks at it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from pbmond.patience import patient

ROOT: Final = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "unit"))  # the made-up world is that of the unit tests

from live_world import World  # noqa: E402 - needs that path

BUILT: Final = ROOT / "pbmon_client" / "web" / "page" / "dist" / "index.html"
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS: Final = patient(15.0) * 1000


class Server:
    """``pbmon-client web`` at one address, which can be ended and started again."""

    def __init__(self, socket_path: Path, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._command = [
            *(sys.executable, "-m", "pbmon_client", "web", "--socket", str(socket_path)),
            *("--listen", f"127.0.0.1:{self.port}", "--token-file", str(folder / "token")),
        ]
        self.origin = f"http://127.0.0.1:{self.port}"
        self.start()
        self.token = (folder / "token").read_text().strip()

    @property
    def entrance(self) -> str:
        return f"{self.origin}/?token={self.token}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert re.search(rf"127\.0\.0\.1:{self.port}\b", line), line

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=patient(10.0))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not BUILT.is_file():
        pytest.fail("the page is not built: packaging/quickstart --setup-only builds it")
    with sync_playwright() as playwright:
        where = next(filter(None, map(shutil.which, _BROWSERS)), None)
        browser = playwright.chromium.launch(executable_path=where, args=[*_ARGUMENTS])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    world = World(folder / "socket")
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
            viewport={"width": width, "height": height}, **options  # type: ignore[arg-type]
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
        return page

    yield open_page
    for context in contexts:
        context.close()
