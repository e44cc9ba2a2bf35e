"""A small bundle of the past, and the same with one section replaced and its checksums right."""

from __future__ import annotations

import functools
import struct
import tempfile
import zlib
from pathlib import Path

import msgpack
import numpy as np

from pbmon_client.history.block import HEADER_BYTES, parse_header
from pbmon_client.history.bundle import BUNDLE_HEADER_BYTES, BundleHeader
from pbmon_client.history.exporting import export
from pbmon_client.history.writer import HistoryWriter
from tests import past_host


@functools.cache
def whole() -> bytes:
    """Return a bundle of one block."""
    chance = np.random.default_rng(1)
    with tempfile.TemporaryDirectory(prefix="pbmon-bundle-") as name:
        with HistoryWriter(Path(name, "store"), sync=False) as writer:
            for second in range(3):
                at_ns = (past_host.MONDAY + second) * past_host.SECOND
                writer.tick(past_host.random_tick(chance, at_ns, 2))
        export(Path(name, "store"), Path(name, "bundle"))
        return Path(name, "bundle").read_bytes()


@functools.cache
def sections() -> tuple[bytes, ...]:
    """Return the sections of the block, inflated."""
    block = whole()[BUNDLE_HEADER_BYTES:]
    header = parse_header(block)
    assert header is not None
    at = HEADER_BYTES + header.directory_bytes
    found = []
    for size, _inflated, _crc in msgpack.unpackb(block[HEADER_BYTES:at]).values():
        found.append(zlib.decompress(block[at : at + size]))
        at += size
    return tuple(found)


def with_section(which: bytes, raw: bytes) -> bytes:
    """Return the bundle with ``raw`` as one of its sections."""
    block = whole()[BUNDLE_HEADER_BYTES:]
    header = parse_header(block)
    assert header is not None
    names = list(msgpack.unpackb(block[HEADER_BYTES : HEADER_BYTES + header.directory_bytes]))
    contents = [*sections()]
    contents[(which or b"\0")[0] % len(contents)] = raw
    packed = [zlib.compress(each) for each in contents]
    listed = msgpack.packb(
        {
            name: [len(data), len(content), zlib.crc32(data)]
            for name, data, content in zip(names, packed, contents, strict=True)
        }
    )
    body = b"".join(packed)
    head = bytearray(block[: HEADER_BYTES - 4])
    struct.pack_into("<II", head, 12, len(listed), len(body))
    struct.pack_into("<I", head, HEADER_BYTES - 8, zlib.crc32(listed))
    made = b"".join((head, struct.pack("<I", zlib.crc32(head)), listed, body))
    begin = past_host.MONDAY
    return b"".join((BundleHeader(begin, begin + 3, 1, len(made), redacted=False).packed(), made))
