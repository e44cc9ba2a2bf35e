"""Short programs that tests run, and their rows."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from pbmond import wire


def run_python(code: str, *arguments: object) -> Any:
    """Run ``code`` in a bare interpreter until it ends; return what it printed, as JSON."""
    command = [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def row_of(message: wire.Message, pid: int) -> dict[str, Any]:
    """Return the one process row of ``pid``."""
    (row,) = (row for row in message.processes.rows() if row["pid"] == pid)
    return row
