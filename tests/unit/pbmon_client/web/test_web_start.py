"""The command: its options, its token file, its sockets, and the daemon's coming and going."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import demo_world
import httpx2
import pytest
from client_process import ROOT
from fake_publisher import PATIENCE_S, Publisher
from web_client import Server
from websockets.sync.client import ClientConnection, connect

from pbmon_client.web.access import TokenError, token_of
from pbmon_client.web.options import parse
from pbmond import wire

ALL = wire.Topic(None, "processes")
Serve = Callable[..., "subprocess.Popen[str]"]


@pytest.mark.parametrize(
    "arguments",
    [["--listen", "192.0.2.1:80"], ["--listen", "0.0.0.0:80"], ["--listen", "[::]:80"],
     ["--listen", "0.0.0.0:80", "--tls-cert", "c", "--tls-key", "k"], ["--tls-cert", "c"],
     ["--listen", "host:80"], ["--listen", "70000"], ["--listen", ""], ["--behind-proxy"],
     ["--root-path", "/x"], ["--origin", "example.org"], ["--unix", "s", "--listen", "80"],
     ["--unix", "s", "--tls-cert", "c", "--tls-key", "k"], ["--socket", "tcp://x"], ["--nonsense"],
     ["--behind-proxy", "--origin", "https://a", "--root-path", "x/../y"], ["more"]],
)  # fmt: skip
def test_a_wrong_command_line_is_one_line_and_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parse(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [[], ["--listen", "8080"], ["--listen", "[::1]:8080"], ["--unix", "s"],
     ["--listen", "192.0.2.1:443", "--tls-cert", "c", "--tls-key", "k"],
     ["--listen", "0.0.0.0:80", "--behind-proxy", "--origin", "https://a", "--root-path", "/x/"]],
)  # fmt: skip
def test_what_is_safe_is_accepted(arguments: list[str]) -> None:
    chosen = parse(arguments)
    assert chosen.host == "127.0.0.1" or arguments
    assert not chosen.root_path.endswith("/")


# --- the token file -----------------------------------------------------------------------------


def test_a_token_file_is_made_for_its_owner_only_and_used_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = token_of(path)
    assert len(token) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert token_of(path) == token


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_token_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    token_of(path)
    path.chmod(mode)
    with pytest.raises(TokenError, match="others"):
        token_of(path)


@pytest.mark.parametrize("text", [b"", b"short", b"with space in the midst of it", b"x" * 600,
                                  b"\xff" * 20, b"two lines of it\nof a token"])  # fmt: skip
def test_a_file_without_a_token_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(TokenError, match="no token"):
        token_of(path)


def test_a_folder_is_no_token_file(tmp_path: Path) -> None:
    with pytest.raises(TokenError):
        token_of(tmp_path)


# --- where it listens -----------------------------------------------------------------------------


def test_a_port_that_is_taken_is_one_line_and_1(server: Server, serve: Serve) -> None:
    second = serve("--listen", str(server.port))
    _out, err = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 1
    assert err.count("\n") == 1
    assert "already in use" in err


def test_a_unix_socket_is_for_its_user_and_group(tmp_path: Path, serve: Serve) -> None:
    path, token = tmp_path / "web.sock", tmp_path / "token"
    for _restart in range(2):
        started = serve("--unix", str(path), "--token-file", str(token))
        assert started.stdout is not None
        assert str(path) in started.stdout.readline()
        assert path.stat().st_mode & 0o777 == 0o660
        headers = {"Authorization": f"Bearer {token.read_text().strip()}"}
        with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path))) as client:
            answer = client.get("http://localhost/api/v1/fields", headers=headers)
            assert answer.status_code == 200
            assert client.get("http://evil.example/", headers=headers).status_code == 400
        started.kill()  # and leaves its socket behind
        started.wait(PATIENCE_S)
    started = serve("--unix", str(token))
    _out, err = started.communicate(timeout=PATIENCE_S)
    assert started.returncode == 1
    assert "no socket" in err
    assert token.is_file()


def test_a_certificate_that_is_none_is_one_line_and_1(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "c").write_text("nothing")
    pair = ("--tls-cert", str(tmp_path / "c"), "--tls-key", str(tmp_path / "c"))
    started = serve("--listen", "0", *pair)
    _out, err = started.communicate(timeout=PATIENCE_S)
    assert started.returncode == 1
    assert err.count("\n") == 1


def test_without_the_extra_it_says_what_to_install() -> None:
    code = (
        "import sys\nsys.modules['fastapi'] = None\nfrom importlib import util\n"
        "found = util.find_spec\n"
        "from pbmon_client.web import start\n"
        "start.find_spec = lambda name: None if name == 'fastapi' else found(name)\n"
        "sys.exit(start.main([]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "pbmon-client: web needs fastapi: pip install 'pbmon[web]'\n"


# --- the daemon -----------------------------------------------------------------------------------


def opened(server: Server) -> ClientConnection:
    return connect(
        f"ws://{server.host}/api/v1/page",
        additional_headers=server.bearer,
        open_timeout=PATIENCE_S,
    )


def until(page: ClientConnection, kind: str) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(page.recv(PATIENCE_S))
    while message["type"] != kind:
        message = json.loads(page.recv(PATIENCE_S))
    return message


def test_the_page_survives_the_daemon_and_goes_on_with_the_next(path: Path, server: Server) -> None:
    messages = list(demo_world.messages(2, flows=False))
    with opened(server) as page:
        page.send('{"wish": 1}')
        away = until(page, "away")
        assert "not running" in away["message"]
        for message in messages:
            daemon = Publisher(path)
            try:
                daemon.expect(ALL)
                daemon.send(ALL, message)
                view = until(page, "view")
                assert view["seq"] == message.seq
                assert view["count"] == message.processes.length
            finally:
                daemon.close()
                path.unlink(missing_ok=True)
            away = until(page, "away")
            assert away["since_ms"] > 0
    answer = httpx2.get(f"http://{server.host}/api/v1/overview", headers=server.bearer)
    assert answer.status_code == 503


def test_a_refused_user_sees_their_own(publisher: Publisher, server: Server) -> None:
    own = wire.Topic(os.geteuid(), "processes")
    with opened(server) as page:
        page.send('{"wish": 1}')
        publisher.refuse(ALL)
        publisher.expect(own)
        publisher.send(own, next(iter(demo_world.messages(1, flows=False))))
        assert until(page, "view")["scope"] == "own"
