"""Writes bbolt files: whole trees, in pages of their own or in place."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

SIZE: Final = 4096
#: Values by key; a bucket is a tree itself.
Tree: TypeAlias = Mapping[bytes, Any]


class _Writer:
    def __init__(self, fan_out: int, inline: bool) -> None:
        self.pages: list[bytes] = [b"", b""]  # the two that name the root
        self._fan_out = fan_out
        self._inline = inline

    def tree(self, tree: Tree) -> int:
        """Write a tree; return its root page."""
        items = sorted(tree.items())
        leaves = [items[at : at + self._fan_out] for at in range(0, len(items), self._fan_out)]
        numbers = [self.page(self.leaf(part)) for part in leaves or [[]]]
        if len(numbers) == 1:
            return numbers[0]
        keys = [part[0][0] for part in leaves]
        where = 16 * len(keys)
        heads = body = b""
        for at, (key, number) in enumerate(zip(keys, numbers, strict=True)):
            heads += struct.pack("<2IQ", where - 16 * at + len(body), len(key), number)
            body += key
        return self.page(struct.pack("<QHHI", 0, 1, len(keys), 0) + heads + body)

    def leaf(self, items: list[tuple[bytes, Any]]) -> bytes:
        where = 16 * len(items)
        heads = body = b""
        for at, (key, value) in enumerate(items):
            data = value if isinstance(value, bytes) else self.bucket(value)
            flags = int(not isinstance(value, bytes))
            heads += struct.pack("<4I", flags, where - 16 * at + len(body), len(key), len(data))
            body += key + data
        return struct.pack("<QHHI", 0, 2, len(items), 0) + heads + body

    def bucket(self, tree: Tree) -> bytes:
        if self._inline:
            return struct.pack("<2Q", 0, 0) + self.leaf(sorted(tree.items()))
        return struct.pack("<2Q", self.tree(tree), 0)

    def page(self, data: bytes) -> int:
        number, more = len(self.pages), (len(data) - 1) // SIZE
        data = data[:12] + struct.pack("<I", more) + data[16:]
        padded = data.ljust((more + 1) * SIZE, b"\0")
        self.pages += [padded[at : at + SIZE] for at in range(0, len(padded), SIZE)]
        return number


def bolt_file(tree: Tree, *, fan_out: int = 1000, inline: bool = False) -> bytes:
    """Return a file with ``tree``; an older root beside it leads nowhere."""
    writer = _Writer(fan_out, inline)
    root = writer.tree(tree)
    for at, (number, transaction) in enumerate(((root, 8), (1 << 40, 7))):
        head = struct.pack("<QHHI", at, 4, 0, 0)
        meta = struct.pack("<4I5Q", 0xED0CDAED, 2, SIZE, 0, number, 0, 0, 0, transaction)
        writer.pages[at] = (head + meta).ljust(SIZE, b"\0")
    return b"".join(writer.pages)
