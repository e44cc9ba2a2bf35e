"""The command: its options, its token file, and what it needs."""

from __future__ import annotations

import errno
import gc
import os
import socket
import subprocess
import sys
import time
import webbrowser
from contextlib import ExitStack, suppress
from importlib import metadata
from pathlib import Path
from typing import NoReturn
from urllib.parse import parse_qs, urlsplit

import pytest
import uvicorn
from client_process import ROOT

from pbmon_client.web import serve, start
from pbmon_client.web.access import Access, Tickets, TokenError, token_of
from pbmon_client.web.options import parse


@pytest.mark.parametrize(
    "arguments",
    [["--listen", "192.0.2.1:80"], ["--listen", "0.0.0.0:80"], ["--listen", "[::]:80"],
     ["--listen", "0.0.0.0:80", "--tls-cert", "c", "--tls-key", "k"], ["--tls-cert", "c"],
     ["--listen", "host:80"], ["--listen", "70000"], ["--listen", ""], ["--behind-proxy"],
     ["--root-path", "/x"], ["--origin", "example.org"], ["--unix", "s", "--listen", "80"],
     ["--unix", "s", "--tls-cert", "c", "--tls-key", "k"], ["--socket", "tcp://x"], ["--nonsense"],
     *(["--behind-proxy", "--origin", "https://a", "--root-path", path]
       for path in ("x/../y", "/x/../y", "/..", "/./x", "/api", "/metrics/", "/assets/x")),
     ["more"]],
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
     *(["--listen", "0.0.0.0:80", "--behind-proxy", "--origin", "https://a", "--root-path", path]
       for path in ("/x/", "/x/api", "/apis", "/...", "/.x", "/"))],
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


def test_a_full_disk_leaves_no_token_file_without_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"

    def on_a_full_disk(fd: int, _mode: str) -> NoReturn:
        os.close(fd)
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "fdopen", on_a_full_disk)
    with pytest.raises(TokenError, match="no space left"):
        token_of(path)
    assert not path.exists()


def test_a_browser_is_opened_with_a_ticket_and_not_with_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody can read the command line of a browser; and a token may have a + or a #."""
    opened: list[str] = []
    made: list[Access] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(serve, "guarded", lambda _house, access, *_more: made.append(access))
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_given, **_named: None)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(gc, "set_threshold", lambda _most: None)
    path, token = tmp_path / "token", "a+token/with=all&of#them%20"
    path.write_text(token)
    path.chmod(0o600)
    serve.run(parse(["--listen", "0", "--token-file", str(path), "--open"]))
    (ticket,) = parse_qs(urlsplit(opened[0]).query)["token"]
    assert ticket != token
    assert made[0].token == token
    assert made[0].tickets.take(ticket)


def test_a_ticket_is_good_once_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    tickets = Tickets()
    ticket, late = tickets.new(), tickets.new()
    assert [tickets.take(each) for each in ("", ticket, ticket)] == [False, True, False]
    hour_later_s = time.monotonic() + 3600
    monkeypatch.setattr(time, "monotonic", lambda: hour_later_s)
    assert not tickets.take(late)


# --- a Unix socket --------------------------------------------------------------------------------


def test_a_server_that_ends_leaves_the_socket_of_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "socket"
    modes: list[int] = []

    def is_replaced(*_given: object, **_named: object) -> None:
        modes.append(path.stat().st_mode & 0o777)
        if replaced:
            path.rename(tmp_path / "before")  # an inode of its own, not that one once more
            path.write_text("another's")

    monkeypatch.setattr(uvicorn.Server, "run", is_replaced)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(gc, "set_threshold", lambda _most: None)
    for replaced in (False, True):
        serve.run(parse(["--unix", str(path)]))
        assert path.exists() == replaced
    assert modes == [0o660, 0o660]


def test_a_socket_whose_server_is_busy_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as other, ExitStack() as waiting:
        other.bind(str(path))
        other.listen(0)
        with suppress(BlockingIOError):
            while True:
                one = waiting.enter_context(socket.socket(socket.AF_UNIX))
                one.setblocking(False)
                one.connect(str(path))
        with pytest.raises(serve.ServeError, match="address already in use"):
            serve.run(parse(["--unix", str(path)]))
    assert path.exists()


# --- what it needs --------------------------------------------------------------------------------


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


def test_what_is_too_old_is_named_with_the_version_that_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in Debian 12 and 13, whose FastAPI is older."""
    versions = {"fastapi": "0.92.0", "uvicorn": "0.40"}
    wanted = ["urwid>=2", "fastapi>=0.120; extra == 'web'", 'uvicorn>=0.40; extra == "web"']
    monkeypatch.setattr(metadata, "requires", lambda _name: wanted)
    monkeypatch.setattr(metadata, "version", versions.__getitem__)
    assert start.main([]) == 1
    assert capsys.readouterr().err == (
        "pbmon-client: web needs fastapi 0.120 or newer (here is 0.92.0): "
        "pip install 'pbmon[web]'\n"
    )
