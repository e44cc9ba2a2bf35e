"""The tail: one frame for each tick that is in no block yet, so that a crash loses none.

A frame has the rows that are new since the tail was emptied, and the cells of the tick.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import msgpack
import numpy as np

from pbmon_client.history.block import cumulative_of
from pbmon_client.history.buckets import (
    COUNTER_BITS,
    COUNTER_MASK,
    NO_CELLS,
    Bucket,
    Cells,
)
from pbmon_client.history.handles import Handles, HandlesByTable, values_of
from pbmon_client.history.layout import LAYOUTS, TOTALS
from pbmon_client.history.packing import Ints, MalformedError, pack, steps, summed, unpack, whole
from pbmon_client.history.sections import named_totals

MAGIC: Final = b"pbmT"
VERSION: Final = 1
# Magic, version; bytes that follow, their checksum; slot, ticks, times; that of all before it.
_HEAD: Final = struct.Struct("<4sHxxIIqQQqqqI")
_MOST: Final = 64 << 20
_LEVEL: Final = (
    0  # stored: a frame lives for a minute, and compressing it takes longer than its disk
)
#: What a bucket says besides its cells and totals.
_PLAIN: Final = (
    *("slot", "first", "end", "since_ns", "time_ns", "now_ns", "covered_ns"),
    *("host", "boot_id", "epoch"),
)


class TailWriter:
    """Encodes the frames of a tail; knows which rows it has told already."""

    def __init__(self) -> None:
        # Only what changes of a row: a row itself may be forgotten before the tail is emptied.
        self._told: dict[str, dict[int, bytes]] = {table: {} for table in LAYOUTS}

    def frame(self, bucket: Bucket, handles: HandlesByTable) -> bytes:
        """Return the frame of a bucket. Its rows count as told until ``emptied`` is called."""
        body: dict[str, Any] = {name: getattr(bucket, name) for name in _PLAIN}
        totals = zip(TOTALS, bucket.totals.tolist(), strict=True)
        body["totals"] = {name: value for name, value in totals if value}
        body["cumulative"] = cumulative_of(bucket)
        body["tables"] = {
            table: self._table(table, cells, handles[table])
            for table, cells in bucket.tables.items()
        }
        packed = zlib.compress(msgpack.packb(body), _LEVEL)
        head = _HEAD.pack(
            *(MAGIC, VERSION, len(packed), zlib.crc32(packed)),
            *(bucket.slot, bucket.first, bucket.end),
            *(bucket.since_ns, bucket.time_ns, bucket.covered_ns, 0),
        )[:-4]
        return head + struct.pack("<I", zlib.crc32(head)) + packed

    def _table(self, table: str, cells: Cells, handles: Handles) -> dict[str, Any]:
        told = self._told[table]
        rows = cells.rows
        latest = zip(rows.tolist(), whole(handles.latest(rows)), strict=True)
        new = {handle: values for handle, values in latest if told.get(handle) != values}
        told.update(new)
        return {
            "columns": handles.layout.columns,
            "counters": handles.layout.counters,
            "rows": [*zip(new, handles.values(np.array([*new], np.int64)), strict=True)],
            "keys": pack(steps(cells.keys)),
            "values": pack(cells.values),
        }

    def emptied(self) -> None:
        """Take note that the tail is empty, or does not have the last frames."""
        for told in self._told.values():
            told.clear()


@dataclass(frozen=True, slots=True)
class TailFrame:
    """A sound frame: its bucket's slot, ticks and times, and its bytes in the tail."""

    slot: int
    first: int
    last: int
    since_ns: int
    time_ns: int
    covered_ns: int
    begin: int
    end: int


def frames_of(data: bytes) -> tuple[list[TailFrame], bool]:
    """Return the frames of a tail up to the first that is not sound, and whether that is damage.

    A last frame that is not whole is none: it was being written.
    """
    found: list[TailFrame] = []
    at = 0
    while len(data) - at >= _HEAD.size:
        magic, version, size, crc, *words, head_crc = _HEAD.unpack_from(data, at)
        begin, end = at + _HEAD.size, at + _HEAD.size + size
        sound = magic == MAGIC and version <= VERSION
        if not sound or zlib.crc32(data[at : begin - 4]) != head_crc:
            return found, True
        if end > len(data):
            break
        if zlib.crc32(data[begin:end]) != crc:
            return found, True
        slot, first, last, since_ns, time_ns, covered_ns = words
        found.append(TailFrame(slot, first, last, since_ns, time_ns, covered_ns, begin, end))
        at = end
    return found, not MAGIC.startswith(data[at : at + len(MAGIC)])


def buckets_of_tail(
    data: bytes, frames: Sequence[TailFrame], handles: HandlesByTable
) -> Iterator[Bucket]:
    """Yield the bucket of each frame. ValueError, LookupError or TypeError if one is not sound."""
    known: dict[str, dict[int, int]] = {name: {} for name in LAYOUTS}
    for frame in frames:
        yield _bucket(data[frame.begin : frame.end], handles, known)


def _bucket(packed: bytes, handles: HandlesByTable, known: dict[str, dict[int, int]]) -> Bucket:
    try:
        raw = zlib.decompressobj().decompress(packed, _MOST)
        body = msgpack.unpackb(raw, raw=False, strict_map_key=False)
    except (zlib.error, msgpack.UnpackException) as error:
        raise MalformedError(f"a frame of the tail: {error}") from None
    totals = named_totals(body["totals"])
    if totals is None:
        raise MalformedError("a frame of the tail has no totals")
    tables = {
        table: _cells(body["tables"][table], handles[table], known[table])
        if table in body["tables"]
        else NO_CELLS
        for table in LAYOUTS
    }
    return Bucket(
        **{name: body[name] for name in _PLAIN},
        totals=totals,
        tables=tables,
        cumulative=named_totals(body.get("cumulative")),
    )


def _cells(section: Mapping[str, Any], handles: Handles, known: dict[int, int]) -> Cells:
    layout = handles.layout
    place = {name: place for place, name in enumerate(section["columns"])}
    behind = len(place)  # where each row gets the blanks of what the writer did not know
    in_order = itemgetter(*(place.get(name, behind + at) for at, name in enumerate(layout.columns)))
    if any(len(values) != behind for _, values in section["rows"]):
        raise MalformedError("a row of the tail is not whole")
    rows = [in_order((*values, *layout.blank)) for _, values in section["rows"]]
    told = [number for number, _ in section["rows"]]
    known.update(zip(told, handles.of(values_of(rows, layout)).tolist(), strict=True))
    keys = np.cumsum(unpack(section["keys"]).astype(np.int64))
    values = unpack(section["values"]).astype(np.int64)
    return _renumbered(keys, values, section["counters"], handles, known)


def _renumbered(
    keys: Ints, values: Ints, counters: list[str], handles: Handles, known: Mapping[int, int]
) -> Cells:
    """Return the cells by our handles and counters; counters that we do not know are left out."""
    ours = {name: place for place, name in enumerate(handles.layout.counters)}
    places = np.array([ours.get(name, -1) for name in counters], np.int64)[keys & COUNTER_MASK]
    told, place = np.unique(keys >> COUNTER_BITS, return_inverse=True)
    owners = np.array([known[handle] for handle in told.tolist()], np.int64)[place]
    taken = places >= 0
    return Cells(*summed(owners[taken] << COUNTER_BITS | places[taken], values[taken]))
