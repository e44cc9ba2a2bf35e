"""The tail: one frame for each tick that is in no block yet, so that a crash loses none.

A frame has the rows that are new since the tail was emptied, and the cells of the tick.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack
import numpy as np

from pbmon_client.history.buckets import (
    COUNTER_BITS,
    COUNTER_MASK,
    NO_CELLS,
    Bucket,
    Cells,
    Handles,
    HandlesByTable,
)
from pbmon_client.history.layout import LAYOUTS, TOTALS, Row
from pbmon_client.history.packing import Ints, MalformedError, pack, summed, unpack

MAGIC: Final = b"pbmT"
VERSION: Final = 1
# Magic, version, bytes that follow, their checksum, and that of the 12 bytes before it.
_HEAD: Final = struct.Struct("<4sHxxIII")
_MOST: Final = 64 << 20
_LEVEL: Final = 1  # a frame lives for a minute
#: What a bucket says besides its cells and totals.
_PLAIN: Final = (
    *("slot", "first", "end", "since_ns", "time_ns", "now_ns", "covered_ns"),
    *("host", "boot_id", "epoch"),
)


@dataclass(slots=True)
class TailWriter:
    """Encodes the frames of a tail; knows which rows it has told already."""

    told: dict[str, dict[int, Row]] = field(default_factory=lambda: {name: {} for name in LAYOUTS})

    def frame(self, bucket: Bucket, handles: HandlesByTable) -> bytes:
        """Return the frame of a bucket. Its rows count as told once ``tell`` is called."""
        body = {name: getattr(bucket, name) for name in _PLAIN}
        body["totals"] = {
            name: value for name, value in zip(TOTALS, bucket.totals.tolist(), strict=True) if value
        }
        body["tables"] = {
            table: self._table(table, cells, handles[table])
            for table, cells in bucket.tables.items()
        }
        packed = zlib.compress(msgpack.packb(body), _LEVEL)
        head = _HEAD.pack(MAGIC, VERSION, len(packed), zlib.crc32(packed), 0)[:-4]
        return head + struct.pack("<I", zlib.crc32(head)) + packed

    def _table(self, table: str, cells: Cells, handles: Handles) -> dict[str, Any]:
        told = self.told[table]
        new = [
            (handle, row)
            for handle in dict.fromkeys(cells.handles.tolist())
            if told.get(handle) is not (row := handles.row(handle)) and told.get(handle) != row
        ]
        return {
            "columns": handles.layout.columns,
            "counters": handles.layout.counters,
            "rows": new,
            "keys": pack(np.diff(cells.keys, prepend=0)),
            "values": pack(cells.values),
        }

    def tell(self, bucket: Bucket, handles: HandlesByTable) -> None:
        """Take note that the frame of a bucket was written."""
        for table, cells in bucket.tables.items():
            row_of = handles[table].row
            self.told[table].update((h, row_of(h)) for h in cells.handles.tolist())

    def emptied(self) -> None:
        """Take note that the tail is empty."""
        for told in self.told.values():
            told.clear()


def frames(data: bytes, handles: HandlesByTable) -> Iterator[tuple[Bucket, int]]:
    """Yield the buckets of a tail, and where each frame ends, up to the first that is not sound."""
    known: dict[str, dict[int, int]] = {name: {} for name in LAYOUTS}
    at = 0
    while (body := _body(data, at)) is not None:
        at += _HEAD.size + len(body)
        try:
            bucket = _bucket(body, handles, known)
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
            return
        yield bucket, at


def damaged(data: bytes, at: int) -> bool:
    """Whether what is behind the last sound frame is more than a frame that was being written."""
    if len(data) - at < _HEAD.size:
        return False
    magic, _version, size, _crc, head_crc = _HEAD.unpack_from(data, at)
    sound = magic == MAGIC and zlib.crc32(data[at : at + _HEAD.size - 4]) == head_crc
    return not sound or len(data) - at >= _HEAD.size + size


def _body(data: bytes, at: int) -> bytes | None:
    if len(data) - at < _HEAD.size:
        return None
    magic, version, size, crc, head_crc = _HEAD.unpack_from(data, at)
    body = data[at + _HEAD.size : at + _HEAD.size + size]
    sound = magic == MAGIC and zlib.crc32(data[at : at + _HEAD.size - 4]) == head_crc
    sound = sound and version <= VERSION and len(body) == size
    return body if sound and zlib.crc32(body) == crc else None


def _bucket(packed: bytes, handles: HandlesByTable, known: dict[str, dict[int, int]]) -> Bucket:
    try:
        raw = zlib.decompressobj().decompress(packed, _MOST)
        body = msgpack.unpackb(raw, raw=False, strict_map_key=False)
    except (zlib.error, msgpack.UnpackException) as error:
        raise MalformedError(f"a frame of the tail: {error}") from None
    totals = np.array([body["totals"].get(name, 0) for name in TOTALS], np.int64)
    tables = {
        table: _cells(body["tables"][table], handles[table], known[table])
        if table in body["tables"]
        else NO_CELLS
        for table in LAYOUTS
    }
    return Bucket(**{name: body[name] for name in _PLAIN}, totals=totals, tables=tables)


def _cells(section: Mapping[str, Any], handles: Handles, known: dict[int, int]) -> Cells:
    layout = handles.layout
    place = {name: place for place, name in enumerate(section["columns"])}
    for number, values in section["rows"]:
        row = tuple(
            values[place[name]] if name in place else blank
            for name, blank in zip(layout.columns, layout.blank, strict=True)
        )
        known[number] = handles.of(row)
    keys = np.cumsum(unpack(section["keys"]).astype(np.int64))
    values = unpack(section["values"]).astype(np.int64)
    return _renumbered(keys, values, section["counters"], handles, known)


def _renumbered(
    keys: Ints, values: Ints, counters: list[str], handles: Handles, known: Mapping[int, int]
) -> Cells:
    """Return the cells by our handles and counters; counters that we do not know are left out."""
    ours = {name: place for place, name in enumerate(handles.layout.counters)}
    places = np.array([ours.get(name, -1) for name in counters], np.int64)[keys & COUNTER_MASK]
    owners = np.array([known[handle] for handle in (keys >> COUNTER_BITS).tolist()], np.int64)
    taken = places >= 0
    return Cells(*summed(owners[taken] << COUNTER_BITS | places[taken], values[taken]))
