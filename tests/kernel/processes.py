"""Short programs that tests run, and their rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pbmond import wire

Row = dict[str, Any]


def run_python(code: str, *arguments: object) -> Any:
    """Run ``code`` in a bare interpreter until it ends; return what it printed, as JSON."""
    command = [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def row_of(message: wire.Message, pid: int) -> Row:
    """Return the one process row of ``pid``."""
    (row,) = (row for row in message.processes.rows() if row["pid"] == pid)
    return row


def file_row(message: wire.Message, pid: int, path: Path) -> Row:
    """Return the one row that process ``pid`` has for the file at ``path``."""
    assert message.files is not None
    ours = pid, bytes(path)
    (row,) = (row for row in message.files.rows() if (row["pid"], row["path"]) == ours)
    return row


def connection_row(message: wire.Message, pid: int, local_port: int, remote_port: int) -> Row:
    """Return the one row of process ``pid`` between two ports."""
    assert message.connections is not None
    ends = pid, local_port, remote_port
    (row,) = (
        row
        for row in message.connections.rows()
        if (row["pid"], row["local_port"], row["remote_port"]) == ends
    )
    return row
