"""The viewer's half of a ZMTP connection: bytes in, events out, and nothing but ProtocolError."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbmond.publish import zmtp
from pbmond.publish.zmtp import (
    FRAME_BYTES,
    GREETING,
    Conversation,
    Greeted,
    PeerEvent,
    Ping,
    ProtocolError,
    Ready,
    SubscriptionChange,
)


def frame(flags: int, body: bytes) -> bytes:
    if flags & 2:
        return struct.pack("!BQ", flags, len(body)) + body
    return struct.pack("!BB", flags, len(body)) + body


def command(name: bytes, body: bytes = b"") -> bytes:
    return frame(4, bytes([len(name)]) + name + body)


def prop(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + struct.pack("!I", len(value)) + value


def ready(kind: bytes = b"SUB", name: bytes = b"Socket-Type") -> bytes:
    return command(b"READY", prop(name, kind))


OPENING = GREETING + ready()
OPENED: list[PeerEvent] = [Greeted(), Ready()]
PIECES: list[tuple[bytes, list[PeerEvent]]] = [
    (frame(0, b"\1all/processes"), [SubscriptionChange(b"all/processes", on=True)]),
    (frame(0, b"\0all/processes"), [SubscriptionChange(b"all/processes", on=False)]),
    (frame(2, b"\1" + b"x" * 300), [SubscriptionChange(b"x" * 300, on=True)]),
    (frame(0, b"\1"), [SubscriptionChange(b"", on=True)]),
    (command(b"SUBSCRIBE", b"all/flows"), [SubscriptionChange(b"all/flows", on=True)]),
    (command(b"CANCEL", b"all/flows"), [SubscriptionChange(b"all/flows", on=False)]),
    (frame(6, b"\x09SUBSCRIBE" + b"y" * 300), [SubscriptionChange(b"y" * 300, on=True)]),
    (command(b"PING", b"\0\x0ahello"), [Ping(b"hello")]),
    (command(b"PING", b"\0\0"), [Ping(b"")]),
    (command(b"PONG", b"hello"), []),
    (command(b"NEWER-THAN-US", b"?"), []),
]
WRONG_OPENINGS = [
    (b"GET / HTTP/1.1\r\n", "not ZMTP"),
    (b"\0", "not ZMTP"),
    (b"\xff" + bytes(9), "before 2.0"),
    (GREETING[:10] + b"\1", "before 3.0"),
    (GREETING[:12] + b"PLAIN".ljust(20, b"\0") + bytes(32), "mechanism"),
    (GREETING[:12] + b"NULLX".ljust(20, b"\0") + bytes(32), "mechanism"),
    (GREETING + frame(0, b"\1all"), "before the handshake"),
    (GREETING + command(b"SUBSCRIBE", b"all"), "no READY"),
    (GREETING + ready(b"PUB"), "does not subscribe"),
    (GREETING + ready(b""), "does not subscribe"),
    (GREETING + ready(name=b"Identity"), "does not subscribe"),
    (GREETING + command(b"READY"), "does not subscribe"),
    (GREETING + command(b"READY", 2 * prop(b"Socket-Type", b"SUB")), "does not subscribe"),
    (GREETING + command(b"READY", prop(b"Socket-Type", b"SUB")[:-1]), "cut short"),
    (GREETING + command(b"READY", b"\x0bSocket-Type\xff\xff\xff\xff"), "cut short"),
    (GREETING + command(b"READY", b"\xff"), "cut short"),
]
WRONG_PIECES = [
    (frame(0, b""), "no subscription"),
    (frame(0, b"\2all"), "no subscription"),
    (frame(1, b"\1all"), "no subscription"),  # a part of a message
    (frame(8, b""), "impossible flags"),
    (frame(5, b"\4PING\0\0"), "impossible flags"),
    (frame(4, b""), "without a name"),
    (frame(4, b"\5PING"), "without a name"),
    (command(b"PING", b"\0"), "wrong length"),
    (command(b"PING", b"\0\0" + b"x" * 17), "wrong length"),
    (ready(), "after the handshake"),
    (command(b"ERROR", b"\0"), "after the handshake"),
    (frame(2, b"\1" * (FRAME_BYTES + 1)), "too long"),
    (struct.pack("!BQ", 2, 20_000_000), "too long"),  # before any of it has come
    (struct.pack("!BQ", 2, 2**64 - 1), "too long"),
]


@pytest.mark.parametrize(("piece", "expected"), PIECES)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_each_thing_a_viewer_says_is_its_event_however_it_is_cut(
    piece: bytes, expected: list[PeerEvent], step: int
) -> None:
    conversation, data = Conversation(), OPENING + piece
    events: list[PeerEvent] = []
    for at in range(0, len(data), step):
        events += conversation.receive(data[at : at + step])
    assert events == OPENED + expected
    assert conversation.ready


def test_many_at_once_are_all_heard_in_order() -> None:
    data = OPENING + b"".join(piece for piece, _ in PIECES)
    expected = [event for _, events in PIECES for event in events]
    assert Conversation().receive(data) == OPENED + expected


@pytest.mark.parametrize("kind", [b"SUB", b"XSUB"])
@pytest.mark.parametrize("name", [b"Socket-Type", b"socket-type", b"SOCKET-TYPE"])
def test_both_kinds_of_subscriber_are_viewers(kind: bytes, name: bytes) -> None:
    others = prop(b"Identity", b"") + prop(b"X-Any", b"\xff\0")
    said = GREETING + command(b"READY", others + prop(name, kind))
    assert Conversation().receive(said) == OPENED


def test_a_later_version_of_zmtp_is_welcome() -> None:
    assert Conversation().receive(GREETING[:10] + b"\4\7" + GREETING[12:]) == [Greeted()]


@pytest.mark.parametrize(("said", "why"), WRONG_OPENINGS)
def test_a_handshake_that_is_none_is_refused(said: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        Conversation().receive(said)


@pytest.mark.parametrize(("piece", "why"), WRONG_PIECES)
def test_what_no_viewer_says_is_refused(piece: bytes, why: str) -> None:
    conversation = Conversation()
    conversation.receive(OPENING)
    with pytest.raises(ProtocolError, match=why):
        conversation.receive(piece)


def test_a_refusal_holds_nothing_that_was_said() -> None:
    with pytest.raises(ProtocolError) as refused:
        Conversation().receive(GREETING + ready(b"\x1b[31mEVIL"))
    assert "EVIL" not in str(refused.value)


@settings(max_examples=300)
@given(st.booleans(), st.lists(st.binary(max_size=80), max_size=8))
def test_any_bytes_are_events_or_a_protocol_error(opened: bool, parts: list[bytes]) -> None:
    conversation = Conversation()
    if opened:
        conversation.receive(OPENING)
    for part in parts:
        try:
            for event in conversation.receive(part):
                assert not isinstance(event, SubscriptionChange) or len(event.text) < FRAME_BYTES
        except ProtocolError:
            return
        assert conversation.pending_bytes <= FRAME_BYTES + 9


# --- what the publisher says --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\0\0"),
        (255, b"\0\xff"),
        (256, b"\2\0\0\0\0\0\0\1\0"),
        (1 << 32, b"\2\0\0\0\1\0\0\0\0"),
    ],
)
def test_a_messages_head_has_its_size(size: int, head: bytes) -> None:
    assert zmtp.message_head(size) == head


def test_the_greeting_is_that_of_zmtp_3_1() -> None:
    assert len(GREETING) == 64
    assert GREETING.startswith(b"\xff\0\0\0\0\0\0\0\0\x7f\3\1NULL\0")


def test_commands_are_framed_as_the_protocol_says() -> None:
    assert command(b"READY", prop(b"Socket-Type", b"XPUB")) == zmtp.READY
    assert zmtp.pong(b"hello") == command(b"PONG", b"hello")
    assert zmtp.error("no") == command(b"ERROR", b"\2no")
