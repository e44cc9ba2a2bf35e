"""The maps that the programs share: types, sizes of keys and values, capacities.

The sizes are those of C types. The compiler checks them (bpf/map_sizes.h).

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

from typing import NamedTuple

from pbmond.loader import bpf, refusals
from pbmond.loader.handover import LoadRequest, TableLayout
from pbmond.loader.refusals import Facts, Refused

#: Bits of a hint. See find_by_hint() in bpf/tables.h.
HINT_BITS = 16
#: Slots that one run of the program "fill" pushes onto a stack.
FILL_MAX = 512
LOST_COUNT = 5
#: File rows whose names one call compares. See look() in bpf/renames.h.
LOOKS_MAX = 1024

_SCRATCH_SIZE = 21640
_CALLS = 512  # more than any system call's number
#: For every so many socket rows, the retransmissions of one connection can be attributed.
_ROWS_PER_TCP_OWNER = 2


class Map(NamedTuple):
    """A map to make: its type, the sizes of key and value in bytes, and its capacity."""

    name: str
    kind: int
    key_size: int
    value_size: int
    entries: int


def maps(request: LoadRequest, known_requests: Map, scratch_slots: int) -> list[Map]:
    """Return every map except those for tail calls. ``known_requests`` is the map for io_uring.

    ``scratch_slots`` is the number of scratch spaces per processor.
    """
    flows, files = (
        next(table.capacity for table in request.tables if table.name == name)
        for name in ("flow", "file")
    )
    return [
        *(each for table in request.tables for each in _of_table(table)),
        Map("file_names", bpf.ARRAY, 4, 40, files),
        Map("looks", bpf.ARRAY, 4, 8, 1 + LOOKS_MAX),
        Map("lost", bpf.ARRAY, 4, 8, LOST_COUNT),
        Map("high_water", bpf.ARRAY, 4, 32, bpf.processors()),
        Map("events", bpf.RINGBUF, 0, 0, request.events_size),
        Map("flow_hints", bpf.ARRAY, 4, 4, 1 << HINT_BITS),
        Map("file_hints", bpf.ARRAY, 4, 4, 1 << HINT_BITS),
        Map("raw_scratch", bpf.PERCPU_ARRAY, 4, _SCRATCH_SIZE, scratch_slots),
        Map("exit_scratch", bpf.PERCPU_ARRAY, 4, _SCRATCH_SIZE, scratch_slots),
        Map("processes", bpf.HASH, 16, 1, request.processes),
        Map("exits", bpf.LRU_HASH, 16, 16, 8192),
        Map("openings", bpf.LRU_HASH, 48, 1, 16384),
        Map("tcp_owners", bpf.HASH, 8, 24, max(flows // _ROWS_PER_TCP_OWNER, 1)),
        Map("batches", bpf.LRU_HASH, 8, 16, 4096),
        known_requests,
        Map("calls", bpf.PROG_ARRAY, 4, 4, _CALLS),
        # These two are placeholders for the maps that each program gets.
        Map("raw_tails", bpf.PROG_ARRAY, 4, 4, 1),
        Map("exit_tails", bpf.PROG_ARRAY, 4, 4, 1),
        Map("aio_requests", bpf.LRU_HASH, 24, 16, 32768),
        Map("aio_taken", bpf.LRU_HASH, 24, 1, 8192),
        Map("aio_rings", bpf.LRU_HASH, 24, 12, 1024),
    ]


def _of_table(table: TableLayout) -> list[Map]:
    name, capacity = table.name, table.capacity
    return [
        Map(f"{name}_index", bpf.HASH, table.key_size, 4, capacity),
        Map(f"{name}_slots", bpf.ARRAY, 4, table.slot_size, capacity),
        Map(f"{name}_free", bpf.STACK, 0, 4, capacity),
    ]


def sizes(every: list[Map]) -> dict[str, int]:
    """Return the defines with which the compiler checks the sizes of all maps."""
    found = {"LOST_ENTRIES": LOST_COUNT, "HINT_BITS": HINT_BITS, "FILL_MAX": FILL_MAX}
    for each in every:
        found[f"KEY_SIZE_{each.name.upper()}"] = each.key_size
        found[f"VALUE_SIZE_{each.name.upper()}"] = each.value_size
    return found


def make(every: list[Map], facts: Facts) -> dict[str, int]:
    """Make the maps and return their descriptors by name. Raises Refused."""
    return {each.name: _make(each, facts) for each in every}


def _make(each: Map, facts: Facts) -> int:
    name, kind, key_size, value_size, entries = each
    flags = bpf.MMAPABLE if kind == bpf.ARRAY else 0
    try:
        return bpf.create_map(kind, key_size, value_size, entries, flags=flags, name=f"pb_{name}")
    except OSError as error:
        size = max(1, key_size + value_size) * entries
        raise Refused(refusals.table(name, size, error.errno or 0, facts)) from None
