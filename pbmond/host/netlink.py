"""The format of netlink: requests for whole lists, messages, attributes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

# linux/netlink.h
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_DUMP_INTR: Final = 0x10
_NLM_F_REQUEST, _NLM_F_DUMP = 1, 0x300
#: How long to wait for the kernel's next answer.
TIMEOUT_S: Final = 1.0

_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, type


def dump_request(kind: int, request: bytes) -> bytes:
    """Return the message that asks for a whole list."""
    header = _HEADER.pack(_HEADER.size + len(request), kind, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0)
    return header + request


def messages(dump: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (type, flags, body) of each message; ValueError if one has no end."""
    at = 0
    while at < len(dump):
        if len(dump) - at < _HEADER.size:
            raise ValueError("half a message")
        length, kind, flags, _, _ = _HEADER.unpack_from(dump, at)
        if not _HEADER.size <= length <= len(dump) - at:
            raise ValueError("a message without its end")
        yield kind, flags, dump[at + _HEADER.size : at + length]
        at += -(-length // 4) * 4


def attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, value) of each attribute; ValueError if one has no end."""
    at = 0
    while at < len(body):
        if len(body) - at < _ATTRIBUTE.size:
            raise ValueError("half an attribute")
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if not _ATTRIBUTE.size <= length <= len(body) - at:
            raise ValueError("an attribute without its end")
        yield kind, body[at + _ATTRIBUTE.size : at + length]
        at += -(-length // 4) * 4
