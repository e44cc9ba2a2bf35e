"""Keys of rows as text, for addresses and messages: the listing's key, packed and in base64."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import msgpack

from pbmon_client.present.listing import RowKey
from pbmon_client.present.views import View
from pbmond.fields import IDENTITY, TABLES

_MOST: Final = 4096  # characters: a program's key is its path
_DEPTH: Final = 3
#: For all threads, as it keeps Python's lock. Making one takes far longer than packing a key.
_PACKER: Final = msgpack.Packer()


def encode(key: RowKey) -> str:
    """Write a key as text of letters, digits, ``-`` and ``_``."""
    packed: bytes = _PACKER.pack(key)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode(text: str, view: View) -> RowKey | None:
    """Read a key of a view's listing; None unless it can be one."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        packed = base64.b64decode(padded, b"-_", validate=True) if len(text) <= _MOST else b""
        key = _key(msgpack.unpackb(packed), _DEPTH)
    except (ValueError, binascii.Error, msgpack.UnpackException):
        return None
    if view.grouping is None:
        return key if _is_identity(key, view.table) else None
    return key


def _key(value: Any, depth: int) -> RowKey:  # noqa: ANN401 - anything that msgpack can hold
    if isinstance(value, list) and depth:
        return tuple(_key(item, depth - 1) for item in value)
    if value is None or isinstance(value, (int, bytes)):
        known: RowKey = value
        return known
    raise ValueError("not part of a key")


def _is_identity(key: RowKey, table: str) -> bool:
    names = IDENTITY[table]
    if not isinstance(key, tuple) or len(key) != len(names):
        return False
    raw = [TABLES[table][name].wire == "16s" for name in names]
    return (
        all(
            isinstance(part, bytes) if is_raw else isinstance(part, int) and 0 <= part < 1 << 64
            for part, is_raw in zip(key, raw, strict=True)
        )
        and 0 <= key[0] < 1 << 32
    )  # the pid
