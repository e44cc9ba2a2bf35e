"""Export and import: a range of a store as a bundle, and a bundle as a directory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pbmon_client.history.block import BlockHeader, encode_block
from pbmon_client.history.buckets import Bucket
from pbmon_client.history.bundle import (
    BUNDLE_HEADER_BYTES,
    BundleHeader,
    blocks_in,
    indexer_of,
)
from pbmon_client.history.finding import Finder, unreadable
from pbmon_client.history.handles import new_handles
from pbmon_client.history.index import TailBlock
from pbmon_client.history.loading import DAMAGE, LoadedBlock, buckets_of
from pbmon_client.history.packing import MalformedError
from pbmon_client.history.plan import reach, rounded
from pbmon_client.history.redaction import Pseudonyms
from pbmon_client.history.segments import BlockAt, Missing, file_name
from pbmon_client.history.tiers import TIERS
from pbmond.given_file import open_given


class NothingError(ValueError):
    """Nothing was recorded in the range."""


@dataclass(slots=True)
class Exported:
    """What a bundle has: its range in seconds, its size, and what could not be read of it."""

    since: int
    until: int
    size: int = 0
    blocks: int = 0
    missing: list[Missing] = field(default_factory=list)


def export(
    place: Path,
    file: Path,
    since: int | None = None,
    until: int | None = None,
    *,
    redact: bool = False,
    force: bool = False,
) -> Exported:
    """Write a range of the store at ``place`` (None: its begin, its end) to a bundle.

    The range is rounded outward to what is kept. The file is there whole or not at all.
    FileExistsError if it is there already, unless ``force``; NothingError; MalformedError if
    ``place`` is a file but no bundle; OSError.
    """
    if not force and os.path.lexists(file):
        raise FileExistsError(f"{file} is there already")
    if os.path.lexists(file) and not file.is_file():
        raise FileExistsError(f"{file} is no regular file")
    finder = Finder(indexer_of(place).read(), None)
    exported = Exported(*_range(finder, since, until))
    with _about(file):
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name[:100]}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            _write(stream, finder, exported, redact=redact)
        if not force:  # never over a file that came meanwhile; a link is not for every file system
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        Path(name).replace(file)
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()
    return exported


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Let an error name ``path``; a temporary file's says nothing to whoever asked."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def _range(finder: Finder, since: int | None, until: int | None) -> tuple[int, int]:
    headers = [each.header for place in range(len(TIERS)) for each in finder.blocks(place)]
    if not headers:
        missing = finder.index.missing
        raise NothingError(missing[-1].why if missing else "nothing was recorded")
    begin = min(each.begin for each in headers) if since is None else since
    end = max(each.end for each in headers) if until is None else until
    if begin >= end:
        raise NothingError("nothing was recorded in this range")
    return rounded(begin, end, reach(finder.index.kept))


def _write(stream: BinaryIO, finder: Finder, exported: Exported, *, redact: bool) -> None:
    stream.write(bytes(BUNDLE_HEADER_BYTES))
    pseudonyms = Pseudonyms() if redact else None
    exported.missing += [
        each
        for each in finder.index.missing
        if each.begin < exported.until and exported.since < each.end
    ]
    first, last = _ticks(finder, exported)
    for place in range(len(TIERS)):
        for block in finder.blocks(place):
            if block.header.last <= first or block.header.first >= last:
                continue
            for data in _parts(finder, block, (first, last), pseudonyms, exported.missing):
                stream.write(data)
                exported.blocks += 1
                exported.size += len(data)
    header = BundleHeader(
        exported.since, exported.until, exported.blocks, exported.size, redact
    ).packed()
    exported.size += len(header)
    stream.seek(0)
    stream.write(header)
    stream.flush()
    os.fsync(stream.fileno())


def _ticks(finder: Finder, exported: Exported) -> tuple[int, int]:
    """Return the first tick of the range, and the one behind its last."""
    found: list[tuple[int, int]] = []
    for place, tier in enumerate(TIERS):
        for each in finder.blocks(place):
            header = each.header
            if header.begin >= exported.until or header.end <= exported.since:
                continue
            if exported.since <= header.begin and header.end <= exported.until:
                found.append((header.first, header.last))
                continue
            loaded = finder.load(each)
            if isinstance(loaded, Missing):
                continue
            host = loaded.host
            ends = [*host.first[1:].tolist(), header.last]
            slots = zip(host.slots.tolist(), host.first.tolist(), ends, strict=True)
            found += [
                (start, end)
                for slot, start, end in slots
                if exported.since <= slot and slot + tier.width <= exported.until
            ]
    if not found:
        raise NothingError("nothing was recorded in this range")
    return min(start for start, _ in found), max(end for _, end in found)


def _parts(
    finder: Finder,
    block: BlockAt | TailBlock,
    ticks: tuple[int, int],
    pseudonyms: Pseudonyms | None,
    missing: list[Missing],
) -> Iterator[bytes]:
    """Yield a block with its buckets of some ticks, as it is if that is all of them."""
    loaded = finder.load(block)
    if isinstance(loaded, Missing):
        missing.append(loaded)
        return
    header = loaded.header
    if pseudonyms is None and ticks[0] <= header.first and header.last <= ticks[1]:
        yield loaded.data
        return
    try:
        data = _encoded(loaded, ticks, pseudonyms)
    except DAMAGE as error:
        missing.append(unreadable(header, error))
        return
    if data is not None:
        yield data


def _encoded(
    loaded: LoadedBlock, ticks: tuple[int, int], pseudonyms: Pseudonyms | None
) -> bytes | None:
    handles = new_handles() if pseudonyms is None else pseudonyms.handles()
    buckets: list[Bucket] = [
        bucket if pseudonyms is None else pseudonyms.bucket(bucket)
        for bucket in buckets_of(loaded, handles)
        if ticks[0] <= bucket.first and bucket.end <= ticks[1]
    ]
    if not buckets:
        return None
    tier = loaded.header.tier
    return encode_block(tier, TIERS[tier].width, buckets, handles)


def unpack_bundle(file: Path, directory: Path) -> int:
    """Make a directory of a bundle, which is a store, and return how many blocks it has.

    The names of its files are made here. FileExistsError if the directory is there and not empty;
    MalformedError if the bundle is not sound; OSError.
    """
    if os.path.lexists(directory) and (not directory.is_dir() or any(directory.iterdir())):
        raise FileExistsError(f"{directory} is there already")
    with _about(directory):
        made = Path(tempfile.mkdtemp(prefix=f".{directory.name[:100]}.", dir=directory.parent))
    count = 0
    try:
        for header, data in _blocks_of(file):
            with _about(directory):
                _append(made / file_name(header.tier, header.begin), data)
            count += 1
        with _about(directory):
            made.rename(directory)
    except BaseException:
        for path in made.iterdir():
            path.unlink()
        made.rmdir()
        raise
    return count


def _blocks_of(file: Path) -> Iterator[tuple[BlockHeader, bytes]]:
    """Yield the blocks of a bundle, all of which have sound headers before the first one comes."""
    with _about(file), open_given(file) as stream:
        for block in list(blocks_in(stream, file)):
            data = os.pread(stream.fileno(), block.header.size, block.at)
            if len(data) != block.header.size:
                raise MalformedError("it is not whole")
            yield block.header, data


def _append(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "ab") as stream:
        stream.write(data)
