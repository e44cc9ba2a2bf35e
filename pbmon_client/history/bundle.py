"""A bundle: blocks of a store, one after the other in one file, which may come from anybody.

Nothing is unpacked to read it. Before anything is read, its header, the headers of all blocks and
how much they inflate to are checked.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pbmon_client.history.block import HEADER_BYTES, VERSION, BlockHeader, parse_header
from pbmon_client.history.index import Index, Indexer, index_of
from pbmon_client.history.packing import MalformedError
from pbmon_client.history.sections import parse_directory
from pbmon_client.history.segments import BlockAt, Missing, SegmentFile
from pbmon_client.history.tiers import TIERS
from pbmond.given_file import open_given

MAGIC: Final = b"pbmB"
BUNDLE_VERSION: Final = 1
# Magic, version, flags; range; blocks, the bytes that follow; checksum of the bytes before.
_HEADER: Final = struct.Struct("<4sHHqqIQI")
BUNDLE_HEADER_BYTES: Final = _HEADER.size
_REDACTED: Final = 1
#: A store of a year has a few thousand blocks.
_MOST_BLOCKS: Final = 1 << 17
_MOST_BUCKETS: Final = 1 << 16
_MOST_DIRECTORY: Final = 1 << 16
#: What all blocks may inflate to: so much, and so many times the size of the bundle.
_INFLATED: Final = 64 << 20
_RATIO: Final = 50
#: The year 2242; as nanoseconds it is a signed number of 64 bits.
_LATEST_S: Final = 1 << 33
_MOST_TICKS: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class BundleHeader:
    """What a bundle says of itself: its range in seconds, its blocks, and the bytes that follow."""

    since: int
    until: int
    blocks: int
    size: int
    redacted: bool

    def packed(self) -> bytes:
        """Return the bytes of the header."""
        head = _HEADER.pack(
            *(MAGIC, BUNDLE_VERSION, _REDACTED * self.redacted),
            *(self.since, self.until, self.blocks, self.size, 0),
        )[:-4]
        return head + struct.pack("<I", zlib.crc32(head))


def read_header(stream: BinaryIO) -> BundleHeader:
    """Read the header of a bundle. MalformedError if this is none that can be read."""
    data = stream.read(BUNDLE_HEADER_BYTES)
    if len(data) < BUNDLE_HEADER_BYTES or not data.startswith(MAGIC):
        raise MalformedError("it is no bundle of pbmon's history")
    _magic, version, flags, since, until, blocks, size, crc = _HEADER.unpack(data)
    if zlib.crc32(data[:-4]) != crc:
        raise MalformedError("its header is damaged")
    if version > BUNDLE_VERSION:
        raise MalformedError(f"it was written by a newer version of pbmon ({version})")
    if blocks > _MOST_BLOCKS or not 0 <= since < until <= _LATEST_S:
        raise MalformedError("its header is not sound")
    return BundleHeader(since, until, blocks, size, bool(flags & _REDACTED))


def blocks_in(stream: BinaryIO, path: Path) -> Iterator[BlockAt]:
    """Yield every block of a bundle. MalformedError unless all of them are whole and sound.

    Whether what their sections say is sound shows when they are read.
    """
    bundle = read_header(stream)
    size = os.fstat(stream.fileno()).st_size
    if size != BUNDLE_HEADER_BYTES + bundle.size:
        raise MalformedError("it is not whole")
    at, inflated = BUNDLE_HEADER_BYTES, 0
    for _ in range(bundle.blocks):
        header = parse_header(os.pread(stream.fileno(), HEADER_BYTES, at))
        if header is None or at + header.size > size or not _is_sound(header):
            raise MalformedError("a block is damaged")
        if header.version <= VERSION:
            listed = os.pread(stream.fileno(), header.directory_bytes, at + HEADER_BYTES)
            inflated += sum(each[2] for each in parse_directory(listed, header).values())
        if inflated > _INFLATED + _RATIO * size:
            raise MalformedError("it inflates to more than a bundle may")
        yield BlockAt(path, at, header)
        at += header.size
    if at != size:
        raise MalformedError("it has bytes that belong to no block")


def _is_sound(header: BlockHeader) -> bool:
    return (
        header.tier < len(TIERS)
        and 0 < header.buckets <= _MOST_BUCKETS
        and header.directory_bytes <= _MOST_DIRECTORY
        and 0 <= header.begin < header.end <= _LATEST_S
        and 0 < header.first < header.last <= _MOST_TICKS
        and 0 <= header.since_ns <= header.time_ns <= _LATEST_S * 10**9
        and header.covered_ns >= 0
    )


class BundleIndexer:
    """Reads the index of a bundle, which does not change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._index: Index | None = None

    def read(self) -> Index:
        """Return the index. OSError if the file cannot be read, MalformedError if it is none."""
        if self._index is None:
            self._index = self._made()
        return self._index

    def _made(self) -> Index:
        tiers: list[list[BlockAt]] = [[] for _ in TIERS]
        missing = []
        with open_given(self._path) as stream:
            for block in blocks_in(stream, self._path):
                header = block.header
                if header.version <= VERSION:
                    tiers[header.tier].append(block)
                    continue
                why = f"written by a newer version of pbmon ({header.version})"
                missing.append(Missing(header.tier, header.begin, header.end, why, header.last))
        files = [
            SegmentFile(self._path, tier, blocks[0].header.begin, 0, _size(blocks))
            for tier, blocks in enumerate(tiers)
            if blocks
        ]
        return index_of(files, tiers, missing)


def _size(blocks: list[BlockAt]) -> int:
    return sum(block.header.size for block in blocks)


def indexer_of(place: Path) -> Indexer | BundleIndexer:
    """Return what reads the index of a store: a directory, or a bundle."""
    return BundleIndexer(place) if place.is_file() else Indexer(place)
