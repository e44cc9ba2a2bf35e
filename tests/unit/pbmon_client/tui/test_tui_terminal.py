"""The interface in a real terminal: tmux shows what a user would see, and is typed at."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import demo_world
import pytest
from fake_publisher import PATIENCE_S
from tmux_window import Tmux, client, process_in

from pbmon_client.tui.session.settings import Settings, load

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


Start = Callable[..., Tmux]


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Start]:
    started: list[Tmux] = []

    def start(size: tuple[int, int] = (80, 24), **environment: str) -> Tmux:
        started.append(Tmux(tmp_path, size, **environment))
        return started[-1]

    yield start
    for each in started:
        each.run("kill-server")


def demo(*arguments: str) -> list[str]:
    return client("--demo", str(demo_world.FILE), *arguments)


def test_keys_typed_in_a_terminal_change_its_screen(tmux: Start) -> None:
    window = tmux()
    window.command(*demo())
    window.until("web-1", "backup", "PID USER")
    window.type("5")
    window.until("LOCAL", "198.51.100.7:873")
    window.type("/")
    window.type("-l", "git")
    window.until("filter: git", "matches: 1 of 16")
    window.type("Escape")
    window.until("16", without="filter:")
    window.type("F1")
    window.until("row up")
    window.type("q", "q")
    window.until("ended with 0")
    window.restored()


def test_clicks_the_wheel_and_the_clipboard_work_in_a_terminal(tmux: Start) -> None:
    window = tmux((120, 40))
    window.run("set-option", "-g", "set-clipboard", "on")
    window.command(*demo())
    shown = window.until("── backup 28700", "kthreadd").splitlines()
    line = next(at for at, row in enumerate(shown, 1) if " redis-server " in row)
    window.mouse(0, 20, line)
    window.until("── redis-server 2512")
    title = next(at for at, row in enumerate(shown, 1) if "PID USER" in row)
    column = shown[title - 1].index("NAME") + 1
    window.mouse(0, column, title)
    window.until("▲ name")
    window.type("Home")
    window.mouse(65, 20, line)
    window.until("── git 31502")
    window.type("y")
    window.until("copied the row")
    assert json.loads(window.run("show-buffer"))["name"] == "git"
    window.type("q")
    window.until("ended with 0")


def test_resizing_redraws_live(tmux: Start) -> None:
    window = tmux((100, 30))
    window.command(*demo("--view", "programs"))
    window.until("redis-server")
    for size in ((60, 15), (200, 50), (80, 24)):
        window.run("resize-window", "-x", str(size[0]), "-y", str(size[1]))
        shown = window.until("web-1", "PROGRAM", "1 s")
        deadline = time.monotonic() + PATIENCE_S
        while "help" not in shown.splitlines()[-1]:
            assert time.monotonic() < deadline, shown
            shown = window.screen()
        assert len(shown.splitlines()) == size[1]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGHUP, 0)]
)
def test_a_signal_restores_the_terminal(tmux: Start, number: int, status: int) -> None:
    window = tmux()
    window.command(*demo())
    window.until("backup")
    os.kill(process_in(window), number)
    window.until(f"ended with {status}")
    window.restored()


def test_a_crash_restores_the_terminal_and_prints_the_traceback(tmux: Start) -> None:
    window = tmux((100, 40))
    broken = (
        "from pbmon_client.tui.draw import screen\n"
        "from pbmon_client import cli\n"
        "drawn = screen.draw\n"
        "def draw(state, *rest):\n"
        "    if state.newest: raise RuntimeError('a mistake in drawing')\n"
        "    return drawn(state, *rest)\n"
        "screen.draw = draw\n"
        f"cli.main(['--demo', {str(demo_world.FILE)!r}])\n"
    )
    script = window.settings.parents[2] / "broken.py"
    script.write_text(broken)
    window.command(sys.executable, str(script))
    window.until("a mistake in drawing", "ended with 1")
    window.restored()


def test_a_suspended_session_gives_the_terminal_back_and_redraws_when_resumed(
    tmux: Start,
) -> None:
    window = tmux()
    window.type("-l", "set -m\n")
    window.command(*demo())
    window.until("backup")
    window.type("C-z")
    window.until("topped", without="PID USER")
    window.restored()
    window.type("-l", "fg; echo resumed and ended with $?\n")
    window.until("web-1", "PID USER", "help")
    window.type("q")
    window.until("resumed and ended with 0")
    window.restored()


def test_without_a_daemon_the_screen_says_how_to_start_it(tmux: Start, tmp_path: Path) -> None:
    window = tmux((100, 30))
    window.command(*client("--socket", str(tmp_path / "nobody.sock")))
    window.until("pbmond is not running", "systemctl start pbmond")
    window.type("q")
    window.until("ended with 0")


def test_choices_are_remembered_and_a_broken_file_is_reported(tmux: Start) -> None:
    window = tmux((100, 30))
    window.command(*demo())
    window.until("backup")
    window.type("2", "a", "s")
    window.until("bytes total", "program")
    window.type("q")
    window.until("ended with 0")
    assert load(window.settings) == Settings(
        view="programs", totals=True, sort={"programs": ("program", False)}
    )
    window.settings.write_text("totals = perhaps\n")
    window.command(*demo())
    window.until("settings ignored", "web-1")
    window.type("a", "q")
    window.until("ended with 0", without="web-1")
    assert window.settings.read_text() == "totals = perhaps\n"


def hostile_stream(folder: Path) -> Path:
    """Write a demo with names in Hebrew, in wide and in combining characters."""
    file = folder / "hostile.ndjson"
    line = demo_world.lines().splitlines()[5].decode()
    for name, hostile in (
        ("redis-server", "\\u05e9\\u05dc\\u05d5\\u05dd12"), ("postgres", "\\u65e5\\u672c\\u8a9e"),
        ("cron", "e\\u0301a\\u0308"), ("grep", "\\u2764\\ufe0f\\ud83c\\uddea"),
    ):  # fmt: skip
        line = line.replace(f'"name":"{name}"', f'"name":"{hostile}"')
    file.write_text(line + "\n")
    return file


def test_hostile_names_neither_move_the_cursor_nor_shift_columns(tmux: Start) -> None:
    window = tmux()
    window.command(*client("--demo", str(hostile_stream(window.settings.parents[2]))))
    shown = window.until("日本語", "backup").splitlines()
    top = next(at for at, row in enumerate(shown) if "PID USER" in row)
    ends = {len(row.replace("\u0301", "").replace("\u0308", "").replace("\u200e", "")
                .replace("日本語", "......")) for row in shown[top : top + 10]}  # fmt: skip
    assert len(ends) == 1
    window.type("q")
    window.until("ended with 0")


def test_names_that_ascii_cannot_show_keep_their_cells(tmux: Start) -> None:
    window = tmux(LC_ALL="C")
    window.command(*client("--demo", str(hostile_stream(window.settings.parents[2]))))
    shown = window.until("??????", "backup").splitlines()
    top = next(at for at, row in enumerate(shown) if "PID USER" in row)
    assert {len(row) for row in shown[top : top + 10]} == {80}
    window.type("q")
    window.until("ended with 0")


def test_no_color_and_an_ascii_locale_are_respected(tmux: Start) -> None:
    window = tmux(NO_COLOR="1", LC_ALL="C")
    window.command(*demo())
    window.until("backup", "help")
    shown = window.screen("-e")
    assert shown.isascii()
    codes = {
        code for part in shown.split("\x1b[")[1:] for code in part.partition("m")[0].split(";")
    }
    assert codes <= {"", "0", "1", "4", "7", "39", "49"}
    window.type("q")
    window.until("ended with 0")


@pytest.mark.parametrize(("term", "sign"), [("xterm-256color", "38;5;"), ("xterm", "\x1b[9")])
def test_colours_are_what_the_terminal_has(tmux: Start, term: str, sign: str) -> None:
    window = tmux()
    window.command("env", f"TERM={term}", *demo())
    window.until("backup")
    assert sign in window.screen("-e")
    window.type("q")
    window.until("ended with 0")
