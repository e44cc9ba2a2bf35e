"""The index of a store, also while it is written: its blocks, its tail, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pbmon_client.history.block import VERSION, BlockHeader, encode_block, parse_header
from pbmon_client.history.buckets import Bucket
from pbmon_client.history.handles import HandlesByTable, new_handles
from pbmon_client.history.loading import LoadedBlock
from pbmon_client.history.packing import MalformedError
from pbmon_client.history.plan import TierKept
from pbmon_client.history.segments import (
    TAIL,
    BlockAt,
    Missing,
    Scanned,
    SegmentFile,
    files_of,
    holes,
    scan,
)
from pbmon_client.history.tail import TailFrame, buckets_of_tail, frames_of
from pbmon_client.history.tiers import TIERS
from pbmond.given_file import read_given

_TRIES: Final = 5
#: A tail has a minute, which is a few megabytes of a busy host.
_TAIL_BYTES: Final = 1 << 28
_SECOND: Final = 1_000_000_000


class TailBlock:
    """The frames of the tail that are in no block, as a block that is made when it is needed."""

    def __init__(self, data: bytes, frames: Sequence[TailFrame], sealed: int) -> None:
        """Take the tail's frames, of which at least one is not ``sealed``."""
        self._data, self._frames, self._sealed = data, frames, sealed
        open_ = [frame for frame in frames if frame.first >= sealed]
        self.header: Final = BlockHeader(
            version=VERSION,
            tier=0,
            buckets=len(open_),
            directory_bytes=0,
            body_bytes=0,
            begin=min(frame.slot for frame in open_),
            end=max(frame.slot for frame in open_) + TIERS[0].width,
            first=open_[0].first,
            last=open_[-1].last,
            since_ns=min(frame.since_ns for frame in open_),
            time_ns=max(frame.time_ns for frame in open_),
            covered_ns=sum(frame.covered_ns for frame in open_),
            directory_crc=0,
        )
        self._loaded: LoadedBlock | None = None

    def load(self) -> LoadedBlock:
        """Return the block. One of DAMAGE if the frames are not sound."""
        if self._loaded is None:
            handles = new_handles()
            buckets = [
                bucket
                for bucket in buckets_of_tail(self._data, self._frames, handles)
                if bucket.first >= self._sealed
            ]
            self._loaded = encoded(buckets, handles)
        return self._loaded


def encoded(buckets: Sequence[Bucket], handles: HandlesByTable) -> LoadedBlock:
    """Return buckets of the finest tier as a block."""
    data = encode_block(0, TIERS[0].width, buckets, handles, level=0)
    header = parse_header(data)
    if header is None:
        raise MalformedError("the tail makes no block")
    return LoadedBlock(header, data)


@dataclass(frozen=True, slots=True)
class UnreadTail:
    """Why what the tail has, or a part of it, cannot be read; ``until`` is when it was written."""

    why: str
    until: int


@dataclass(frozen=True)
class Index:
    """What a store had at one moment. ``blocks`` are by tier, in the order of their ticks.

    ``tail`` has the ticks that are in no block.
    """

    files: tuple[SegmentFile, ...]
    blocks: tuple[tuple[BlockAt, ...], ...]
    missing: tuple[Missing, ...]
    tail: TailBlock | None
    kept: tuple[TierKept, ...]


