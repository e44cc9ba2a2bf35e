"""Blocks: some buckets of a tier as bytes, self-contained, by column and compressed.

A block is a header, a directory and the sections that it lists; ``packaging/doc/history.md`` has
the format. Readers of another version know columns by their names.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgpack
import numpy as np

from pbmon_client.history.buckets import Bucket
from pbmon_client.history.handles import Handles, HandlesByTable
from pbmon_client.history.layout import LAYOUTS, TOTALS
from pbmon_client.history.packing import Ints, Unsigned, pack, starts, steps

MAGIC: Final = b"pbmH"
VERSION: Final = 1
# Magic, version, tier, buckets; directory and body bytes; slots; ticks; covered; two checksums.
_HEADER: Final = struct.Struct("<4sHBxIIIqqQQqqqII")
HEADER_BYTES: Final = _HEADER.size
HOST: Final = "host"
#: zlib's, 5 of 9 and 6 of 9. With less memory a section is coded in shorter stretches, and so its
#: byte planes, which are unlike each other, each by itself: 1.5 % less than with the usual 6 and 8.
_LEVEL: Final = 5
_MEMORY: Final = 6


def labels_of(table: str) -> str:
    """Return the name of the section with a table's other columns."""
    return f"{table}.labels"


class BlockHeader(NamedTuple):
    """The header of a block: slots are ``begin`` to ``end`` (s), ticks ``first`` to ``last``.

    Both ends are exclusive. All ticks before ``last`` are in the tier's blocks up to this one.
    """

    version: int
    tier: int
    buckets: int
    directory_bytes: int
    body_bytes: int
    begin: int
    end: int
    first: int
    last: int
    since_ns: int
    time_ns: int
    covered_ns: int
    directory_crc: int

    @property
    def size(self) -> int:
        """How many bytes the whole block has."""
        return HEADER_BYTES + self.directory_bytes + self.body_bytes

    @property
    def says_loss(self) -> bool:
        """Whether it is there to say that ticks before it are lost, and has none of any length.

        Where a store begins as it should, tick 1 is in its first block.
        """
        return self.buckets == 1 and not self.covered_ns and self.first > 1


def parse_header(data: bytes | memoryview, at: int = 0) -> BlockHeader | None:
    """Return the header at a place, None if there is no whole and sound one."""
    if len(data) - at < HEADER_BYTES:
        return None
    values = _HEADER.unpack_from(data, at)
    if values[0] != MAGIC or zlib.crc32(data[at : at + HEADER_BYTES - 4]) != values[-1]:
        return None
    return BlockHeader._make(values[1:-1])


def encode_block(
    tier: int, width: int, buckets: Sequence[Bucket], handles: HandlesByTable, level: int = _LEVEL
) -> bytes:
    """Encode the buckets of one tier, in the order of their ticks. There is at least one."""
    begin = min(bucket.slot for bucket in buckets)
    since_ns = min(bucket.since_ns for bucket in buckets)
    sections = {HOST: _host(buckets, begin, since_ns)}
    for table in LAYOUTS:
        sections[table], sections[labels_of(table)] = _table(table, buckets, handles[table])
    directory: dict[str, tuple[int, int, int]] = {}
    body = []
    for name, section in sections.items():
        raw = msgpack.packb(section)
        deflater = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS, _MEMORY)
        body.append(deflater.compress(raw) + deflater.flush())
        directory[name] = (len(body[-1]), len(raw), zlib.crc32(body[-1]))
    listed = msgpack.packb(directory)
    head = _HEADER.pack(
        *(MAGIC, VERSION, tier, len(buckets), len(listed), sum(map(len, body))),
        *(begin, max(bucket.slot for bucket in buckets) + width),
        *(buckets[0].first, buckets[-1].end, since_ns),
        *(max(bucket.time_ns for bucket in buckets), sum(bucket.covered_ns for bucket in buckets)),
        *(zlib.crc32(listed), 0),
    )[:-4]
    return b"".join((head, struct.pack("<I", zlib.crc32(head)), listed, *body))


