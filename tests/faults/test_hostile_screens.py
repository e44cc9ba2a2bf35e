"""A hostile server while people look: the terminal answers its keys, the web its requests.

What it sends: nothing but nonsense 50 times a second, valid snapshots as fast as they are taken, a
message whose frames never end, and a frame whose last byte never comes.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx2
import pytest
from test_hostile_server import body, flood, no_end, parts
from test_kills import until

from pbmond import bounds
from pbmond.patience import patient
from tests.web.servers import Server, opened, serving
from tests.web.servers import until as until_message

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
import hostile_server as server
from tmux_window import Tmux, client, process_in

_PATIENCE_S: Final = patient(60.0)
_KEYS: Final = int(os.environ.get("PBMON_KEYS", "20"))
#: Most of a client's memory beside one frame, in MiB: 45 for the client, and what it makes of it.
_CLIENT_MIB: Final = 250


def fifty(connection: socket.socket) -> None:
    """Fifty messages a second which are none."""
    honest = body()
    for turn in range(10**9):
        connection.sendall(server.frame(honest[: turn % len(honest)]))
        time.sleep(0.02)


#: And the words on the screen.
ATTACKS: Final = {
    fifty: "another version of the protocol",
    flood: "more than 250 messages a second",
    parts: "several parts",
    no_end: "pbmond is silent",
}
attacked = pytest.mark.parametrize("speech", ATTACKS, ids=lambda speech: speech.__name__)


def peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def assert_small(pid: int) -> None:
    assert peak_mib(pid) < _CLIENT_MIB + (bounds.FRAME_BYTES >> 20)


@contextmanager
def terminal(folder: Path, path: Path) -> Iterator[Tmux]:
    window = Tmux(folder, (150, 30))
    try:
        window.command(*client("--socket", str(path)))
        yield window
    finally:
        window.run("kill-server")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
@attacked
def test_the_terminal_says_it_answers_every_key_and_stays_small(
    tmp_path: Path, speech: server.Speech
) -> None:
    path = tmp_path / "socket"
    with server.HostileServer(path, speech), terminal(tmp_path, path) as window:
        window.until(ATTACKS[speech][:24])  # type: ignore[index]  # the key is one of them
        for _ in range(_KEYS):
            window.type("F1")
            window.until("row up")
            window.type("Escape")
            window.until("", without="row up")
        assert_small(process_in(window))
        window.type("q")
        window.until("ended with 0")
        window.restored()


@attacked
def test_the_web_answers_every_request_says_so_and_stays_small(
    tmp_path: Path, speech: server.Speech
) -> None:
    path = tmp_path / "socket"
    with server.HostileServer(path, speech), serving(path) as web:
        until(lambda: ATTACKS[speech] in api(web).text)  # type: ignore[index]  # likewise
        for _ in range(_KEYS):
            assert api(web).status_code in (200, 503)
        with opened(web) as page:
            page.send(json.dumps({"wish": 1, "view": "processes"}))
            assert until_message(page, "away")["message"]
        assert_small(web.process.pid)


def api(web: Server) -> httpx2.Response:
    address = f"http://{web.host}/api/v1/processes"
    return httpx2.get(address, headers=web.bearer, timeout=_PATIENCE_S)
