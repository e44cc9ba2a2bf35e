"""One viewer's connection: who it is, what it said, and what is still to be sent to it."""

from __future__ import annotations

import select
import socket
import struct
from typing import Final

from pbmond.publish.shares import Shares
from pbmond.publish.zmtp import Conversation, PeerEvent, message_head

#: What is read from a viewer, and the most messages that are sent to it, before others have a turn.
#: A subscription takes about 30 bytes, and a few microseconds.
RECEIVED_BYTES: Final = 1024
SENT_MESSAGES: Final = 16

_SO_PEERCRED: Final = struct.Struct("=iII")  # struct ucred: pid, uid, gid
_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


class Holding:
    """How many bytes of frames are in memory because somebody has not read them yet."""

    def __init__(self) -> None:
        self.held_bytes = 0


class Outgoing:
    """What goes to a viewer in one piece. A snapshot's body is shared by all who get it."""

    __slots__ = ("_holding", "body", "head")

    def __init__(self, head: bytes, body: memoryview, holding: Holding) -> None:
        self.head = head
        self.body = body
        self._holding = holding
        holding.held_bytes += len(body)

    @classmethod
    def message(cls, body: memoryview, holding: Holding) -> Outgoing:
        """Make a message of one frame."""
        return cls(message_head(len(body)), body, holding)

    def __del__(self) -> None:
        self._holding.held_bytes -= len(self.body)


def uid_of(sock: socket.socket) -> int:
    """Return who connected, as the kernel knows it (SO_PEERCRED, unix(7)). Raises OSError."""
    found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _SO_PEERCRED.size)
    _, uid, _ = _SO_PEERCRED.unpack(found)
    return int(uid)


class Peer:
    """A connection. Nothing in it waits; an OSError means that it has ended.

    Of each topic only the newest message waits to be sent, so that a viewer that does not read
    costs the message that it is in the middle of and those newest ones, which others share.
    """

    def __init__(self, sock: socket.socket, uid: int, shares: Shares) -> None:
        self.fd = sock.fileno()
        self.uid = uid
        self.shares = shares  # where its place is counted
        self.refusals = 0
        self.heard = False  # whether it is read from
        self.watched = 0  # what epoll has been told
        self.flight_since_ns: int | None = None  # when the message began that is half sent
        self._sock = sock
        self._conversation = Conversation()
        self._waiting: dict[bytes, Outgoing] = {}
        self._frame: Outgoing | None = None  # on its way
        self._left: list[memoryview] = []  # of it

    @property
    def ready(self) -> bool:
        """Whether the handshake is complete."""
        return self._conversation.ready

    @property
    def interest(self) -> int:
        """What to wait for with epoll."""
        sends = bool(self._left or self._waiting)
        return (select.EPOLLIN if self.heard else 0) | (select.EPOLLOUT if sends else 0)

    def receive(self) -> list[PeerEvent] | None:
        """Return what it has said, None if it has closed. Raises ProtocolError and OSError."""
        try:
            data = self._sock.recv(RECEIVED_BYTES, _FLAGS)
        except BlockingIOError:
            return []
        return self._conversation.receive(data) if data else None

    def put(self, key: bytes, frame: Outgoing) -> None:
        """Have ``frame`` sent after what waits, or in place of what has the same ``key``."""
        self._waiting[key] = frame

    def forget(self, key: bytes) -> None:
        """Do not send what waits under ``key``."""
        self._waiting.pop(key, None)

    def flush(self, now_ns: int) -> None:
        """Send as much as it takes now, and not more than its turn allows. Raises OSError."""
        for _ in range(SENT_MESSAGES):
            if not self._left and not self._begin():
                return
            try:
                sent = self._sock.sendmsg(self._left, (), _FLAGS)
            except BlockingIOError:
                sent = 0
            self._advance(sent)
            if self._left:
                self.flight_since_ns = self.flight_since_ns or now_ns
                return
            self._frame = None
            self.flight_since_ns = None

    def close(self) -> None:
        """Close it; what was to be sent is dropped."""
        self._sock.close()
        self._waiting.clear()
        self._left.clear()
        self._frame = None

    def _begin(self) -> bool:
        if not self._waiting:
            return False
        self._frame = self._waiting.pop(next(iter(self._waiting)))
        self._left = [memoryview(self._frame.head), self._frame.body]
        return True

    def _advance(self, sent: int) -> None:
        while self._left and sent >= len(self._left[0]):
            sent -= len(self._left.pop(0))
        if sent:
            self._left[0] = self._left[0][sent:]