def _host(buckets: Sequence[Bucket], begin: int, since_ns: int) -> dict[str, Any]:
    texts = _SectionTexts()
    totals = np.array([bucket.totals for bucket in buckets])
    return {
        "columns": {
            "slot": pack([bucket.slot - begin for bucket in buckets]),
            "first": pack([bucket.first - buckets[0].first for bucket in buckets]),
            "since_ns": pack([bucket.since_ns - since_ns for bucket in buckets]),
            "time_ns": pack([bucket.time_ns - since_ns for bucket in buckets]),
            "now_ns": pack([bucket.now_ns for bucket in buckets]),
            "covered_ns": pack([bucket.covered_ns for bucket in buckets]),
            "host": pack([texts.number(bucket.host.encode()) for bucket in buckets]),
            "boot_id": pack([texts.number(bucket.boot_id.encode()) for bucket in buckets]),
            "epoch": pack([texts.number(bucket.epoch.encode()) for bucket in buckets]),
        },
        "counters": {name: pack(column) for name, column in zip(TOTALS, totals.T, strict=True)},
        "cumulative": cumulative_of(buckets[-1]),
        "texts": texts.every,
    }


def cumulative_of(bucket: Bucket) -> dict[str, int] | None:
    """Return the cumulative totals of a bucket's last tick by name, without those that are 0."""
    if bucket.cumulative is None:
        return None
    named = zip(TOTALS, bucket.cumulative.tolist(), strict=True)
    return {name: value for name, value in named if value}


class _SectionTexts:
    """Texts of a section, each once; keys are texts, or numbers of texts."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    def number(self, key: Any) -> int:  # noqa: ANN401 - whatever can be a key
        return self._numbers.setdefault(key, len(self._numbers))

    def numbers(self, keys: Sequence[Any]) -> list[int]:
        for key in dict.fromkeys(keys):
            self.number(key)
        return [*map(self._numbers.__getitem__, keys)]

    @property
    def every(self) -> list[Any]:
        return list(self._numbers)


def _table(
    table: str, buckets: Sequence[Bucket], handles: Handles
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a table's section of identities and counters, and the one of its other columns."""
    layout = LAYOUTS[table]
    cells = [bucket.tables[table] for bucket in buckets]
    owners = np.concatenate([each.handles for each in cells])
    ordinals = np.repeat(np.arange(len(buckets)), [len(each.keys) for each in cells])
    rows, row_of = _ordered(owners, handles)
    entries = row_of * len(buckets) + ordinals
    values = np.concatenate([each.values for each in cells])
    numbers = np.concatenate([each.counters for each in cells])
    order = np.argsort(entries, kind="stable")
    entries, values, numbers = entries[order], values[order], numbers[order]
    section = {
        **_columns(layout.identity, rows, handles),
        **_runs(entries, numbers, len(rows), len(buckets)),
        "counters": {
            name: pack(values[numbers == number]) for number, name in enumerate(layout.counters)
        },
    }
    others = [name for name in layout.columns if name not in layout.identity]
    return section, _columns(others, rows, handles)


def _ordered(owners: Ints, handles: Handles) -> tuple[Unsigned, Ints]:
    """Return the rows in the order of their identity, and the row of each cell."""
    layout = handles.layout
    used, place = np.unique(owners, return_inverse=True)
    rows = handles.rows(used)
    keys = [
        _ranks(rows[:, layout.place[name]], handles)
        if name in layout.texts
        else rows[:, layout.place[name]]
        for name in layout.identity
    ]
    order = np.lexsort(keys[::-1])
    position = np.empty(len(used), np.int64)
    position[order] = np.arange(len(used))
    return rows[order], position[place]


def _ranks(texts: Unsigned, handles: Handles) -> Ints:
    """Return numbers in the order of the texts."""
    used, place = np.unique(texts, return_inverse=True)
    words = [text or b"" for text in handles.texts(used.tolist())]
    ranks = np.empty(len(used), np.int64)
    ranks[sorted(range(len(used)), key=words.__getitem__)] = np.arange(len(used))
    return ranks[place]


def _columns(names: Sequence[str], rows: Unsigned, handles: Handles) -> dict[str, Any]:
    layout = handles.layout
    texts = _SectionTexts()
    columns = {}
    for name in names:
        column = rows[:, layout.place[name]]
        columns[name] = pack(texts.numbers(column.tolist()) if name in layout.texts else column)
    return {
        "columns": columns,
        "are_texts": sorted(layout.texts & {*names}),
        "texts": handles.texts(texts.every),
    }


def _runs(entries: Ints, numbers: Ints, rows: int, buckets: int) -> dict[str, Any]:
    """Return how many entries each row has, the steps between their buckets, and their counters."""
    first = starts(entries)
    masks = np.bitwise_or.reduceat(1 << numbers, first) if len(first) else entries
    row, ordinal = np.divmod(entries[first], buckets)
    step = steps(ordinal)
    begins = starts(row)
    step[begins] = ordinal[begins]
    return {
        "rows": rows,
        "count": pack(np.bincount(row, minlength=rows)),
        "step": pack(step),
        "mask": pack(masks),
    }
