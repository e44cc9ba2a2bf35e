"""Screenshots of the page over the made-up host, for the README.

``python -m tests.browser.screenshots`` writes packaging/doc/web-dark.png and web-light.png.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

from tests.browser import past_world
from tests.browser.live_world import USERS, World
from tests.browser.page_reader import choose, drawn, pass_ticks
from tests.browser.page_server import ARGUMENTS, ROOT, Server, browser_path

_FOLDER: Final = ROOT / "packaging" / "doc"
_THEMES: Final = ("dark", "light")
#: Of how many snapshots the made-up daemon knows the history.
_HISTORY: Final = 120
#: Runs pbmon-client on a machine with the users of the made-up host.
_START: Final = f"""\
import pwd, sys
from types import SimpleNamespace
names = {USERS!r}
pwd.getpwuid = lambda uid: SimpleNamespace(pw_name=names[uid])
from pbmon_client.cli import main
sys.exit(main())
"""


def main() -> None:
    """Write the files."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        socket = Path(folder) / "socket"
        past_world.write(Path(folder) / "history", int(time.time()), past_world.WEEK)
        world = World(socket, age=_HISTORY, more=())
        server = Server(socket, Path(folder), start=("-c", _START))
        browser = playwright.chromium.launch(executable_path=browser_path(), args=[*ARGUMENTS])
        try:
            for theme in _THEMES:
                page = browser.new_page(
                    viewport={"width": 1240, "height": 775},
                    color_scheme=theme,
                )
                page.goto(server.entrance)
                choose(page, "backup")
                page.mouse.move(0, 0)
                page.get_by_role("slider").wait_for()
                pass_ticks(page)
                assert drawn(page) > 0
                charts = page.get_by_role("img").all()
                labels = [each.get_attribute("aria-label") or "" for each in charts]
                assert not any("No data" in each for each in labels), "this machine is too busy"
                page.screenshot(path=_FOLDER / f"web-{theme}.png")
        finally:
            browser.close()
            server.stop()
            world.close()


if __name__ == "__main__":
    main()
