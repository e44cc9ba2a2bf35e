"""A server that speaks as much ZMTP as gets a client to listen, and then whatever a test wants."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

_GREETING: Final = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
_READY: Final = b"\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB"
MORE: Final = 1
_LONG: Final = 2

Speech = Callable[[socket.socket], object]


def frame(body: bytes, flags: int = 0) -> bytes:
    """Return one ZMTP frame."""
    return struct.pack(">BQ", flags | _LONG, len(body)) + body


def head(size: int) -> bytes:
    """Return how a frame of ``size`` bytes begins."""
    return struct.pack(">BQ", _LONG, size)


class HostileServer:
    """Greets each connection and gives it to ``speak``, in a thread of its own."""

    def __init__(self, path: Path, speak: Speech, *, greets: bool = True) -> None:
        self._speak = speak
        self._greets = greets
        self.connections = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                if self._greets:
                    connection.sendall(_GREETING + b"\x04" + bytes([len(_READY)]) + _READY)
                    _read(connection, 64)
                self._speak(connection)
            except OSError:
                pass


def _read(connection: socket.socket, size: int) -> None:
    while size > 0:
        received = connection.recv(size)
        if not received:
            raise ConnectionError
        size -= len(received)
