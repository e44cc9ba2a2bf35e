"""A WebSocket's messages; however its peer goes away, it is the same exception."""

from __future__ import annotations

from typing import NoReturn

from starlette.websockets import WebSocket, WebSocketDisconnect


class GoneError(Exception):
    """The peer has gone away, or was let go."""


async def received(socket: WebSocket) -> str | bytes:
    """Return the next message; GoneError at the end."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise GoneError
    text: str | bytes | None = message.get("text")
    return message.get("bytes") or b"" if text is None else text


async def send(socket: WebSocket, text: str) -> None:
    """Send text, as fast as the peer reads; GoneError if it has gone."""
    try:
        await socket.send_text(text)
    except (WebSocketDisconnect, RuntimeError) as error:
        # uvicorn raises RuntimeError for what follows a close of its own, such as one for a peer
        # that answers no ping.
        raise GoneError from error


async def close(socket: WebSocket, code: int, reason: str) -> NoReturn:
    """End the connection, and raise GoneError."""
    try:
        await socket.close(code, reason)
    except (WebSocketDisconnect, RuntimeError) as error:
        raise GoneError from error
    raise GoneError
