"""A running ``pbmon-client web``, for tests of the server end to end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from websockets.sync.client import ClientConnection, connect

from pbmond.patience import patient

ROOT: Final = Path(__file__).parents[2]
PATIENCE_S: Final = patient(60.0)
#: pbmon-client, but peers that are silent or slow are let go after a moment, so that tests end.
_IMPATIENT: Final = """
import sys
from pbmon_client import cli
from pbmon_client.web import transport
transport.HEAD_S = 4.0
transport.STALLED_S = 2.0
sys.exit(cli.main())
"""


@dataclass
class Server:
    """A running server on a port."""

    process: subprocess.Popen[str]
    port: int
    token: str

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def end(self) -> str:
        """End it; return what it wrote to stderr."""
        self.process.terminate()
        return self.process.communicate(timeout=PATIENCE_S)[1]


@contextlib.contextmanager
def started(socket: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``pbmon-client web`` for a while."""
    command = [sys.executable, "-c", _IMPATIENT, "web", "--socket", str(socket), *arguments]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"NO_PROXY": "127.0.0.1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def serving(socket: Path, *arguments: str) -> Iterator[Server]:
    """Run a server on a free port for a while."""
    with started(socket, "--listen", "0", *arguments) as process:
        yield listening(process)


def listening(process: subprocess.Popen[str]) -> Server:
    """Wait for a server until it has printed its address, with its token or the token's file."""
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.fullmatch(r"https?://[^/]+:(\d+)/(?:\?token=(\S+)| \(token in (.+)\))\n", line)
    assert found, line + (process.stderr.read() if process.stderr else "")
    token = found[2] or Path(found[3]).read_text().strip()
    return Server(process, int(found[1]), token)


def opened(server: Server) -> ClientConnection:
    """Open the page's WebSocket."""
    return connect(
        f"ws://{server.host}/api/v1/page",
        additional_headers=server.bearer,
        open_timeout=PATIENCE_S,
    )


def until(page: ClientConnection, kind: str) -> dict[str, Any]:
    """Receive messages until one is of a kind; return that."""
    message: dict[str, Any] = json.loads(page.recv(PATIENCE_S))
    while message["type"] != kind:
        message = json.loads(page.recv(PATIENCE_S))
    return message
