"""uvicorn's connections, with limits that need the transport: silent, slow and too many peers."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Final

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

#: Open connections, of all kinds.
MOST_CONNECTIONS: Final = 500
#: A peer has this long to send the head of its first request.
HEAD_S: Final = 10.0
#: A peer that reads nothing for so long, while more than the buffers hold waits, is let go.
STALLED_S: Final = 15.0
#: zlib's fastest level: rows pack into a seventh more than at its usual one, in half the time.
#: A window of 16 kB has the rows of the tick before, which makes it faster and its output smaller.
_PACKING: Final = {"level": 1, "memLevel": 6}
_WINDOW_BITS: Final = 14


def _reset(transport: asyncio.Transport) -> None:
    """End a connection now; otherwise the kernel would keep what its peer does not read."""
    sock = transport.get_extra_info("socket")
    with suppress(OSError, AttributeError):  # it is closed already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class HttpConnection(H11Protocol):
    """A connection that ends if its peer asks nothing or stops reading."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse one too many, and wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        self._timer = self.loop.call_later(HEAD_S, self._end_if_silent)

    def _end_if_silent(self) -> None:
        self._timer = None
        if self.cycle is None and self.transport.get_protocol() is self:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Begin to wait for a peer that reads too slowly."""
        super().pause_writing()
        self._stop_timer()
        self._timer = self.loop.call_later(STALLED_S, _reset, self.transport)

    def resume_writing(self) -> None:
        """Go on: the peer has read."""
        self._stop_timer()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class WebSocketConnection(WebSocketsSansIOProtocol):
    """A WebSocket that ends if its peer stops reading.

    uvicorn closes one whose peer answers no ping, but closing waits for what is still unsent,
    here or in the kernel's buffers.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Choose how hard to pack what is sent."""
        super().connection_made(transport)
        for extension in self.conn.available_extensions or ():
            if isinstance(extension, ServerPerMessageDeflateFactory):
                extension.compress_settings = _PACKING
                extension.server_max_window_bits = _WINDOW_BITS

    def pause_writing(self) -> None:
        """Begin to wait for a peer that reads too slowly."""
        super().pause_writing()
        if self._timer is None:
            self._timer = self.loop.call_later(STALLED_S, _reset, self.transport)

    def resume_writing(self) -> None:
        """Go on: the peer has read."""
        self._stop_timer()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    async def send(self, message: ASGISendEvent) -> None:
        """Send, and count a refusal as the end of the handshake, which uvicorn reports as lost."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True

    def keepalive_timeout(self) -> None:
        """End a peer that answers no ping, without waiting for what it does not read."""
        _reset(self.transport)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
