"""The sections of a block, decoded: its buckets, and the rows of its tables.

Files may come from somebody else: whatever is in them, an error is MalformedError, ValueError,
LookupError or TypeError.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import msgpack
import numpy as np

from pbmon_client.history.block import BlockHeader
from pbmon_client.history.layout import LAYOUTS, TOTALS
from pbmon_client.history.packing import (
    Chosen,
    Ints,
    MalformedError,
    Unsigned,
    planes,
    signed,
    unpack,
    unpack_columns,
    unpack_runs,
    widest_first,
)

#: A section that claims to be larger is not inflated.
_MOST: Final = 64 << 20
#: What is inflated of a section to see what its first column is, and how long.
_HEAD_BYTES: Final = 64
#: How many bytes the length of msgpack's bytes has, by the byte before it.
_LENGTH_BYTES: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4}
#: Bounds of what msgpack makes of a section: values of a list, keys of a map, lists and maps.
_MOST_VALUES: Final = 1 << 20
_MOST_KEYS: Final = 1 << 10
_MOST_CONTAINERS: Final = 32
#: Entries of a table in a block: fifty times what the tiers keep.
_MOST_ENTRIES: Final = 1 << 20
#: Times in ns are below; sums of a few are still numbers of 64 bits.
_LATEST_NS: Final = 1 << 62
_HOST_COLUMNS: Final = (
    *("slot", "first", "since_ns", "time_ns", "now_ns", "covered_ns"),
    *("host", "boot_id", "epoch"),
)
_TOTAL: Final = {name: place for place, name in enumerate(TOTALS)}
_ZERO: Final = np.zeros(1, np.int64)
#: Place, bytes, inflated bytes and checksum by section.
Directory = Mapping[str, tuple[int, int, int, int]]


def parse_directory(listed: bytes, header: BlockHeader) -> Directory:
    """Return where each section is, and its checksum. MalformedError if damaged."""
    if zlib.crc32(listed) != header.directory_crc:
        raise MalformedError("the directory is damaged")
    found = {}
    at = 0
    for name, numbers in _unpacked(listed).items():
        if not _are_counts(numbers) or len(numbers) != 3:
            raise MalformedError("the directory is not sound")
        size, inflated, crc = numbers
        found[name] = (at, size, inflated, crc)
        at += size
    return found


def parse_section(data: bytes | memoryview, inflated: int, crc: int) -> dict[str, Any]:
    """Return a section. MalformedError if it is damaged."""
    if zlib.crc32(data) != crc or inflated > _MOST:
        raise MalformedError("a section is damaged")
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(data, inflated)
    except zlib.error as error:
        raise MalformedError(f"a section is not compressed: {error}") from None
    if len(raw) != inflated:
        raise MalformedError("a section is not whole")
    return _unpacked(raw)


def first_column(data: bytes | memoryview, name: str, crc: int) -> Unsigned | None:
    """Return the first column of a section, for a fraction of the work; None: not known.

    It is known if it is ``name``, and the section is not damaged.
    """
    if zlib.crc32(data) != crc:
        return None
    inflater = zlib.decompressobj()
    reader = msgpack.Unpacker(raw=False, max_buffer_size=_HEAD_BYTES)
    try:
        head = inflater.decompress(data, _HEAD_BYTES)
        reader.feed(head)
        reader.read_map_header()
        if reader.unpack() != "columns" or not reader.read_map_header() or reader.unpack() != name:
            return None
        at = reader.tell()
        begin = at + 1 + _LENGTH_BYTES[head[at]]
        end = begin + int.from_bytes(head[at + 1 : begin])
        if end > _MOST:
            return None
        if end > len(head):
            head += inflater.decompress(inflater.unconsumed_tail, end - len(head))
        return unpack(head[begin:end]) if end <= len(head) else None
    except (zlib.error, msgpack.UnpackException, ValueError, LookupError, TypeError):
        return None


def _are_counts(numbers: Any) -> bool:  # noqa: ANN401 - whatever the file has
    return isinstance(numbers, list) and all(type(each) is int and each >= 0 for each in numbers)


def _unpacked(raw: bytes) -> dict[str, Any]:
    left = iter(range(_MOST_CONTAINERS))

    def counted(container: Any) -> Any:  # noqa: ANN401 - a list or a map
        if next(left, None) is None:
            raise MalformedError("a section has too many parts")
        return container

    try:
        value = msgpack.unpackb(
            raw,
            raw=False,
            strict_map_key=True,
            max_array_len=_MOST_VALUES,
            max_map_len=_MOST_KEYS,
            list_hook=counted,
            object_hook=counted,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise MalformedError(f"not msgpack: {error}") from None
    if not isinstance(value, dict):
        raise MalformedError("a section is not a map")
    return value


class SectionColumns:
    """SectionColumns of a section, by name. A column that the writer did not know is None."""

    def __init__(self, section: Mapping[str, Any], rows: int) -> None:
        self._packed: Final[Mapping[str, bytes]] = section["columns"]
        self._texts: Final[Sequence[bytes | None]] = section["texts"]
        if not {*map(type, self._texts)} <= {bytes, type(None)}:
            raise MalformedError("a text is no text")
        self._rows = rows
        self._made: dict[str, Unsigned] = {}

    def numbers(self, name: str) -> Unsigned | None:
        """Return the values of a column of numbers."""
        made = self._made.get(name)
        if made is None and name in self._packed:
            made = self._made[name] = unpack(self._packed[name])
            if len(made) != self._rows:
                raise MalformedError(f"the column {name} is not whole")
        return made

    def decode(self, names: Sequence[str], more: Mapping[str, bytes]) -> dict[str, Unsigned]:
        """Decode several columns at once, which is quicker if they are short; return ``more``."""
        packed = {name: self._packed[name] for name in names if name in self._packed}
        made = unpack_columns({**packed, **more}, self._rows)
        self._made |= {name: made.pop(name) for name in packed}
        return made

    def texts(self, name: str) -> tuple[Unsigned, Sequence[bytes | None]] | None:
        """Return the values of a column of texts: places in the list that follows."""
        places = self.numbers(name)
        if places is not None and len(places) and places.max() >= len(self._texts):
            raise MalformedError(f"the column {name} has no such text")
        return None if places is None else (places, self._texts)


class HostSection:
    """The buckets of a block, and the host's totals."""

    def __init__(self, section: Mapping[str, Any], header: BlockHeader) -> None:
        self._section = section
        self._header = header
        self._columns = SectionColumns(section, header.buckets)
        counters: Mapping[str, bytes] = section["counters"]
        made = self._columns.decode(
            _HOST_COLUMNS, {n: counters[n] for n in TOTALS if n in counters}
        )
        #: The host's totals, buckets by ``TOTALS``.
        self.totals: Final = np.zeros((header.buckets, len(TOTALS)), np.int64)
        for name, values in made.items():
            self.totals[:, _TOTAL[name]] = values
        self.slots: Final = self._offset("slot", header.begin)
        self.first: Final = self._offset("first", header.first)
        self.since_ns: Final = self._offset("since_ns", header.since_ns)
        self.time_ns: Final = self._offset("time_ns", header.since_ns)
        self.now_ns: Final = self._offset("now_ns", 0)
        self.covered_ns: Final = self._offset("covered_ns", 0)

    def _offset(self, name: str, base: int) -> Ints:
        values = self._columns.numbers(name)
        if values is None:
            raise MalformedError(f"a block has no {name}")
        return values.view(np.int64) + base

    def check(self) -> None:
        """Raise one of DAMAGE unless the buckets are what the block's header says."""
        header = self._header
        bounds = (
            (self.slots, header.begin, header.end - 1),
            (self.first, header.first, header.last - 1),
            (self.since_ns, header.since_ns, header.time_ns),
            (self.time_ns, header.since_ns, header.time_ns),
            (self.now_ns, 0, _LATEST_NS),
            (self.covered_ns, 0, _LATEST_NS),
        )
        every = np.array([values for values, _least, _most in bounds])
        extremes = zip(every.min(axis=1).tolist(), every.max(axis=1).tolist(), strict=True)
        for (_values, least, most), (smallest, largest) in zip(bounds, extremes, strict=True):
            if smallest < least or largest > most:
                raise MalformedError("the buckets of a block are not sound")
        if (self.first[1:] < self.first[:-1]).any():
            raise MalformedError("the buckets of a block are not in order")
        for name in ("host", "boot_id", "epoch"):
            found = self._columns.texts(name)
            for text in () if found is None else found[1]:
                (text or b"").decode()

    def text(self, name: str, bucket: int) -> str:
        """Return the host, boot_id or epoch of a bucket."""
        found = self._columns.texts(name)
        return "" if found is None else (found[1][int(found[0][bucket])] or b"").decode()

    def cumulative(self) -> Ints | None:
        """Return the cumulative totals at the block's end, by ``TOTALS``."""
        return named_totals(self._section.get("cumulative"))


