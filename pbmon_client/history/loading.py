"""A block as it is read from its file, and turned back into the buckets that it was made of."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any, Final

import numpy as np

from pbmon_client.history.block import HEADER_BYTES, HOST, BlockHeader, labels_of
from pbmon_client.history.buckets import COUNTER_BITS, NO_CELLS, Bucket, Cells
from pbmon_client.history.handles import Handles, HandlesByTable, RowValues
from pbmon_client.history.layout import LAYOUTS
from pbmon_client.history.packing import MalformedError, Unsigned, among, summed
from pbmon_client.history.sections import (
    HostSection,
    TableSection,
    first_column,
    parse_directory,
    parse_section,
)
from pbmon_client.history.segments import BlockAt
from pbmond.given_file import open_given

#: What reading damaged bytes may raise, here and in ``sections``.
DAMAGE: Final = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError)


class LoadedBlock:
    """The bytes of a block. Properties and methods raise one of DAMAGE if they are not sound."""

    def __init__(self, header: BlockHeader, data: bytes) -> None:
        self.header: Final = header
        #: The block's bytes, header and all.
        self.data: Final = data
        at = HEADER_BYTES + header.directory_bytes
        self._directory = parse_directory(data[HEADER_BYTES:at], header)
        self._body = at

    @cached_property
    def host(self) -> HostSection:
        """The block's buckets."""
        return HostSection(self._section(HOST), self.header)

    def table(self, name: str) -> TableSection | None:
        """Return the rows of a table; None if the block has no such table."""
        if name not in self._directory:
            return None
        return TableSection(name, self._section(name), lambda: self._section(labels_of(name)))

    def may_have(self, table: str, pids: Unsigned) -> bool:
        """Return whether a table may have rows of some processes: false if it surely has none."""
        found = self._directory.get(table)
        if found is None:
            return False
        column = first_column(self._bytes_of(found), "pid", found[3])
        return column is None or bool(among(column, pids).any())

    def _section(self, name: str) -> dict[str, Any]:
        place = self._directory[name]
        return parse_section(self._bytes_of(place), inflated=place[2], crc=place[3])

    def _bytes_of(self, place: tuple[int, int, int, int]) -> memoryview:
        begin = self._body + place[0]
        return memoryview(self.data)[begin : begin + place[1]]


def load(block: BlockAt) -> LoadedBlock:
    """Read a block. One of DAMAGE if it is not there or not sound."""
    with open_given(block.path) as file:
        data = os.pread(file.fileno(), block.header.size, block.at)
    if len(data) != block.header.size:
        raise MalformedError("a block is not whole")
    return LoadedBlock(block.header, data)


def rows_of(section: TableSection) -> RowValues:
    """Return every row of a section."""
    layout = section.layout
    rows = np.zeros((section.rows, len(layout.columns)), np.uint64)
    texts: dict[str, list[bytes | None]] = {}
    for place, (name, blank) in enumerate(zip(layout.columns, layout.blank, strict=True)):
        if name in layout.texts:
            found = section.columns(name).texts(name)
            texts[name] = (
                [blank] * section.rows
                if found is None
                else [*map(found[1].__getitem__, found[0].tolist())]
            )
        else:
            numbers = section.columns(name).numbers(name)
            rows[:, place] = blank if numbers is None else numbers
    return RowValues.in_order(rows, texts)


def buckets_of(block: LoadedBlock, handles: HandlesByTable) -> list[Bucket]:
    """Return the buckets of a block, in the order of their ticks."""
    host = block.host
    tables = {table: _cells(block, table, handles[table]) for table in LAYOUTS}
    totals = host.totals
    ends = [*host.first[1:].tolist(), block.header.last]
    return [
        Bucket(
            slot=int(host.slots[place]),
            first=int(host.first[place]),
            end=ends[place],
            since_ns=int(host.since_ns[place]),
            time_ns=int(host.time_ns[place]),
            now_ns=int(host.now_ns[place]),
            covered_ns=int(host.covered_ns[place]),
            host=host.text("host", place),
            boot_id=host.text("boot_id", place),
            epoch=host.text("epoch", place),
            totals=totals[place],
            tables={table: tables[table][place] for table in LAYOUTS},
            cumulative=host.cumulative() if place == len(ends) - 1 else None,
        )
        for place in range(len(host.slots))
    ]


def _cells(block: LoadedBlock, table: str, handles: Handles) -> list[Cells]:
    """Return the cells of each bucket."""
    count = len(block.host.slots)
    section = block.table(table)
    if section is None:
        return [NO_CELLS] * count
    numbers = handles.of(rows_of(section))
    buckets, rows, counters, values = section.moved()
    keys = numbers[rows] << COUNTER_BITS | counters
    return [
        Cells(*summed(keys[buckets == bucket], values[buckets == bucket]))
        for bucket in range(count)
    ]
