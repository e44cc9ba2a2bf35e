"""Reading one value from a bbolt file (podman 4, containerd), without its lock and without writing.

The layout is bbolt's (page.go, bucket.go): pages of a fixed size, two of them with the number of
the root page; a tree of branch and leaf pages; in a leaf, values or further trees ("buckets"),
small ones in place. The writer copies a page before it changes it, so a whole tree stays readable
for a while.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left, bisect_right
from typing import Final

MAX_DEPTH: Final = 32
MAX_PAGE_BYTES: Final = 16 << 20  # a page with its overflow

_PAGE: Final = struct.Struct("<QHHI")  # id, kind, elements, further pages
_META: Final = struct.Struct("<4I5Q")  # magic, version, page size, _, root, _, _, _, number
_LEAF: Final = struct.Struct("<4I")  # flags, where the key is from here, sizes of key and value
_BRANCH: Final = struct.Struct("<2IQ")  # where the key is from here, its size, page
_BUCKET: Final = struct.Struct("<2Q")  # root page, sequence
_MAGIC: Final = 0xED0CDAED
_VERSION: Final = 2
_IS_BRANCH, _IS_LEAF, _IS_META = 1, 2, 4
_IS_BUCKET: Final = 1


class BoltError(ValueError):
    """The file is not a bbolt file, or is being changed."""


class Bolt:
    """An open bbolt file."""

    def __init__(self, fd: int) -> None:
        """Raise BoltError for what is malformed, as ``get`` does; or OSError."""
        self._fd = fd
        self._size, self._root = self._newest()

    def get(self, *path: bytes) -> bytes | None:
        """Return the value at the end of ``path``, which leads through buckets; None: none is."""
        try:
            found: tuple[bool, bytes] | None = self._find(self._page(self._root), path[0])
            for key in path[1:]:
                if found is None or not found[0]:
                    return None
                found = self._find(self._bucket(found[1]), key)
        except (struct.error, OverflowError) as error:
            raise BoltError(str(error)) from None
        return None if found is None or found[0] else found[1]

    def _newest(self) -> tuple[int, int]:
        """Return page size and root page, from the newer of the two pages that say so."""
        first = os.pread(self._fd, 4096, 0)
        try:
            size = _META.unpack_from(first, _PAGE.size)[2]
            if size not in (1 << shift for shift in range(9, 17)):
                raise BoltError("no page size")
            metas = [
                _META.unpack_from(os.pread(self._fd, 4096, at * size), _PAGE.size) for at in (0, 1)
            ]
        except struct.error as error:
            raise BoltError(str(error)) from None
        good = [meta for meta in metas if meta[:3] == (_MAGIC, _VERSION, size)]
        if not good:
            raise BoltError("no root")
        return size, max(good, key=lambda meta: meta[8])[4]

    def _page(self, number: int) -> bytes:
        """Read a page, with those that follow it where it is a long one."""
        at = number * self._size
        page = os.pread(self._fd, self._size, at)
        size = (_PAGE.unpack_from(page)[3] + 1) * self._size
        if size > MAX_PAGE_BYTES:
            raise BoltError("a page that is too long")
        return page if size == self._size else os.pread(self._fd, size, at)

    def _bucket(self, value: bytes) -> bytes:
        root, _ = _BUCKET.unpack_from(value)
        return self._page(root) if root else value[_BUCKET.size :]

    def _find(self, page: bytes, wanted: bytes, depth: int = 0) -> tuple[bool, bytes] | None:
        """Return whether there is a bucket behind a key of this tree, and the value."""
        _, kind, count, _ = _PAGE.unpack_from(page)
        if depth > MAX_DEPTH:
            raise BoltError("a tree that is too deep")
        if kind == _IS_BRANCH:
            keys = [self._key(page, at, *_BRANCH.unpack_from(page, at)[:2]) for at in _at(count)]
            below = max(0, bisect_right(keys, wanted) - 1)
            if not count:
                return None
            number = _BRANCH.unpack_from(page, _at(count)[below])[2]
            return self._find(self._page(number), wanted, depth + 1)
        if kind != _IS_LEAF:
            raise BoltError(f"a page of kind {kind}")
        elements = [(at, *_LEAF.unpack_from(page, at)) for at in _at(count)]
        keys = [self._key(page, at, where, size) for at, _, where, size, _ in elements]
        place = bisect_left(keys, wanted)
        if place == count or keys[place] != wanted:
            return None
        at, flags, where, size, length = elements[place]
        value = page[at + where + size : at + where + size + length]
        if len(value) != length:
            raise BoltError("a value that ends early")
        return bool(flags & _IS_BUCKET), value

    @staticmethod
    def _key(page: bytes, at: int, where: int, size: int) -> bytes:
        return page[at + where : at + where + size]


def _at(count: int) -> range:
    """Return where the elements of a page are; all kinds have one size."""
    return range(_PAGE.size, _PAGE.size + count * _LEAF.size, _LEAF.size)
