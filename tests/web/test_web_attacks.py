"""A real server and peers that mean no good: it stays up, small, and serves the others."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import demo_world
import httpx2
import pytest
from fake_publisher import PATIENCE_S, Publisher
from server_ends import is_connected
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from pbmon_client.web.transport import MOST_CONNECTIONS
from pbmond import wire
from tests.web.servers import Server, serving


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("daemon") / "socket"


@pytest.fixture(autouse=True, scope="module")
def daemon(path: Path) -> Iterator[None]:
    """Send a snapshot again and again, as soon as somebody wants it."""
    publisher = Publisher(path)
    ended = threading.Event()
    messages = list(demo_world.messages(8))

    def run() -> None:
        seq = 1000
        while not ended.wait(0.2):
            with contextlib.suppress(AssertionError):
                publisher.hear(lambda _wanted: True)
            for topic in (wire.Topic(None, "processes"), wire.Topic(None, "flows")):
                publisher.send(topic, _numbered(messages[seq % 8], seq))
            seq += 1

    thread = threading.Thread(target=run)
    thread.start()
    yield
    ended.set()
    thread.join()
    publisher.close()


@pytest.fixture(scope="module")
def server(path: Path) -> Iterator[Server]:
    """One server for all attacks: each must leave it well for the next."""
    with serving(path) as made:
        await_(lambda: _answers(made))
        yield made


@pytest.fixture
def mortal(path: Path) -> Iterator[Server]:
    """One that a test may end."""
    with serving(path) as made:
        await_(lambda: _answers(made))
        yield made


def _numbered(message: wire.Message, seq: int) -> wire.Message:
    return dataclasses.replace(message, seq=seq)


def opened(server: Server, path: str = "page") -> ClientConnection:
    return connect(
        f"ws://{server.host}/api/v1/{path}",
        additional_headers=server.bearer,
        open_timeout=PATIENCE_S,
        max_size=None,
    )


def is_well(server: Server) -> bool:
    """Whether the server still answers, over HTTP and over a WebSocket."""
    answer = httpx2.get(
        f"http://{server.host}/api/v1/overview", headers=server.bearer, timeout=PATIENCE_S
    )
    with opened(server) as page:
        page.send('{"wish": 1}')
        view = json.loads(page.recv(PATIENCE_S))
    return answer.status_code == 200 and view["type"] == "view"


def rss_kib(server: Server) -> int:
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("the server has gone")


def plain(server: Server) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
    made.settimeout(PATIENCE_S)
    return made


class Refused(Exception):  # noqa: N818 - an answer
    """An upgrade is refused; the text is the first line of the answer."""


def upgraded(
    server: Server,
    path: str = "page",
    headers: Mapping[str, str] | None = None,
    receive: int | None = None,
) -> socket.socket:
    """Upgrade by hand, to send frames that no library would."""
    made = plain(server)
    if receive is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    lines = {
        "Host": server.host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **server.bearer,
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    made.sendall(f"GET /api/v1/{path} HTTP/1.1\r\n{head}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer and (got := made.recv(1)):
        answer += got
    if not answer.startswith(b"HTTP/1.1 101 "):
        made.close()
        raise Refused(answer[:12].decode())
    return made


def frame(opcode: int, body: bytes, *, first: int = 0x80, size: int | None = None) -> bytes:
    length = len(body) if size is None else size
    head = bytes([first | opcode])
    if length < 126:
        head += bytes([0x80 | length])
    elif length < 1 << 16:
        head += bytes([0x80 | 126]) + struct.pack("!H", length)
    else:
        head += bytes([0x80 | 127]) + struct.pack("!Q", length)
    return head + bytes(4) + body  # a mask of zeros changes nothing


def ended(peer: socket.socket) -> bool:
    """Whether the server closes the connection."""
    with contextlib.suppress(ConnectionResetError):
        while peer.recv(65536):
            pass
    return True


# --- names, origins, tokens on the wire -----------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Host": "evil.example"}, 400), ({"Origin": "http://evil.example"}, 403),
     ({"Authorization": "Bearer no"}, 401), ({"Origin": "null"}, 403)],
)  # fmt: skip
def test_a_wrong_upgrade_is_refused(server: Server, headers: dict[str, str], status: int) -> None:
    with pytest.raises(Refused, match=f"HTTP/1.1 {status}"):
        upgraded(server, headers=headers)
    with pytest.raises(Refused, match=f"HTTP/1.1 {status}"):
        upgraded(server, "ws", headers)


def test_the_printed_address_opens_the_page(server: Server) -> None:
    with httpx2.Client(
        base_url=f"http://{server.host}", follow_redirects=True, timeout=PATIENCE_S
    ) as browser:
        answer = browser.get("/", params={"token": server.token})
        assert answer.status_code == 200
        assert server.token not in str(answer.url)
        assert browser.get("/api/v1/overview", timeout=PATIENCE_S).status_code == 200


@pytest.mark.parametrize(
    "target", ["/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/assets/..%2f..%2fserve.py",
             "//etc/passwd", "/%00", "/assets/%ff"]
)  # fmt: skip
def test_no_path_leads_out_of_the_page(server: Server, target: str) -> None:
    with plain(server) as peer:
        token = server.bearer["Authorization"]
        peer.sendall(
            f"GET {target} HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: {token}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        answer = peer.recv(65536)
        assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 ")), answer


# --- frames -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        frame(1, b"x" * 70_000),  # larger than a wish
        frame(1, b"", size=1 << 62),  # says that it is
        frame(1, b"x" * 30_000, first=0) + frame(0, b"x" * 30_000, first=0) * 3,  # in pieces
        frame(1, b"\xff\xfe"),  # not UTF-8
        frame(1, b"x", first=0xF0),  # reserved bits
        frame(3, b""),  # an opcode without a meaning
        frame(9, b"x" * 200),  # a ping of that size
        frame(0, b"goes on"),  # what never began
        b"\x81\x01x",  # unmasked
        os.urandom(4096),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["large", "said-large", "pieces", "utf-8", "bits", "opcode", "ping", "continued",
         "unmasked", "noise", "http"],
)  # fmt: skip
def test_frames_that_break_the_protocol_end_their_socket_only(server: Server, sent: bytes) -> None:
    with opened(server) as other:
        other.send('{"wish": 1}')
        with upgraded(server) as peer:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                peer.sendall(sent)
            assert ended(peer)
        assert json.loads(other.recv(PATIENCE_S))["type"] == "view"
    assert is_well(server)


def test_a_packed_frame_that_unpacks_to_gigabytes_ends_its_socket(server: Server) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    packed = packer.compress(b" " * 30_000_000) + packer.flush(zlib.Z_SYNC_FLUSH)
    before = rss_kib(server)
    with upgraded(server, headers={"Sec-WebSocket-Extensions": "permessage-deflate"}) as peer:
        peer.sendall(frame(1, packed[:-4], first=0xC0))
        assert ended(peer)
    assert rss_kib(server) - before < 20_000
    assert is_well(server)


def test_ten_thousand_wishes_are_answered_as_one(server: Server) -> None:
    with opened(server) as page:
        for number in range(10_000):
            page.send(json.dumps({"wish": number, "sort": "pid", "window": {"count": 1}}))
        answers = 0
        while (view := json.loads(page.recv(PATIENCE_S))).get("wish") != 9_999:
            answers += view["type"] == "view"
        assert answers < 2_000
    assert is_well(server)


# --- readers and connections ----------------------------------------------------------------------


@pytest.mark.parametrize("route", ["page", "ws?flows=true"])
def test_a_reader_that_stops_costs_no_more_memory_and_is_let_go(server: Server, route: str) -> None:
    assert is_well(server)
    before = rss_kib(server)
    with upgraded(server, route, receive=4096) as peer:
        assert is_connected(server.port, peer)
        wish = json.dumps({"wish": 1, "view": "connections", "window": {"count": 500}})
        peer.settimeout(2)
        with contextlib.suppress(OSError):
            for number in range(2_000):  # as fast as the server takes them
                peer.sendall(frame(1, wish.encode().replace(b"1", str(number).encode(), 1)))
        assert is_well(server)
        assert rss_kib(server) - before < 40_000
        await_(lambda: not is_connected(server.port, peer))


def test_a_thousand_silent_connections_shut_nobody_out_for_long(server: Server) -> None:
    with opened(server) as page, contextlib.ExitStack() as stack:
        page.send('{"wish": 1}')
        page.recv(PATIENCE_S)
        for _ in range(1000):
            stack.enter_context(plain(server))
        page.send('{"wish": 2, "sort": "pid"}')
        while json.loads(page.recv(PATIENCE_S)).get("wish") != 2:
            pass
        await_(lambda: _answers(server))
        open_files = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        assert open_files < MOST_CONNECTIONS + 100
    assert is_well(server)


def _answers(server: Server) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return is_well(server)
    return False


def await_(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S + 30
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_head_that_never_ends_ends_its_connection(server: Server) -> None:
    with plain(server) as peer:
        with contextlib.suppress(OSError):
            peer.sendall(b"GET / HTTP/1.1\r\n")
            for _ in range(1000):
                peer.sendall(b"X: " + b"y" * 1000 + b"\r\n")
        assert ended(peer)
    assert is_well(server)


def test_a_client_that_goes_without_a_word_leaves_nothing_behind(server: Server) -> None:
    for _ in range(150):  # more than there are seats
        peer = upgraded(server)
        peer.sendall(frame(1, b'{"wish": 1, "view": "files"}'))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
    assert is_well(server)


# --- its end --------------------------------------------------------------------------------------


def _read_to_the_end(page: ClientConnection) -> None:
    while True:
        page.recv(PATIENCE_S)


def test_a_server_that_is_ended_says_so(mortal: Server) -> None:
    with opened(mortal) as page:
        page.send('{"wish": 1}')
        page.recv(PATIENCE_S)
        mortal.process.terminate()
        with pytest.raises(ConnectionClosed) as end:
            _read_to_the_end(page)
        assert end.value.rcvd is not None
        assert end.value.rcvd.code in (1001, 1012)
    mortal.process.wait(PATIENCE_S)
    assert mortal.process.stderr is not None
    assert mortal.process.stderr.read() == ""


def test_what_the_server_says_on_the_way_is_nothing(mortal: Server) -> None:
    """No peer can write into the log, and no token gets there."""
    httpx2.get(f"http://{mortal.host}/?token=wrong", timeout=PATIENCE_S)
    with contextlib.suppress(Refused):
        upgraded(mortal, headers={"Host": "evil.example"})
    with upgraded(mortal) as peer:
        peer.sendall(os.urandom(300))
        ended(peer)
    mortal.process.terminate()
    mortal.process.wait(PATIENCE_S)
    assert mortal.process.stderr is not None
    assert mortal.process.stderr.read() == ""
