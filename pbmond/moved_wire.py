"""The wire of ``all/moved``: what moved in each of the last ticks, by rows that have numbers.

A frame is ``topic NUL msgpack-map``, as in ``pbmond.wire``. Every message has the last few ticks,
each packed by itself: whoever missed some messages takes what is missing from the next one, and
nobody unpacks a tick twice. A tick has only the rows that moved: their ids, and their counters'
increases. A row's description is in the first tick of the message in which it moves, or in a later
one if it changed. So whoever holds the newest message needs nothing that was said before.
Invalid bytes: WireError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from pbmond.bounds import check_count, check_times, check_words
from pbmond.fields import CHANGING, COUNTERS, DESCRIPTION, TABLES
from pbmond.wire import (
    SCHEMA,
    Frame,
    Table,
    Topic,
    WireError,
    frame_of,
    pack,
    pack_table,
    split,
    unpack,
    unpack_column,
    unpack_maps,
    unpack_table,
)
from pbmond.wire import TABLES as WIRE_TABLES

TOPIC: Final = Topic(None, "moved")
#: The most ticks of a message.
TICKS: Final = 8
#: Counters of a row, by table: bit ``n`` of a row's ``mask`` says that the ``n``-th has grown.
ROW_COUNTERS: Final = {
    table: tuple(name for name, field in TABLES[table].items() if field.kind == "counter")
    for table in DESCRIPTION
}
#: Columns of the rows that moved, and of their descriptions.
MOVED: Final = {
    table: {"id": "u8", "mask": "u8", **{name: str(each.wire) for name, each in named.items()}}
    for table, named in CHANGING.items()
}
TOLD: Final = {
    table: {"id": "u8", **{name: str(each.wire) for name, each in named.items()}}
    for table, named in DESCRIPTION.items()
}
#: What moved without being of a process that is shown, as increases.
RETIRED: Final = {
    name: kind for name, kind in WIRE_TABLES["retired"].items() if name != "processes"
}
#: The highest bytes of what is below 2**63: nobody moves more in one tick.
_HALF: Final = bytes(range(0x80))
_LOSSES: Final = 100
#: The most maps of a tick, and entries of each.
_MAPS: Final = 4 + 3 * len(DESCRIPTION)
_ENTRIES: Final = max(_LOSSES, *(1 + len(each) for each in (RETIRED, *TOLD.values())))


@dataclass(frozen=True, slots=True)
class MovedTable:
    """The rows of one table that moved in a tick.

    ``rows`` has id and ``mask`` of each. ``increases`` has, one row after the other, those of the
    counters in its mask, as a column of "u8". ``told`` describes rows that are new or have changed.
    """

    rows: Table
    increases: Any
    told: Table


@dataclass(frozen=True, slots=True)
class MovedTick:
    """One tick; the times are those of ``pbmond.wire.Message``.

    ``totals`` are the counters of the host, by COUNTERS, as a column of "u8"; ``lost`` is what is
    missing in them, by reason; both since the daemon began. The increases of processes and retired
    add up to those of the totals.
    """

    seq: int
    time_ns: int
    now_ns: int
    interval_ns: int
    lost: Mapping[str, int]
    totals: Any
    retired: Table
    tables: Mapping[str, MovedTable]


@dataclass(frozen=True, slots=True)
class MovedMessage:
    """The ticks up to ``seq``, the oldest one first, each as ``encode_tick`` made it.

    ``began_ns`` is when the daemon began to count, by CLOCK_BOOTTIME.
    """

    host: str
    boot_id: str
    epoch: str
    began_ns: int
    seq: int
    ticks: Sequence[bytes]
    schema: str = SCHEMA

    @property
    def first(self) -> int:
        """The number of the oldest tick."""
        return self.seq - len(self.ticks) + 1


# fields() is slow, and a tick asks several times.
_OF_TABLE: Final = frozenset(item.name for item in fields(MovedTable))
_OF_TICK: Final = frozenset(item.name for item in fields(MovedTick))
_OF_MESSAGE: Final = frozenset(item.name for item in fields(MovedMessage))


def encode_moved(message: MovedMessage) -> bytes:
    """Encode one frame."""
    return frame_of(TOPIC, {item.name: getattr(message, item.name) for item in fields(message)})


def encode_tick(tick: MovedTick) -> bytes:
    """Encode one tick. The columns must have the schema's names and widths."""
    body = {item.name: getattr(tick, item.name) for item in fields(tick)}
    body["totals"] = memoryview(tick.totals).cast("B")
    body["retired"] = pack_table(tick.retired, RETIRED)
    body["tables"] = {
        name: {
            "rows": pack_table(table.rows, MOVED[name]),
            "increases": memoryview(table.increases).cast("B"),
            "told": pack_table(table.told, TOLD[name]),
        }
        for name, table in tick.tables.items()
    }
    return pack(body)


