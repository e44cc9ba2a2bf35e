"""``pbmon-client web`` as the browser's tests run it."""

from __future__ import annotations

import os
import re
import shutil
import socket
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
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._command = [
            *(sys.executable, *start, "web", "--socket", str(socket_path)),
            *("--listen", f"127.0.0.1:{self.port}", "--token-file", str(folder / "token")),
            *("--history", str(folder / "history")),
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
        self._process.communicate(timeout=patient(60.0))
