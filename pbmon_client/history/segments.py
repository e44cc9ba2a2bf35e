"""Segment files: the directory of a store, and the blocks in its files.

A file holds the blocks of one tier and span of time, as they were appended. Its name says both.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Final, NamedTuple

from pbmon_client.history.block import HEADER_BYTES, MAGIC, VERSION, BlockHeader, parse_header
from pbmon_client.history.tiers import TIERS
from pbmond.given_file import open_given

TAIL: Final = "tail"
LOCK: Final = "lock"
_NAME: Final = re.compile(r"([0-9])-([0-9]{11})\.pbh")
_STRIDE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A file of the directory; ``begin`` is the first second of its span."""

    path: Path
    tier: int
    begin: int
    inode: int
    size: int

    @property
    def end(self) -> int:
        """The second at which its span ends."""
        return self.begin + TIERS[self.tier].span


def file_name(tier: int, second: int) -> str:
    """Return the name of the file that has the blocks of a tier and second."""
    return f"{tier}-{second // TIERS[tier].span * TIERS[tier].span:011d}.pbh"


def holds_store(directory: Path) -> bool:
    """Whether a directory is a store, or was one once. OSError if it cannot be read."""
    names = (each.name for each in directory.iterdir())
    return any(name in (TAIL, LOCK) or _NAME.fullmatch(name) for name in names)


def files_of(directory: Path) -> list[SegmentFile]:
    """Return the segment files of a directory, by tier and time."""
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            if match is None or int(match[1]) >= len(TIERS):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # evicted just now
                continue
            path = Path(entry.path)
            found.append(
                SegmentFile(path, int(match[1]), int(match[2]), status.st_ino, status.st_size)
            )
    return sorted(found, key=lambda each: (each.tier, each.begin))


class BlockAt(NamedTuple):
    """A block, and where it begins in its file."""

    path: Path
    at: int
    header: BlockHeader


@dataclass(frozen=True, slots=True)
class Missing:
    """Ticks of a tier between two seconds that cannot be read, and why.

    All of them are before ``last``, if that is known.
    """

    tier: int
    begin: int
    end: int
    why: str
    last: float = inf


@dataclass(slots=True)
class Scanned:
    """What a file has: sound blocks up to byte ``end``, and what is damaged."""

    inode: int
    blocks: list[BlockAt] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    end: int = 0

    @property
    def ends_damaged(self) -> bool:
        """Whether there is something behind ``end`` that is not a block being written."""
        return bool(self.missing) and self.missing[-1].last == inf


def scan(file: SegmentFile, known: Scanned | None = None) -> Scanned:
    """Read the headers of a file. OSError if it cannot be read.

    ``known`` is what an earlier scan found: only what was appended since is read. A block that is
    not whole at the end of the file is being written, or was when the writer was killed; its
    ticks are in the finer tier or in the tail. What is damaged is stepped over.
    """
    found = known if known is not None and known.inode == file.inode else Scanned(file.inode)
    if found.end == file.size:
        return found
    with open_given(file.path) as stream:
        descriptor, at = stream.fileno(), found.end
        while at + HEADER_BYTES <= file.size:
            header = parse_header(os.pread(descriptor, HEADER_BYTES, at))
            if header is None:
                to = _next_block(descriptor, at + 1, file.size)
                if to is None:
                    _damaged(found, file, None)
                    break
                _damaged(found, file, to[1])
                at = to[0]
                continue
            end = at + header.size
            if end > file.size:
                break
            if header.version > VERSION:
                _newer(found, file, header)
            elif header.tier == file.tier and header.buckets:
                found.blocks.append(BlockAt(file.path, at, header))
            at = found.end = end
    return found


def _newer(found: Scanned, file: SegmentFile, header: BlockHeader) -> None:
    why = f"written by a newer version of pbmon ({header.version})"
    found.missing.append(Missing(file.tier, header.begin, header.end, why, header.last))


def _damaged(found: Scanned, file: SegmentFile, following: BlockHeader | None) -> None:
    begin = found.blocks[-1].header.end if found.blocks else file.begin
    end = file.end if following is None else following.begin
    why = f"{file.path.name} is damaged"
    last = inf if following is None else following.first
    missing = Missing(file.tier, min(begin, end), max(begin, end), why, last)
    if missing not in found.missing:
        found.missing.append(missing)


def _next_block(descriptor: int, at: int, size: int) -> tuple[int, BlockHeader] | None:
    """Return the next sound block at or after a place."""
    while (at := _data_from(descriptor, at, size)) < size:
        data = os.pread(descriptor, _STRIDE + HEADER_BYTES, at)
        for place in _places(data):
            header = parse_header(data, place)
            if header is not None and at + place + header.size <= size:
                return at + place, header
        at += _STRIDE
    return None


def _data_from(descriptor: int, at: int, size: int) -> int:
    """Return where a file goes on after a hole, which a foreign one may have terabytes of."""
    try:
        return os.lseek(descriptor, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # lseek(2): nothing but a hole up to the end
            return size
        raise


def _places(data: bytes) -> Iterator[int]:
    place = data.find(MAGIC)
    while 0 <= place < _STRIDE:
        yield place
        place = data.find(MAGIC, place + 1)


def holes(blocks: list[BlockAt], tier: int) -> list[Missing]:
    """Return what is missing between blocks of a tier, which are in the order of their ticks.

    The slots beside a hole may have lost some of their ticks. A first block of nothing says that
    what was before it is lost.
    """
    width = TIERS[tier].width
    found = []
    if blocks and blocks[0].header.says_loss:
        header = blocks[0].header
        found.append(Missing(tier, 0, header.end, "what was before is lost", header.first))
    for before, after in pairwise(blocks):
        if before.header.last < after.header.first:
            times = sorted((before.header.end, after.header.begin))
            missing = (times[0] - width, times[1] + width, "blocks are missing", after.header.first)
            found.append(Missing(tier, *missing))
    return found
