"""What a hostile host or server says: names, and messages changed in any place; for all outputs."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from typing import Any, Final

import msgpack

from pbmond import wire
from pbmond.fields import TABLES

#: Names that terminals, spreadsheets, browsers, log readers or parsers take for something else.
NAMES: Final = (
    b"\x1b]0;owned\x07\x1b[2J\x1b[31m",
    b"two\nlines\r\nand\ttabs\x0b\x0c",
    "\u202egnp.exe\u2066x\u2069\u200f\u061c".encode(),
    "\u2028\u2029\x85\ufeff\u00ad\U000e0041\ue000".encode(),
    b"\xed\xa0\x80\xed\xb0\x80lone surrogates",
    b"\xff\xfe\xc0\x80\xf8\x88",
    b"nul\0inside\0",
    b"",
    b" ",
    b"=cmd|' /C calc'!A0",
    b"+1+1", b"-2-3", b"@SUM(A1)", b"\t=1", b"\r=1", b"'=quoted", b"''", "\uff1d1+1".encode(),
    b'"quoted", and,commas;',
    b"</script><img src=x onerror=alert(1)>&amp;",
    b'name="x"} 1\n# TYPE evil counter\\',
    b"%s %n {0} {} ${HOME} `id` \\u0041 \\",
    b"x" * 4096,
    "e\u0301\u4e2d\u6587\U0001f600\u0600".encode() * 200,
    bytes(range(256)),
)  # fmt: skip
_NUMBERS: Final[tuple[Any, ...]] = (
    *(0, 1, -1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)),
    *(0.5, -0.0, float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 5e-324, 2.0**64),
)
_VALUES: Final[tuple[Any, ...]] = (
    *_NUMBERS,
    *(None, True, False, "", "x", b"x", [], {}, [[]], {"x": {}}, ["x"] * 20, [None], [1.5, "x"]),
    *(name.decode("utf-8", "replace") for name in NAMES),
    *({name.decode("utf-8", "replace"): 1} for name in NAMES[:3]),
    "y" * 5000,
)
_FILLS: Final = {
    "u1": (0, 1, 2, 127, 255), "u2": (0, 1, 65535), "u4": (0, 1, 2**31, 2**32 - 1),
    "u8": (0, 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1),
    "f8": (0.0, 1.5, float("nan"), 2.0**64, 5e-324), "16s": (bytes(16), b"\xff" * 16, b"4" * 16),
}  # fmt: skip
_BAD_FLOATS: Final = (float("inf"), -1.0, 1e308, float("-inf"))


def body_of(message: wire.Message) -> dict[str, Any]:
    """Return a message as msgpack's own values."""
    packed = wire.encode(wire.Topic(None, "flows"), message).partition(b"\0")[2]
    unpacked: dict[str, Any] = msgpack.unpackb(packed, raw=False)
    return unpacked


def frame_of(body: Any) -> bytes:
    """Return the frame of such values."""
    packed: bytes = msgpack.packb(body, use_bin_type=True)
    return b"all/flows\0" + packed


def changed(body: dict[str, Any], chance: random.Random) -> None:
    """Change a few places of a body: values, or the rows of columns."""
    for _ in range(chance.choice((1, 1, 1, 3))):
        if chance.random() < 0.5:
            _change_column(body, chance)
        else:
            _change_value(body, chance)


def _change_value(body: dict[str, Any], chance: random.Random) -> None:
    holder, key = chance.choice([place for place in _places(body) if place[1] != "schema"])
    if isinstance(holder, dict) and chance.random() < 0.15:
        holder[chance.choice(("more", "\x1b[2J", "processes"))] = holder.pop(key)
    else:
        holder[key] = chance.choice(_VALUES)


def _change_column(body: dict[str, Any], chance: random.Random) -> None:
    tables = [name for name in TABLES if isinstance(body.get(name), dict)]
    table = body[chance.choice(tables)] if tables else {}
    length = table.get("length")
    if type(length) is not int or not 0 <= length < 100:
        return
    schema = wire.TABLES[next(name for name in tables if body[name] is table)]
    for name in chance.sample(sorted(schema), chance.choice((1, 4, len(schema)))):
        table[name] = _column(schema[name], length, chance)


def _column(kind: str, length: int, chance: random.Random) -> bytes:
    if kind == "text":
        return packed_names([chance.choice((None, *NAMES, *NAMES)) for _ in range(length)])
    fill = (*_FILLS[kind], *(_BAD_FLOATS if kind == "f8" and chance.random() < 0.1 else ()))
    code = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "f8": "d", "16s": "16s"}[kind]
    return b"".join(struct.pack(f"<{code}", chance.choice(fill)) for _ in range(length))


def packed_names(cells: list[bytes | None]) -> bytes:
    """Pack a column of text."""
    packed: bytes = msgpack.packb(cells, use_bin_type=True)
    return packed


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of every value within a map or list."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from _places(inner)
