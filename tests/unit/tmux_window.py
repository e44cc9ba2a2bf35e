"""A terminal that tests type at and look at: a window of a tmux server of its own."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from fake_publisher import PATIENCE_S

ROOT = Path(__file__).parents[2]


class Tmux:
    """One window of a tmux server of its own, with a shell in it."""

    def __init__(self, folder: Path, size: tuple[int, int], **environment: str) -> None:
        self._socket = folder / "tmux"
        self.settings = folder / "config" / "pbmon" / "client.toml"
        left_out = ("TMUX", "NO_COLOR", "COLORTERM", "LINES", "COLUMNS")
        inherited = {name: text for name, text in os.environ.items() if name not in left_out}
        self._environment = inherited | {
            "XDG_CONFIG_HOME": str(folder / "config"), "LC_ALL": "C.UTF-8", "PS1": "$ ",
        } | environment  # fmt: skip
        self.run("-f", "/dev/null", "new-session", "-d", "-x", str(size[0]), "-y", str(size[1]),
                 "sh")  # fmt: skip

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), *arguments],
            env=self._environment, cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    def type(self, *keys: str) -> None:
        self.run("send-keys", *keys)

    def mouse(self, button: int, column: int, line: int) -> None:
        """Send a press and a release in the way that the program asked for, from (1, 1) on."""
        if self.run("display-message", "-p", "#{mouse_sgr_flag}").strip() == "1":
            self.type("-l", "".join(f"\x1b[<{button};{column};{line}{end}" for end in "Mm"))
        else:
            self.type("-l", "".join(
                f"\x1b[M{chr(32 + what)}{chr(32 + column)}{chr(32 + line)}" for what in (button, 3)
            ))  # fmt: skip

    def command(self, *arguments: str) -> None:
        """Run a command in the shell, which then says how it ended."""
        self.type("-l", f"{shlex.join(arguments)}; echo ended with $?\n")

    def screen(self, *options: str) -> str:
        return self.run("capture-pane", "-p", *options)

    def until(self, *texts: str, without: str = "\0") -> str:
        """Return the screen once it shows all texts."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            shown = self.screen()
            if all(text in shown for text in texts) and without not in shown:
                return shown
            time.sleep(0.05)
        raise AssertionError(f"{texts} without {without!r} did not show:\n{shown}")

    def restored(self) -> None:
        """Claim that nothing of the interface is left in the terminal."""
        flags = "#{alternate_on} #{mouse_any_flag} #{cursor_flag}"
        assert self.run("display-message", "-p", flags).split() == ["0", "0", "1"]
        self.type("-l", "echo typed $((6 * 7))\n")
        self.until("echo typed", "typed 42")


def client(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pbmon_client", *arguments]


def process_in(tmux: Tmux) -> int:
    """Return the pid of the interface, the youngest child of the window's shell."""
    shell = int(tmux.run("display-message", "-p", "#{pane_pid}"))
    children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
    return int(children[-1])
