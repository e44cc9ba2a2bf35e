"""``pbmon-client web`` as the browser's tests run it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pbmond.patience import patient

ROOT: Final = Path(__file__).parents[2]
BUILT: Final = ROOT / "pbmon_client" / "web" / "page" / "dist" / "index.html"
PATIENCE_MS: Final = patient(60.0) * 1000
#: For a browser without a screen that talks to nobody but the tests.
ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_BROWSERS: Final = ("chromium", "google-chrome", "chromium-browser")


def browser_path() -> str | None:
    """Where the distribution has a browser; None leaves it to Playwright."""
    return next(filter(None, map(shutil.which, _BROWSERS)), None)


class Server:
    """``pbmon-client web`` at one address, which can be ended and started again."""

    def __init__(
        self, socket_path: Path, folder: Path, start: Sequence[str] = ("-m", "pbmon_client")
    ) -> None:
        """``folder`` gets its token, and may have a ``history``; ``start`` is what Python runs."""
        self._command = [
            *(sys.executable, *start, "web", "--socket", str(socket_path)),
            *("--token-file", str(folder / "token"), "--history", str(folder / "history")),
        ]
        self.port = 0  # any that is free, and the same when it starts again
        self.start()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.token = (folder / "token").read_text().strip()

    @property
    def entrance(self) -> str:
        return f"{self.origin}/?token={self.token}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [*self._command, "--listen", f"127.0.0.1:{self.port}"],
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found, line
        assert self.port in (0, int(found[1]))
        self.port = int(found[1])

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=patient(60.0))
