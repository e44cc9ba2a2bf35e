"""A collector that is stopped (SIGSTOP): whoever looks is told so in words, and then it goes on.

Each output says so once three intervals have passed; seconds are not asserted.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx2
import pytest
from test_kills import until

from pbmond.patience import patient
from pbmond.selftest.private_daemon import Daemon
from tests.web.servers import Server, opened, serving
from tests.web.servers import until as until_message

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from tmux_window import Tmux, client

_PATIENCE_S: Final = patient(60.0)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("run"), interval_s=0.5) as running:
        yield running


def socket_of(daemon: Daemon) -> Path:
    return daemon.directory / "pbmond.sock"


@contextmanager
def stopped(daemon: Daemon) -> Iterator[None]:
    os.kill(daemon.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(daemon.process.pid, signal.SIGCONT)


def run(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = client("--socket", str(socket_of(daemon)), *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("output", ["--once", "--json", "--csv"])
def test_a_command_that_prints_once_says_that_nothing_comes_and_later_prints(
    daemon: Daemon, output: str
) -> None:
    with stopped(daemon):
        done = run(daemon, output, "-n", "1", "--wait", "1")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "sent nothing within 1 s" in done.stderr
    done = run(daemon, output, "-n", "1", "--wait", str(_PATIENCE_S))
    assert (done.returncode, done.stderr) == (0, "")
    assert "pytest" in done.stdout or "python" in done.stdout


@pytest.mark.parametrize("output", ["--ndjson", "--csv"])
def test_a_stream_says_once_that_it_is_silent_and_goes_on(
    daemon: Daemon, tmp_path: Path, output: str
) -> None:
    path = tmp_path / "output"
    with (
        path.open("wb") as file,
        subprocess.Popen(
            client("--socket", str(socket_of(daemon)), output, "-n", "0"),
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stderr is not None
        try:
            until(lambda: path.stat().st_size)
            until_grown(path)
            with stopped(daemon):
                assert "pbmond is silent" in process.stderr.readline()
                said = path.stat().st_size
            until(lambda: path.stat().st_size > said)
            until_grown(path)
        finally:
            process.terminate()


def until_grown(path: Path) -> None:
    before = path.stat().st_size
    until(lambda: path.stat().st_size > before)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_the_terminal_says_how_old_it_is_answers_keys_and_goes_on(
    daemon: Daemon, tmp_path: Path
) -> None:
    window = Tmux(tmp_path, (100, 30))
    try:
        window.command(*client("--socket", str(socket_of(daemon))))
        window.until("PID USER", without=" OLD ")
        with stopped(daemon):
            window.until(" OLD ")
            window.type("5")
            window.type("F1")
            window.until("row up")
            window.type("Escape")
        window.until("PROTO", without=" OLD ")
        window.type("q")
        window.until("ended with 0")
    finally:
        window.run("kill-server")


@pytest.fixture(scope="module")
def web(daemon: Daemon) -> Iterator[Server]:
    with serving(socket_of(daemon)) as server:
        yield server


def get(web: Server, path: str) -> httpx2.Response:
    return httpx2.get(f"http://{web.host}{path}", headers=web.bearer, timeout=_PATIENCE_S)


def test_the_web_api_answers_503_with_the_words_and_later_200(daemon: Daemon, web: Server) -> None:
    until(lambda: get(web, "/api/v1/processes").status_code == 200)
    with stopped(daemon):
        until(lambda: get(web, "/api/v1/processes").status_code == 503)
        assert "pbmond is silent" in get(web, "/api/v1/processes").text
    until(lambda: get(web, "/api/v1/processes").status_code == 200)


def test_metrics_say_that_it_is_down_and_later_up(daemon: Daemon, web: Server) -> None:
    until(lambda: "\npbmon_daemon_up 1.0\n" in get(web, "/metrics").text)
    with stopped(daemon):
        until(lambda: "\npbmon_daemon_up 0.0\n" in get(web, "/metrics").text)
        assert "bytes_total{" not in get(web, "/metrics").text  # no counter that stands still
    until(lambda: "\npbmon_daemon_up 1.0\n" in get(web, "/metrics").text)


def test_the_page_is_told_and_later_gets_its_view(daemon: Daemon, web: Server) -> None:
    with opened(web) as page:
        page.send(json.dumps({"wish": 1, "view": "processes"}))
        until_message(page, "view")
        with stopped(daemon):
            assert "pbmond is silent" in until_message(page, "away")["message"]
        until_message(page, "view")
