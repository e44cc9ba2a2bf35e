"""ZMTP 3.1 as the publisher speaks it to one viewer, without I/O: bytes in, events out.

https://rfc.zeromq.org/spec/37/: a greeting of 64 bytes each way, a READY command each way (the
mechanism is NULL: the kernel has said who the viewer is), then frames. A viewer is a SUB or XSUB
socket. It subscribes by messages that begin with 0 or 1 (ZMTP 3.0) or by commands (ZMTP 3.1).

Whatever a viewer sends, ``receive`` returns events or raises ProtocolError, and keeps less than
``FRAME_BYTES`` of it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

#: The longest frame that a viewer may send, without its head. A topic has at most 32 bytes.
FRAME_BYTES: Final = 512

_MORE, _LONG, _COMMAND = 1, 2, 4  # flags of a frame
_SIGNATURE: Final = b"\xff" + bytes(8) + b"\x7f"
_GREETING_BYTES: Final = 64
_MECHANISM: Final = b"NULL".ljust(20, b"\0")
_VIEWERS: Final = (b"SUB", b"XSUB")
_CONTEXT_BYTES: Final = 16  # of a PING
_TIME_TO_LIVE_BYTES: Final = 2  # before it

#: What the publisher says first: signature, version 3.1, mechanism, not as server, filler.
GREETING: Final = (_SIGNATURE + b"\3\1" + _MECHANISM).ljust(_GREETING_BYTES, b"\0")


class ProtocolError(Exception):
    """What came is not what a viewer says. The message holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Greeted:
    """The viewer's greeting is complete: it waits for READY."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The handshake is complete: it may be sent messages."""


@dataclass(frozen=True, slots=True)
class SubscriptionChange:
    """It subscribes to ``text`` from now on, or no longer does."""

    text: bytes
    on: bool


@dataclass(frozen=True, slots=True)
class Ping:
    """It wants a PONG with the same ``context``."""

    context: bytes


PeerEvent = Greeted | Ready | SubscriptionChange | Ping


def message_head(size: int) -> bytes:
    """Return what goes before a message of one frame and ``size`` bytes."""
    return struct.pack("!BB", 0, size) if size < 256 else struct.pack("!BQ", _LONG, size)


def _command(name: bytes, body: bytes) -> bytes:
    return struct.pack("!BBB", _COMMAND, 1 + len(name) + len(body), len(name)) + name + body


def _property(name: bytes, value: bytes) -> bytes:
    return struct.pack("!B", len(name)) + name + struct.pack("!I", len(value)) + value


READY: Final = _command(b"READY", _property(b"Socket-Type", b"XPUB"))


def pong(context: bytes) -> bytes:
    """Return the answer to a Ping."""
    return _command(b"PONG", context)


def error(reason: str) -> bytes:
    """Return the command that refuses a handshake; ``reason`` is a short ASCII text."""
    text = reason.encode("ascii")
    return _command(b"ERROR", struct.pack("!B", len(text)) + text)


class Conversation:
    """The viewer's half of one connection."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._greeted = False
        self._ready = False

    @property
    def ready(self) -> bool:
        """Whether the handshake is complete."""
        return self._ready

    @property
    def pending_bytes(self) -> int:
        """How much of an incomplete frame is kept."""
        return len(self._pending)

    def receive(self, data: bytes) -> list[PeerEvent]:
        """Return what ``data`` completes. ProtocolError ends the connection."""
        self._pending += data
        events: list[PeerEvent] = []
        if not self._greeted:
            if not self._take_greeting():
                return events
            events.append(Greeted())
        while (frame := self._take_frame()) is not None:
            event = self._event(*frame)
            if event is not None:
                events.append(event)
        return events

    def _take_greeting(self) -> bool:
        head = self._pending
        if head and head[0] != _SIGNATURE[0]:
            raise ProtocolError("not ZMTP")
        # A first frame of ZMTP 1.0 begins like that too; this bit tells the two apart.
        if len(head) >= len(_SIGNATURE) and not head[9] & 1:
            raise ProtocolError("ZMTP before 2.0")
        if len(head) > len(_SIGNATURE) and head[10] < 3:
            raise ProtocolError("ZMTP before 3.0")
        if len(head) < _GREETING_BYTES:
            return False
        if head[12:32] != _MECHANISM:
            raise ProtocolError("a mechanism other than NULL")
        del head[:_GREETING_BYTES]
        self._greeted = True
        return True

    def _take_frame(self) -> tuple[int, bytes] | None:
        """Return flags and body of the next frame, or None if it is not complete."""
        pending = self._pending
        if not pending:
            return None
        flags = pending[0]
        if flags & ~(_MORE | _LONG | _COMMAND) or (flags & _COMMAND and flags & _MORE):
            raise ProtocolError("a frame with impossible flags")
        head = 9 if flags & _LONG else 2
        if len(pending) < head:
            return None
        size = int.from_bytes(pending[1:head], "big")
        if size > FRAME_BYTES:
            raise ProtocolError("too long a frame")
        if len(pending) < head + size:
            return None
        body = bytes(pending[head : head + size])
        del pending[: head + size]
        return flags, body

    def _event(self, flags: int, body: bytes) -> PeerEvent | None:
        if not self._ready:
            if not flags & _COMMAND:
                raise ProtocolError("a message before the handshake")
            _check_ready(body)
            self._ready = True
            return Ready()
        if flags & _COMMAND:
            return _command_event(body)
        if flags & _MORE or body[:1] not in (b"\0", b"\1"):
            raise ProtocolError("a message that is no subscription")
        return SubscriptionChange(body[1:], on=body[0] == 1)


def _split_command(body: bytes) -> tuple[bytes, bytes]:
    if not body or len(body) <= body[0]:
        raise ProtocolError("a command without a name")
    return body[1 : 1 + body[0]], body[1 + body[0] :]


def _check_ready(body: bytes) -> None:
    name, rest = _split_command(body)
    if name != b"READY":
        raise ProtocolError("no READY in the handshake")
    kinds = [value for name, value in _properties(rest) if name.lower() == b"socket-type"]
    if len(kinds) != 1 or kinds[0] not in _VIEWERS:
        raise ProtocolError("a socket that does not subscribe")


def _properties(body: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    while body:
        name_end = 1 + body[0]
        value_at = name_end + 4
        value_end = value_at + int.from_bytes(body[name_end:value_at], "big")
        if len(body) < value_at or len(body) < value_end:
            raise ProtocolError("a READY that is cut short")
        found.append((body[1:name_end], body[value_at:value_end]))
        body = body[value_end:]
    return found


def _command_event(body: bytes) -> PeerEvent | None:
    name, rest = _split_command(body)
    if name in (b"SUBSCRIBE", b"CANCEL"):
        return SubscriptionChange(rest, on=name == b"SUBSCRIBE")
    if name == b"PING":
        if not _TIME_TO_LIVE_BYTES <= len(rest) <= _TIME_TO_LIVE_BYTES + _CONTEXT_BYTES:
            raise ProtocolError("a PING of a wrong length")
        return Ping(rest[_TIME_TO_LIVE_BYTES:])
    if name in (b"READY", b"ERROR"):
        raise ProtocolError("a handshake after the handshake")
    return None  # as libzmq does with commands that it does not know
