"""Connections that end while something still waits to be sent."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState

from pbmon_client.web.transport import WebSocketConnection
from pbmond.patience import patient

#: More than the kernel's buffers take.
_MUCH = bytes(16 << 20)
_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def _sends_much(_scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "bytes": _MUCH})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def _answers_no_ping(seconds: float) -> list[dict[str, Any]]:
    """Be a peer that takes what it is sent only once it is given up; return what went wrong."""
    loop = asyncio.get_running_loop()
    trouble: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: trouble.append(context))
    config = Config(
        _sends_much, ws_ping_interval=0.02, ws_ping_timeout=0.02, log_config=None, lifespan="off"
    )
    config.load()
    given_up = asyncio.Event()

    class Connection(WebSocketConnection):
        def keepalive_timeout(self) -> None:
            super().keepalive_timeout()
            given_up.set()

    server = await loop.create_server(lambda: Connection(config, ServerState(), {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(_HANDSHAKE)
    await asyncio.wait_for(given_up.wait(), patient(30))
    while await asyncio.wait_for(reader.read(1 << 20), patient(30)):
        pass
    writer.close()
    await asyncio.sleep(seconds)
    server.close()
    return trouble


def test_a_peer_that_is_given_up_and_then_takes_what_waits_ends_without_an_error() -> None:
    assert asyncio.run(_answers_no_ping(1.2)) == []
