"""Golden screens: what is drawn, to the cell and to the colour.

``PYTHONPATH=.:tests/unit python`` with this file draws them anew; ``cat`` shows one in a terminal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo_world import messages
from tui_driver import Driver, started

from pbmon_client.tui.session.settings import Settings

FOLDER = Path(__file__).parents[4] / "data" / "screens"
SIZES = ((80, 24), (200, 50))
#: The keys that lead to each screen.
SCREENS = {
    "processes": (),
    "programs": ("2",),
    "units": ("4", "down"),
    "connections": ("5", "down", "down"),
    "hosts": ("6",),
    "files": ("8",),
    "tree": ("9", "down", "down"),
    "opened": ("down", "enter"),
    "help": ("?",),
    "health": ("H",),
    "filter": ("/", "n", "g", "i"),
}
STYLES = {"mono": (Settings(theme="mono"), 1), "dark": (Settings(theme="dark"), 256)}


def cases() -> Iterator[tuple[str, tuple[int, int], str]]:
    for name in SCREENS:
        for size in SIZES:
            for style in STYLES:
                yield name, size, style


def drawn(name: str, size: tuple[int, int], style: str) -> str:
    chosen, colours = STYLES[style]
    settings = Settings(theme=chosen.theme)
    driver: Driver = started(
        messages(12), width=size[0], height=size[1], settings=settings, colours=colours
    )
    driver.draw()
    driver.type(*SCREENS[name])
    return driver.ansi()


def path(name: str, size: tuple[int, int], style: str) -> Path:
    return FOLDER / f"{name}-{size[0]}x{size[1]}-{style}.ansi"


@pytest.mark.parametrize(("name", "size", "style"), list(cases()))
def test_the_screen_is_as_it_was(name: str, size: tuple[int, int], style: str) -> None:
    assert drawn(name, size, style) == path(name, size, style).read_text()


def test_monochrome_screens_have_no_colours() -> None:
    for name, size, style in cases():
        if style == "mono":
            text = path(name, size, style).read_text()
            codes = {code for part in text.split("\x1b[")[1:] for code in
                     part.partition("m")[0].split(";")}  # fmt: skip
            assert codes <= {"0", "1", "4", "7", "39", "49"}, name


def test_every_golden_file_is_of_a_screen() -> None:
    assert set(FOLDER.iterdir()) == {path(*case) for case in cases()}


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    time.tzset()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for case in cases():
        path(*case).write_text(drawn(*case))
