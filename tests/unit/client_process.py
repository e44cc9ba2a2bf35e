"""A running pbmon-client, for tests of the command end to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from client_messages import message, process
from fake_publisher import PATIENCE_S

import pbmon_client
from pbmond import wire

ROOT = Path(pbmon_client.__file__).parent.parent
UID = os.geteuid()
ALL = wire.Topic(None, "processes")
OWN = wire.Topic(UID, "processes")


class Client:
    """A running pbmon-client."""

    def __init__(self, path: Path, *arguments: str, **options: Any) -> None:
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-m", "pbmon_client", "--socket", str(path), *arguments],
            cwd=ROOT,
            env=os.environ | {"COLUMNS": "80", "PYTHONUNBUFFERED": "", "TERM": "xterm"},
            stdin=subprocess.DEVNULL,
            stdout=options.get("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE,
        )

    def line(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def end(self) -> tuple[int, str, str]:
        """Wait for the end and return exit status, output and errors."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, (out or b"").decode(), (err or b"").decode()


Start = Callable[..., Client]


def snapshot(seq: int, **fields: Any) -> wire.Message:
    return message([process(1, b"one", net_rx_bytes=100 * seq), process(2)], seq=seq, **fields)
