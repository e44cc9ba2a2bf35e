"""Connections that end while something still waits to be sent."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from server_ends import is_connected
from uvicorn import Config
from uvicorn.server import ServerState

from pbmon_client.web.transport import WebSocketConnection
from pbmond.patience import patient

#: More than the kernel's buffers take, and what they take although the peer has no room for it.
_SIZES = [16 << 20, 256 << 10]
_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Connection(WebSocketConnection):
    """One that tells when its peer is given up."""

    given_up: asyncio.Event

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.given_up.set()


async def _reads_nothing(size: int) -> tuple[bool, list[dict[str, Any]]]:
    """Be a peer that is given up; return whether the server's end goes, and what went wrong.

    The peer may not see it: it ignores a reset that falls outside a window that has shrunk.
    """
    loop = asyncio.get_running_loop()
    trouble: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: trouble.append(context))

    async def sends(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "bytes": bytes(size)})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    config = Config(sends, ws_ping_interval=0.02, ws_ping_timeout=0.02, log_config=None)
    config.load()
    Connection.given_up = asyncio.Event()
    server = await loop.create_server(lambda: Connection(config, ServerState(), {}), "127.0.0.1", 0)
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(server.sockets[0].getsockname())
        peer.sendall(_HANDSHAKE)
        await asyncio.wait_for(Connection.given_up.wait(), patient(30))
        deadline = loop.time() + patient(30)
        while is_there := is_connected(server.sockets[0].getsockname()[1], peer):
            if loop.time() > deadline:
                break
            await asyncio.sleep(0.01)
    server.close()
    return not is_there, trouble


@pytest.mark.parametrize("size", _SIZES)
def test_a_peer_that_answers_no_ping_is_reset_whatever_it_has_not_read(size: int) -> None:
    assert asyncio.run(_reads_nothing(size)) == (True, [])


async def _answered(handshake: bytes) -> bytes:
    """Return the head of the answer to a handshake."""

    async def accepts(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})

    config = Config(accepts, log_config=None)
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: WebSocketConnection(config, ServerState(), {}), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(handshake)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), patient(30))
    writer.close()
    server.close()
    return head


def test_what_is_sent_is_packed_with_the_tick_before_in_its_window() -> None:
    wanted = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    head = asyncio.run(_answered(_HANDSHAKE.removesuffix(b"\r\n") + wanted))
    assert b"server_max_window_bits=14" in head
