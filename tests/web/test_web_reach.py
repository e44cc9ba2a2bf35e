"""The server as others reach it: over TLS, and below a path of a proxy."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import demo_world
import httpx2
import pytest
from fake_publisher import PATIENCE_S, Publisher
from websockets.sync.client import connect

from pbmond import wire
from tests.web.servers import ROOT, Server, serving, started

ALL = wire.Topic(None, "processes")
Proxy = Callable[[int], contextlib.AbstractContextManager[int]]


@pytest.fixture
def daemon(publisher: Publisher) -> Iterator[None]:
    """Send a snapshot as soon as somebody wants it, and again and again."""
    ended = threading.Event()
    (message,) = demo_world.messages(1, flows=False)

    def run() -> None:
        for seq in itertools.count(message.seq):  # the same one again is silence
            if ended.wait(0.2):
                return
            publisher.send(ALL, dataclasses.replace(message, seq=seq))
            with contextlib.suppress(AssertionError):
                publisher.hear(lambda _wanted: True)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    ended.set()
    thread.join()


def first_view(address: str, **options: Any) -> str:
    """Ask a page's WebSocket for something; return the type of the answer."""
    with connect(f"{address}/api/v1/page", open_timeout=PATIENCE_S, **options) as page:
        page.send('{"wish": 1}')
        kind = "away"
        while kind == "away":  # a busy machine's daemon seems to be
            kind = json.loads(page.recv(PATIENCE_S))["type"]
        return kind


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of this machine's loopback, which signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    pair = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
         "-out", str(pair[0]), "-keyout", str(pair[1])],
        check=True, capture_output=True,
    )  # fmt: skip
    return pair


@pytest.fixture
def secure(path: Path, certificate: tuple[Path, Path]) -> Iterator[Server]:
    pair = ("--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1]))
    with serving(path, *pair) as made:
        yield made


@pytest.mark.usefixtures("daemon")
def test_page_api_and_socket_are_served_over_tls_only(
    secure: Server, certificate: tuple[Path, Path]
) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    address = f"https://{secure.host}"
    with httpx2.Client(base_url=address, verify=trusting, timeout=PATIENCE_S) as browser:
        entered = browser.get("/", params={"token": secure.token})
        assert entered.status_code == 303
        assert "Secure" in entered.headers["Set-Cookie"]
        assert browser.get("/api/v1/overview").status_code == 200  # with the cookie
    wss = f"wss://{secure.host}"
    assert first_view(wss, ssl=trusting, additional_headers=secure.bearer) == "view"
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"http://{secure.host}/api/v1/overview", headers=secure.bearer)
    with pytest.raises(httpx2.ConnectError, match=r"(?i)certificate"):
        httpx2.get(f"{address}/api/v1/overview", headers=secure.bearer)  # of nobody's authority


# --- proxies --------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def nginx(to: int, folder: Path) -> Iterator[int]:
    """Run nginx with what packaging/doc/web.md says, and return its port."""
    doc = (ROOT / "packaging/doc/web.md").read_text()
    location, mapping = re.findall(r"^```nginx\n(.*?)^```$", doc, re.MULTILINE | re.DOTALL)
    assert "127.0.0.1:8484" in location
    port = free_port()
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/errors;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{mapping}\n"
        f"server {{ listen 127.0.0.1:{port};\n"
        f"{location.replace('127.0.0.1:8484', f'127.0.0.1:{to}')} }}\n}}\n"
    )
    command = ["nginx", "-e", f"{folder}/errors", "-p", str(folder), "-c", f"{folder}/nginx.conf"]
    with subprocess.Popen(command) as process:
        try:
            _await(port)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)


def _await(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextlib.contextmanager
def stripping(to: int, _folder: Path) -> Iterator[int]:
    """Run a proxy that removes the path it offers the server below; return its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_accept, args=(listener, to))
        thread.start()
        port: int = listener.getsockname()[1]
        yield port
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _accept(listener: socket.socket, to: int) -> None:
    with contextlib.suppress(OSError):  # it is shut down
        while True:
            peer, _address = listener.accept()
            threading.Thread(target=_forward, args=(peer, to), daemon=True).start()


def _forward(peer: socket.socket, to: int) -> None:
    """Forward one request, or an upgraded connection."""
    with peer, socket.create_connection(("127.0.0.1", to)) as server:
        head = b""
        while b"\r\n\r\n" not in head and (got := peer.recv(65536)):
            head += got
        head = head.replace(b" /pbmon/", b" /", 1)
        if b"upgrade: websocket" not in head.lower():
            head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head)
            head = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        server.sendall(head)
        back = threading.Thread(target=_copy, args=(peer, server), daemon=True)
        back.start()
        _copy(server, peer)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)


@pytest.fixture(params=["nginx", "stripping"])
def proxied(
    request: pytest.FixtureRequest, path: Path, tmp_path: Path
) -> Iterator[tuple[Server, str]]:
    """A server below /pbmon of a proxy, and the address in the browser."""
    if request.param == "nginx" and shutil.which("nginx") is None:
        pytest.skip("nginx is not installed; the other proxy removes the path")
    run = nginx if request.param == "nginx" else stripping
    to = free_port()
    token = tmp_path / "token"
    with run(to, tmp_path) as port:
        origin = f"http://127.0.0.1:{port}"
        options = ("--behind-proxy", "--origin", origin, "--root-path", "/pbmon")
        with started(path, "--listen", str(to), "--token-file", str(token), *options) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{origin}/pbmon/ (token in {token})\n"
            yield Server(process, to, token.read_text().strip()), f"{origin}/pbmon"


@pytest.mark.usefixtures("daemon")
def test_everything_works_below_a_path_of_a_proxy(proxied: tuple[Server, str]) -> None:
    server, address = proxied
    with httpx2.Client(follow_redirects=True, timeout=PATIENCE_S) as browser:
        page = browser.get(f"{address}/", params={"token": server.token})
        assert page.status_code == 200
        assert str(page.url) == f"{address}/"
        for name in re.findall(r'(?:src|href)="\./([^"]+)"', page.text):
            assert browser.get(f"{address}/{name}").status_code == 200, name
        (cookie,) = browser.cookies.jar
        assert cookie.path == "/pbmon/"
        assert browser.get(f"{address}/api/v1/overview").status_code == 200
        with browser.stream("GET", f"{address}/api/v1/stream") as stream:
            assert next(stream.iter_lines()).startswith("id: ")
    assert httpx2.get(f"{address}/api/v1/overview", timeout=PATIENCE_S).status_code == 401
    ws = address.replace("http", "ws")
    origin = address.removesuffix("/pbmon")
    assert first_view(ws, additional_headers=server.bearer, origin=origin) == "view"
