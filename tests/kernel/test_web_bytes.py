"""A real daemon behind pbmon-client web: known bytes are the same wherever they are read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import expect, sync_playwright
from processes import row_of
from waiting import snapshot_when, wait_until
from websockets.exceptions import ConnectionClosed

from pbmond.fields import BYTE_COUNTERS
from pbmond.selftest.private_daemon import Daemon
from tests.browser.page_server import ARGUMENTS, BUILT, browser_path
from tests.web.servers import PATIENCE_S, ROOT, Server, opened, serving, until

_STORED, _GIVEN, _TOLD = 5 * 1_048_576 + 17, 1237 * 11, 331
#: Waits for a line, moves known bytes of three classes, says so, and stays.
_MOVE = f"""
import os, socket, sys
print("ready", flush=True)
sys.stdin.readline()
with open(sys.argv[1], "wb", 0) as stored:
    stored.write(b"x" * {_STORED})
null = os.open("/dev/null", os.O_WRONLY)
for _ in range(11):
    os.write(null, b"x" * 1237)
one, other = socket.socketpair()
one.send(b"x" * {_TOLD})
print("done", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "daemon"
    made.mkdir()
    return made


@pytest.fixture
def mover(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that will move known bytes; it is quiet before and after ``move``."""
    command = [sys.executable, "-I", "-S", "-c", _MOVE, str(tmp_path / "stored")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def move(mover: subprocess.Popen[str]) -> None:
    assert mover.stdin is not None
    assert mover.stdout is not None
    mover.stdin.write("\n")
    mover.stdin.flush()
    assert mover.stdout.readline() == "done\n"


def counted(row: dict[str, Any]) -> dict[str, int]:
    return {name: row[name] for name in BYTE_COUNTERS}


def printed(place: Path, pid: int) -> dict[str, int]:
    """What ``--json`` prints of a process."""
    command = [sys.executable, "-m", "pbmon_client", "--socket", str(place / "pbmond.sock")]
    done = subprocess.run(
        [*command, "--json", "--wait", str(PATIENCE_S), "-p", str(pid)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (row,) = json.loads(done.stdout)["processes"]
    return counted(row)


def answered(server: Server, pid: int) -> dict[str, int]:
    """What the API says of a process."""
    answer = httpx2.get(
        f"http://{server.host}/api/v1/processes/{pid}", headers=server.bearer, timeout=PATIENCE_S
    )
    assert answer.status_code == 200, answer.text
    return counted(answer.json()["process"])


def shown(server: Server, pid: int) -> dict[str, int]:
    """What the page is told to show of a process."""
    wish = {
        "wish": 1,
        "filter": f"pid = {pid}",
        "columns": list(BYTE_COUNTERS),
        "units": {"totals": True, "exact": True},
    }
    with opened(server) as page:
        page.send(json.dumps(wish))
        view = until(page, "view")
    (row,) = view["rows"]
    cells = [0 if cell == "·" else int(cell.replace(",", "")) for cell in row["cells"]]
    return dict(zip(BYTE_COUNTERS, cells, strict=True))


def drawn(server: Server, pid: int) -> str:
    """The file bytes that a browser draws for a process."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=[*ARGUMENTS])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"http://{server.host}/?token={server.token}#totals=1&exact=1&filter=pid%3D{pid}")
        rows = page.locator(".rows .line")
        expect(rows).to_have_count(1, timeout=PATIENCE_S * 1000)
        text = rows.locator(".cell.file_write").inner_text(timeout=PATIENCE_S * 1000)
        browser.close()
    return text


def test_a_workloads_bytes_are_the_same_in_json_the_api_and_the_page(
    place: Path, mover: subprocess.Popen[str]
) -> None:
    with Daemon(place) as daemon, serving(place / "pbmond.sock") as server:
        before = printed(place, mover.pid)
        move(mover)
        # Its answer can be read while it is still leaving write(2).
        told = before["pipe_write_bytes"] + len("done\n")
        snapshot_when(daemon, lambda message: told - row_of(message, mover.pid)["pipe_write_bytes"])
        after = printed(place, mover.pid)
        moved = {name: after[name] - before[name] for name in after if after[name] != before[name]}
        # What it said on its standard output went through a pipe, as did what it was told.
        assert moved.pop("pipe_write_bytes") == len("done\n")
        assert moved.pop("pipe_read_bytes") == len("\n")
        moved.pop("disk_write_bytes", None)  # whenever the kernel writes it back
        assert moved == {
            "file_write_bytes": _STORED,
            "device_write_bytes": _GIVEN,
            "unix_tx_bytes": _TOLD,
        }
        same = [name for name in after if not name.startswith("disk_")]

        def differing(source: Callable[[Server, int], dict[str, int]]) -> list[str]:
            said = source(server, mover.pid)
            return [f"{name} = {said[name]}" for name in same if said[name] != after[name]]

        for source in (answered, shown):  # it may show the tick before for a moment
            wait_until(partial(differing, source))
        if BUILT.is_file():
            assert drawn(server, mover.pid) == f"{after['file_write_bytes']:,}"


def test_the_page_goes_on_by_itself_when_the_daemon_is_another(tmp_path: Path, place: Path) -> None:
    with Daemon(place) as daemon, serving(place / "pbmond.sock") as server, opened(server) as page:
        page.send('{"wish": 1, "view": "connections"}')
        first = until(page, "view")
        assert until(page, "history")["t_ms"]
        assert daemon.stop() == 0
        while "not running" not in until(page, "away")["message"]:
            pass  # while it ended, its socket was there and nobody behind it
        address = f"http://{server.host}/api/v1/overview"
        assert httpx2.get(address, headers=server.bearer, timeout=PATIENCE_S).status_code == 503
        for left in place.iterdir():
            left.unlink()
        with Daemon(place):
            second = until(page, "view")
            assert second["epoch"] != first["epoch"]
            assert until(page, "history")["key"] is None  # the charts begin anew
            answer = httpx2.get(address, headers=server.bearer, timeout=PATIENCE_S)
            assert answer.json()["epoch"] == second["epoch"]


def test_a_server_that_starts_again_shows_the_same_run_to_those_who_return(
    tmp_path: Path, place: Path
) -> None:
    socket, token = place / "pbmond.sock", tmp_path / "token"
    seen = []
    with Daemon(place):
        for _start in range(2):
            with serving(socket, "--token-file", str(token)) as server, opened(server) as page:
                page.send('{"wish": 1}')
                seen.append((server.token, until(page, "view")["epoch"]))
                assert len(until(page, "history")["t_ms"]) > 1  # from the daemon
                server.process.terminate()
                with pytest.raises(ConnectionClosed):
                    until(page, "nothing of this kind")
    assert seen[0] == seen[1]
