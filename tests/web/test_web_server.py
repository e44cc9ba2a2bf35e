"""The server as it runs: its sockets, and the daemon's coming and going."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import demo_world
import httpx2
from fake_publisher import PATIENCE_S, Publisher

from pbmond import wire
from tests.web.servers import Server, opened, until

ALL = wire.Topic(None, "processes")
Serve = Callable[..., "subprocess.Popen[str]"]


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
        with httpx2.Client(
            transport=httpx2.HTTPTransport(uds=str(path)), timeout=PATIENCE_S
        ) as client:
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


# --- the daemon -----------------------------------------------------------------------------------


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
    answer = httpx2.get(
        f"http://{server.host}/api/v1/overview", headers=server.bearer, timeout=PATIENCE_S
    )
    assert answer.status_code == 503


def test_a_refused_user_sees_their_own(publisher: Publisher, server: Server) -> None:
    own = wire.Topic(os.geteuid(), "processes")
    with opened(server) as page:
        page.send('{"wish": 1}')
        publisher.refuse(ALL)
        publisher.expect(own)
        publisher.send(own, next(iter(demo_world.messages(1, flows=False))))
        assert until(page, "view")["scope"] == "own"
