"""A subscriber's connection to the publisher: ZMTP 3.0, without libzmq.

libzmq limits a frame, and the number of messages that wait, but not the number of frames in one
message: a server that never sends the last one fills the memory of whoever listens. This connection
holds one frame at most, and reads no further than to its end.

https://rfc.zeromq.org/spec/23/: a greeting of 64 bytes each way, a READY command each way, then
frames. Messages of pbmond's have one frame, and it sends no commands after READY.
"""

from __future__ import annotations

import math
import os
import socket
import struct
import time
from typing import Final

from pbmond.wire import FRAME_BYTES, WireError

_MORE, _LONG, _COMMAND = 1, 2, 4  # flags of a frame
_GREETING_BYTES: Final = 64
_SIGNATURE: Final = b"\xff" + bytes(8) + b"\x7f"
_MECHANISM: Final = b"NULL".ljust(20, b"\0")
_OPENING: Final = (
    (_SIGNATURE + b"\3\0" + _MECHANISM).ljust(_GREETING_BYTES, b"\0")
    + b"\4\x19\5READY\x0bSocket-Type\0\0\0\3SUB"
)  # fmt: skip
_HEAD_BYTES, _LONG_HEAD_BYTES = 2, 9
_COMMAND_BYTES: Final = 4096  # of a READY
_PATH_BYTES: Final = 107  # of sockaddr_un, without the NUL at its end
_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 0.5  # before it connects again


class ServerConnection:
    """Connects to ``path``, and again whenever the connection breaks off.

    OSError if no socket can have that path.
    """

    def __init__(self, path: str) -> None:
        if len(os.fsencode(path)) > _PATH_BYTES:
            raise OSError(36, "File name too long")
        self._path: Final = path
        self._topics: dict[bytes, None] = {}
        self._socket: socket.socket | None = None
        self._due_s = 0.0  # monotonic time at which it connects next
        self._pause_s = _PAUSE_S
        #: Whether a connection has broken off since the last frame.
        self.broke_off = False
        self._begin()

    def _begin(self) -> None:
        self._greeted = self._ready = False
        self._expect(_GREETING_BYTES)
        self._body = False  # what is read now is the body of a frame, else a greeting or a head
        self._flags = 0

    def _expect(self, size: int) -> None:
        self._buffer = bytearray(size)
        self._filled = 0

    # --- the other direction --------------------------------------------------------------------

    def subscribe(self, topic: bytes) -> None:
        """Ask for messages that begin with ``topic``, now and after each new connection."""
        if topic not in self._topics:
            self._topics[topic] = None
            self._say(topic, on=True)

    def unsubscribe(self, topic: bytes) -> None:
        """No longer ask for them."""
        if topic in self._topics:
            del self._topics[topic]
            self._say(topic, on=False)

    def _say(self, topic: bytes, *, on: bool) -> None:
        if self._ready:  # else all of them follow the handshake
            self._send(struct.pack("!BB?", 0, 1 + len(topic), on) + topic)

    def _send(self, data: bytes) -> None:
        if self._socket is None:
            return
        try:
            sent = self._socket.send(data)
        except OSError:
            sent = 0
        if sent < len(data):
            self._break_off(self._pause_s)  # a server that does not read

    # --- connecting -----------------------------------------------------------------------------

    @property
    def fd(self) -> int | None:
        """What can be read when something comes; None while there is no connection."""
        return None if self._socket is None else self._socket.fileno()

    @property
    def wait_s(self) -> float:
        """How long ``take`` may be put off while ``fd`` cannot be read."""
        return math.inf if self._socket else max(0.0, self._due_s - time.monotonic())

    def again(self) -> None:
        """Connect at the next ``take``, even to a server that broke the rules."""
        self._due_s = min(self._due_s, time.monotonic())

    def close(self) -> None:
        """End the connection; ``take`` makes another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> bool:
        if time.monotonic() < self._due_s:
            return False
        self._begin()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect(self._path)
        except OSError:
            self._put_off(self._pause_s)
            return False
        self._send(_OPENING)
        return self._socket is not None

    def _put_off(self, pause_s: float) -> None:
        self.close()
        self._begin()  # gives back what has come of a frame
        self._due_s = time.monotonic() + pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _break_off(self, pause_s: float) -> None:
        self.broke_off = True
        self._put_off(pause_s)

    # --- receiving ------------------------------------------------------------------------------

    def take(self) -> memoryview | None:
        """Return the next frame, or None if it has not come to its end. Does not block.

        WireError at a message of several frames, which ends the connection. Whatever else breaks
        the rules ends it until ``again``.
        """
        if self._socket is None and not self._connect():
            return None
        while self._fill():
            done = self._buffer
            if self._body and self._ready:
                self._body = False
                self._expect(_HEAD_BYTES)
                self.broke_off, self._pause_s = False, _PAUSE_S
                return memoryview(done).toreadonly()
            if not self._is_understood(done) and self._socket is not None:
                self._break_off(math.inf)
        return None

    def _fill(self) -> bool:
        """Read; return whether what is expected is there as a whole."""
        while self._socket is not None and self._filled < len(self._buffer):
            try:
                count = self._socket.recv_into(memoryview(self._buffer)[self._filled :])
            except BlockingIOError:
                return False
            except OSError:
                count = 0
            if count == 0:
                self._break_off(self._pause_s)
            self._filled += count
        return self._socket is not None

    def _is_understood(self, done: bytearray) -> bool:
        """Take a greeting, the head of a frame, or READY; return whether it is one."""
        if not self._greeted:
            is_zmtp = done[0] == _SIGNATURE[0] and done[9] & 1 and done[10] >= 3
            self._greeted = bool(is_zmtp) and done[12:32] == _MECHANISM
            self._expect(_HEAD_BYTES)
            return self._greeted
        if self._body:
            self._body, self._ready = False, bytes(done).startswith(b"\5READY")
            self._expect(_HEAD_BYTES)
            for topic in self._topics:
                self._say(topic, on=True)
            return self._ready
        return self._take_head(done)

    def _take_head(self, head: bytearray) -> bool:
        if head[0] & _LONG and len(head) < _LONG_HEAD_BYTES:
            self._buffer = head + bytes(_LONG_HEAD_BYTES - _HEAD_BYTES)
            return True
        if self._ready and head[0] & ~_LONG == _MORE:
            self._break_off(math.inf)
            raise WireError("a message of several parts")
        size = int.from_bytes(head[1:], "big")
        if head[0] & ~_LONG != (0 if self._ready else _COMMAND):
            return False
        self._expect(min(size, FRAME_BYTES))
        self._body = True
        return size <= (FRAME_BYTES if self._ready else _COMMAND_BYTES)