class Indexer:
    """Reads the index again whenever it is asked, and only what is new of it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._scanned: dict[Path, Scanned] = {}
        self._tail_bytes = b""
        self._tail: TailBlock | None = None
        self._damaged = False
        self._sealed = 0
        #: What was last read of the directory, and its index.
        self._last: tuple[object, Index | None] = (None, None)

    def read(self) -> Index:
        """Return the index. OSError if the directory cannot be read."""
        files = files_of(self._directory)
        for _ in range(_TRIES):
            # The tail is emptied after a block was written: if no file grew in between, they fit.
            tail, unread = self._read_tail()
            again = files_of(self._directory)
            if again == files:
                break
            files = again
        what, index = self._last
        # A file that could not be read is tried again.
        if index is None or what != (files, tail, unread) or len(self._scanned) < len(files):
            index = self._index(files, tail, unread)
            self._last = (files, tail, unread), index
        return index

    def _read_tail(self) -> tuple[bytes | None, UnreadTail]:
        """Return the tail, None if it cannot be read; and what is to be said in that case."""
        path, written = self._directory / TAIL, 0
        try:
            written = int(path.stat().st_mtime) + 1
            return read_given(path, _TAIL_BYTES), UnreadTail("the tail is damaged", written)
        except FileNotFoundError:  # a store that was exported
            return b"", UnreadTail("", 0)
        except OSError as error:
            return None, UnreadTail(f"the tail: {error.strerror or error}", written)

    def _index(
        self, files: list[SegmentFile], tail_bytes: bytes | None, unread: UnreadTail
    ) -> Index:
        tiers: list[list[BlockAt]] = [[] for _ in TIERS]
        missing: list[Missing] = []
        scanned = {}
        for file in files:
            try:
                found = scanned[file.path] = scan(file, self._scanned.get(file.path))
            except OSError as error:
                why = f"{file.path.name}: {error.strerror or error}"
                missing.append(Missing(file.tier, file.begin, file.end, why))
                continue
            tiers[file.tier] += found.blocks
            missing += found.missing
        self._scanned = scanned
        sealed = max((block.header.last for block in tiers[0]), default=0)
        tail = self._parsed_tail(tail_bytes or b"", sealed)
        whole = tail_bytes is not None and not self._damaged
        return index_of(files, tiers, missing, tail, None if whole else unread)

    def _parsed_tail(self, data: bytes, sealed: int) -> TailBlock | None:
        if (data, sealed) != (self._tail_bytes, self._sealed):
            frames, self._damaged = frames_of(data)
            some = bool(frames) and frames[-1].first >= sealed
            self._tail = TailBlock(data, frames, sealed) if some else None
            self._tail_bytes, self._sealed = data, sealed
        return self._tail


def index_of(
    files: Sequence[SegmentFile],
    found: Sequence[list[BlockAt]],
    missing: Sequence[Missing],
    tail: TailBlock | None = None,
    unread: UnreadTail | None = None,
) -> Index:
    """Return the index of the blocks that were ``found``, by tier and in any order."""
    tiers = [_once(blocks) for blocks in found]
    every = [*missing]
    for place, blocks in enumerate(tiers):
        every += holes(blocks, place)
    every += _before_tail(tiers[0], tail)
    if unread is not None:
        begin = tail.header.end if tail is not None else _newest(tiers)
        every.append(Missing(0, begin, max(begin + TIERS[0].block, unread.until), unread.why))
    kept = [_kept(blocks, tail if not place else None) for place, blocks in enumerate(tiers)]
    return Index(tuple(files), tuple(map(tuple, tiers)), tuple(every), tail, tuple(kept))


def _once(blocks: list[BlockAt]) -> list[BlockAt]:
    """Return blocks in the order of their ticks, without those whose ticks others have."""
    result: list[BlockAt] = []
    for block in sorted(blocks, key=lambda each: (each.header.first, -each.header.last)):
        if not result or block.header.first >= result[-1].header.last:
            result.append(block)
    return result


def _before_tail(blocks: list[BlockAt], tail: TailBlock | None) -> list[Missing]:
    """Return what is missing between the finest tier and the tail."""
    if tail is None or not blocks or tail.header.first <= blocks[-1].header.last:
        return []
    ends = sorted((blocks[-1].header.end, tail.header.begin))
    return [Missing(0, ends[0], ends[1], "blocks are missing", tail.header.first)]


def _newest(tiers: Sequence[list[BlockAt]]) -> int:
    """Return the second after the newest tick that is in a block; 0: there is none."""
    newest = [blocks[-1].header for blocks in tiers if blocks]
    if not newest:
        return 0
    return max(newest, key=lambda header: header.last).time_ns // _SECOND + 1


def _kept(blocks: list[BlockAt], tail: TailBlock | None) -> TierKept:
    headers = [block.header for block in blocks]
    if tail is not None:
        headers.append(tail.header)
    if not headers:
        return TierKept()
    newest_ns = max(header.time_ns for header in headers)
    return TierKept(headers[0].first, headers[0].begin, headers[-1].last, newest_ns)
