"""The client's connection against a server by hand: what it takes, and what ends it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import hostile_server as server
import pytest
from fake_publisher import PATIENCE_S, Publisher

from pbmon_client import connection
from pbmon_client.connection import ServerConnection
from pbmond import bounds
from pbmond.wire import WireError

_TOPIC: Final = b"all/processes"


@contextlib.contextmanager
def connected(path: Path) -> Iterator[ServerConnection]:
    with contextlib.closing(ServerConnection(str(path))) as made:
        made.subscribe(_TOPIC)
        yield made


def until(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.005)


def next_frame(made: ServerConnection) -> bytes:
    found: list[memoryview] = []

    def take() -> bool:
        frame = made.take()
        if frame is not None:
            found.append(frame)
        return bool(found)

    until(take)
    return bytes(found[0])


def broken(made: ServerConnection) -> bool:
    return made.take() is None and made.broke_off


@pytest.mark.parametrize("size", [0, 1, 255, 256, 70_000, 3_000_000])
def test_frames_of_a_socket_of_zeromq_arrive_whole(path: Path, size: int) -> None:
    with contextlib.closing(Publisher(path)) as publisher, connected(path) as made:
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.append(next_frame(made)))
        reader.start()
        publisher.hear(lambda wanted: _TOPIC.decode() in wanted)
        publisher.send_raw(_TOPIC + bytes(size))
        reader.join()
    assert received == [_TOPIC + bytes(size)]


def test_subscriptions_change_while_it_is_connected_and_follow_to_the_next_server(
    path: Path,
) -> None:
    with connected(path) as made:
        ending = threading.Event()

        def read() -> None:
            while not ending.wait(0.005):
                made.take()

        reader = threading.Thread(target=read)
        with contextlib.closing(Publisher(path)) as publisher:
            made.subscribe(b"uid/1/processes")
            made.unsubscribe(_TOPIC)
            reader.start()
            publisher.hear(lambda wanted: wanted == {"uid/1/processes"})
        with contextlib.closing(Publisher(path)) as publisher:
            publisher.hear(lambda wanted: wanted == {"uid/1/processes"})
        ending.set()
        reader.join()


def test_a_frame_may_come_a_byte_at_a_time(path: Path) -> None:
    def speak(peer: socket.socket) -> None:
        for byte in server.frame(b"all/slow"):
            peer.sendall(bytes([byte]))
            time.sleep(0.002)
        time.sleep(PATIENCE_S)

    with server.HostileServer(path, speak), connected(path) as made:
        assert next_frame(made) == b"all/slow"


def test_a_message_of_several_frames_is_an_error_and_ends_the_connection(path: Path) -> None:
    ended = threading.Event()

    def speak(peer: socket.socket) -> None:
        try:
            while True:
                peer.sendall(server.frame(b"x" * 1000, server.MORE))
        except OSError:
            ended.set()

    with server.HostileServer(path, speak), connected(path) as made:
        with pytest.raises(WireError, match="several parts"):
            until(made.take)
        assert ended.wait(PATIENCE_S)
        assert made.broke_off


@pytest.mark.parametrize(
    "speech",
    [
        server.head(bounds.FRAME_BYTES + 1),
        server.head(2**64 - 1),
        b"\4\x05\4PING",
        b"\6" + server.head(2**40)[1:],
        b"\x80\1x",
        b"\xff" * 100,
    ],
    ids=["too large", "endless", "a command", "an endless command", "unknown flags", "noise"],
)
def test_what_is_no_message_ends_the_connection_until_it_is_asked_for_again(
    path: Path, speech: bytes
) -> None:
    def speak(peer: socket.socket) -> None:
        peer.sendall(speech)
        time.sleep(PATIENCE_S)

    with server.HostileServer(path, speak) as hostile, connected(path) as made:
        until(lambda: broken(made))
        assert made.fd is None
        assert made.wait_s == float("inf")
        made.again()
        until(lambda: broken(made) and hostile.connections == 2)


@pytest.mark.parametrize(
    "greeting",
    [
        b"HTTP/1.1 400 no\r\n".ljust(64),
        bytes(64),
        b"\xff" * 64,
        b"\xff" + bytes(8) + b"\x7f\1" * 27,
    ],
    ids=["HTTP", "zeros", "ones", "ZMTP 1"],
)
def test_another_protocol_ends_the_connection(path: Path, greeting: bytes) -> None:
    def speak(peer: socket.socket) -> None:
        peer.sendall(greeting + b"\4\x19\5READY")
        time.sleep(PATIENCE_S)

    with server.HostileServer(path, speak, greets=False), connected(path) as made:
        until(lambda: broken(made))


def test_a_server_that_hangs_up_is_tried_again_less_and_less_often(path: Path) -> None:
    def speak(_peer: socket.socket) -> None:
        pass

    with server.HostileServer(path, speak) as hostile, connected(path) as made:
        until(lambda: broken(made) and made._pause_s == connection._LONGEST_PAUSE_S)
        assert hostile.connections >= 3