def named_totals(values: Mapping[str, int] | None) -> Ints | None:
    """Return totals by ``TOTALS`` from those by name; those that are not there are 0."""
    return None if values is None else np.array([values.get(name, 0) for name in TOTALS], np.int64)


class TableSection:
    """The rows of a table in a block, and what each moved in each bucket."""

    def __init__(
        self, table: str, section: Mapping[str, Any], labels: Callable[[], Mapping[str, Any]]
    ) -> None:
        self.layout: Final = LAYOUTS[table]
        self.rows: Final[int] = section["rows"]
        self._section = section
        self._own = SectionColumns(section, self.rows)
        self._load = labels

    @cached_property
    def _labels(self) -> SectionColumns:
        return SectionColumns(self._load(), self.rows)

    def columns(self, name: str) -> SectionColumns:
        """Return the columns in which ``name`` is."""
        return self._own if name in self.layout.identity else self._labels

    def identities(self, rows: Ints, numbers: dict[bytes | None, int] | None) -> Unsigned:
        """Return the identity of some rows: rows by columns.

        Texts are their ``numbers``, to which new ones are added, so that rows of several sections
        can be compared; without them, they are what only this section knows.
        """
        identities: Unsigned = self._identities[rows]
        if numbers is None:
            return identities
        for place, name in enumerate(self.layout.identity):
            found = self._own.texts(name) if name in self.layout.texts else None
            if found is not None:
                ours = [numbers.setdefault(text, len(numbers) + 1) for text in found[1]]
                identities[:, place] = np.array(ours, np.uint64)[found[0][rows]]
        return identities

    @cached_property
    def _identities(self) -> Unsigned:
        # Who asks for some of the buckets may ask for the next ones soon.
        self.check()
        columns = [self._own.numbers(name) for name in self.layout.identity]
        nothing = np.zeros(self.rows, np.uint64)
        return np.column_stack([nothing if each is None else each for each in columns])

    def have(self, buckets: Chosen) -> Chosen:
        """Return which rows moved anything in some buckets."""
        row, bucket = self._entries
        have = np.zeros(self.rows, np.bool_)
        have[row[buckets[bucket]]] = True
        return have

    def check(self) -> None:
        """Raise one of DAMAGE unless the columns of the identity are sound."""
        for name in self.layout.identity:
            (self._own.texts if name in self.layout.texts else self._own.numbers)(name)

    def moved(
        self, rows: Chosen | None = None, buckets: Chosen | None = None
    ) -> tuple[Ints, Ints, Ints, Ints]:
        """Return bucket, row, counter and value of each number that is not 0, counter by counter.

        They are those of some rows and buckets, or of all (None).
        """
        row, bucket = self._entries
        taken = None if rows is None else rows[row]
        if buckets is None:
            entry, counter, value = self._counted(taken)
        else:
            entry, counter, value = self._numbers
            taken = buckets[bucket] if taken is None else taken & buckets[bucket]
            some = np.flatnonzero(taken[entry])
            entry, counter, value = entry[some], counter[some], value[some]
        return bucket[entry], row[entry], counter, value

    def last(self, buckets: Chosen | None) -> Ints:
        """Return the last of the buckets (None: of all) in which each row moved, -1 for none."""
        row, bucket = self._entries
        if buckets is not None:
            taken = buckets[bucket]
            row, bucket = row[taken], bucket[taken]
        last = np.full(self.rows, -1)
        last[row] = bucket  # a row's buckets are in order: the newest stays
        return last

    @cached_property
    def _entries(self) -> tuple[Ints, Ints]:
        """Row and bucket of each entry, in order."""
        count, step = unpack(self._section["count"]), signed(self._section["step"])
        # Each count first: their sum may wrap.
        most = int(count.max(initial=0))
        if len(count) != self.rows or most > len(step) or len(step) > _MOST_ENTRIES:
            raise MalformedError("the rows of a table do not add up")
        count = count.view(np.int64)
        ends = np.cumsum(count)
        if len(step) != (ends[-1] if len(ends) else 0):
            raise MalformedError("the rows of a table do not add up")
        row = np.repeat(np.arange(self.rows), count)
        steps = np.concatenate((_ZERO, np.cumsum(step)))
        bucket = steps[1:] - np.repeat(steps[ends - count], count)
        return row, bucket

    @cached_property
    def _numbers(self) -> tuple[Ints, Ints, Ints]:
        # Who asks for some of the buckets may ask for the next ones soon.
        return self._counted()

    def _counted(self, taken: Chosen | None = None) -> tuple[Ints, Ints, Ints]:
        """Return entry, counter and value of each number, without counters that we do not know.

        They are those of the entries that are taken, or of all (None).
        """
        counters: Mapping[str, bytes] = self._section["counters"]
        names, packed = zip(*widest_first(counters.items()), strict=True) if counters else ((), ())
        has = self._has([*counters], names)
        begins = np.arange(len(names) + 1) * has.shape[1]
        entry = np.flatnonzero(has)
        counts = np.diff(np.searchsorted(entry, begins))
        entry -= np.repeat(begins[:-1], counts)
        theirs, places = counts, None
        if taken is not None:
            places = np.flatnonzero(taken[entry])
            entry = entry[places]
            theirs = np.diff(np.searchsorted(places, np.append(0, np.cumsum(counts))))
        value = unpack_runs(packed, counts.tolist(), places).view(np.int64)
        ours = {name: place for place, name in enumerate(self.layout.counters)}
        counter = np.repeat([ours.get(name, -1) for name in names], theirs)
        if ours.keys() >= counters.keys():
            return entry, counter, value
        known = counter >= 0
        return entry[known], counter[known], value[known]

    def _has(self, listed: Sequence[str], wanted: Sequence[str]) -> Chosen:
        """Return which entries have numbers of some of the counters: counters by entries."""
        told = planes(self._section["mask"])
        entries = len(self._entries[0])
        if told.shape[1] != entries:
            raise MalformedError("the rows of a table do not add up")
        masks = np.zeros((8, entries), np.uint8)
        masks[: len(told)] = told
        bits = np.array([listed.index(name) for name in wanted], np.int64)
        # All counters at once: most have so few numbers that each call would cost more than they.
        has: Chosen = (masks[bits >> 3] & (1 << (bits & 7)).astype(np.uint8)[:, None]) != 0
        return has
