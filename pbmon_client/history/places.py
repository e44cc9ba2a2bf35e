"""Where a host has its history, and who serves it. Needs no numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Final

DEFAULT_DIRECTORY: Final = Path("/var/lib/pbmon/history")
DEFAULT_SOCKET: Final = Path("/run/pbmon-history/history.sock")