def decode_moved(frame: Frame) -> MovedMessage:
    """Decode one frame, but not its ticks. Any bytes may be passed."""
    topic, body = split(frame)
    if topic != TOPIC:
        raise WireError(f"a message of {topic}")
    value = _map("the body", unpack(body), _OF_MESSAGE)
    if value["schema"] != SCHEMA:
        raise WireError(f"schema {value['schema']!r:.40}, this client reads {SCHEMA}")
    check_words(value)
    check_count("seq", value["seq"])
    check_count("began_ns", value["began_ns"], 1 << 63)
    ticks = value["ticks"]
    if type(ticks) is not list or not 1 <= len(ticks) <= min(TICKS, value["seq"]):
        raise WireError(f"the ticks are not a list of at most {TICKS}")
    if {*map(type, ticks)} != {bytes}:
        raise WireError("a tick is not packed")
    return MovedMessage(**value)


def decode_tick(packed: bytes) -> MovedTick:
    """Decode one tick. Any bytes may be passed."""
    value = _map("a tick", unpack_maps(packed, _MAPS, _ENTRIES), _OF_TICK)
    check_times(value)
    lost = value["lost"]
    if type(lost) is not dict or len(lost) > _LOSSES or {*map(type, lost)} - {str}:
        raise WireError("lost is not a map of reasons")
    for reason, count in lost.items():
        check_count(f"lost.{reason:.40}", count)
    value["totals"] = unpack_column("totals", value["totals"], "u8", len(COUNTERS))
    retired = unpack_table("retired", value["retired"], RETIRED)
    _check_increases("retired", b"".join(value["retired"][name] for name in COUNTERS))
    value["retired"] = retired
    tables = _map("tables", value["tables"], DESCRIPTION)
    value["tables"] = {name: _table(name, table) for name, table in tables.items()}
    return MovedTick(**value)


def _table(name: str, value: Any) -> MovedTable:  # noqa: ANN401 - anything that msgpack can hold
    parts = _map(name, value, _OF_TABLE)
    rows = unpack_table(name, parts["rows"], MOVED[name])
    masks = rows.columns["mask"]
    if max(masks, default=0) >> len(ROW_COUNTERS[name]):
        raise WireError(f"{name}.mask has a counter that does not exist")
    if len({*rows.columns["id"]}) != rows.length:
        raise WireError(f"{name} has a row twice")
    grown = int.from_bytes(parts["rows"]["mask"], "little").bit_count()
    increases = unpack_column(f"{name}.increases", parts["increases"], "u8", grown)
    _check_increases(name, parts["increases"])
    return MovedTable(rows, increases, unpack_table(f"{name}.told", parts["told"], TOLD[name]))


def _check_increases(where: str, packed: bytes) -> None:
    # The highest bytes say so for all of them at once.
    if packed[7::8].translate(None, _HALF):
        raise WireError(f"{where} has an increase that is none")


def _map(where: str, value: Any, names: Any) -> dict[str, Any]:  # noqa: ANN401
    if type(value) is not dict or value.keys() != {*names}:
        raise WireError(f"{where} is not a map of the schema's fields")
    return value
