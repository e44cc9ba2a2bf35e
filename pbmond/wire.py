"""The wire: topics, the schema of a snapshot, and its msgpack codec. Invalid bytes: WireError.

The client shares this module. ``pbmond.fields`` defines the columns of the tables.
A frame is ``topic NUL msgpack-map``. Tables are columnar. A numeric column is one little-endian
array, so that 100,000 rows are packed and unpacked by memcpy. A text column is a list of bytes
(names from the kernel may be any bytes) or None. Each text column is packed separately, so that a
receiver can pause between two of them.
"""

from __future__ import annotations

import array
import re
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, NoReturn

import msgpack

from pbmond.bounds import FRAME_BYTES as FRAME_BYTES  # noqa: PLC0414 - the wire offers it
from pbmond.bounds import NAME_BYTES, ROWS, check_count, check_head, check_msgpack, check_rates
from pbmond.bounds import WireError as WireError  # noqa: PLC0414 - likewise
from pbmond.fields import TABLES as FIELD_TABLES

SCHEMA: Final = "pbmon/2"

#: Counters of ``coverage``, since the daemon's first reading; each has its ``interval_name`` too.
INTERFACE_COUNTERS: Final = ("rx_bytes", "tx_bytes", "rx_packets", "tx_packets")
PAYLOAD_COUNTERS: Final = ("payload_rx_bytes", "payload_tx_bytes")
DISK_COUNTERS: Final = ("read_bytes", "write_bytes")
ATTRIBUTED_COUNTERS: Final = ("disk_read_bytes", "disk_write_bytes")
HOST_COUNTERS: Final = ("tcp_retransmitted_segments", "forwarded_packets")


def interval_name(counter: str) -> str:
    """Return the name of a ``coverage`` counter's increase in the interval."""
    return f"{counter}_interval"


# Column types: fixed-width numbers, "16s" (sixteen raw bytes), or "text".
# A rate that is not known yet is NaN on the wire and null for users.
_CODES: Final = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "f8": "d"}
_WIDTHS: Final = {"u1": 1, "u2": 2, "u4": 4, "u8": 8, "f8": 8, "16s": 16}

#: Each table's columns and their types.
TABLES: Final[dict[str, dict[str, str]]] = {
    table: {name: field.wire for name, field in named.items() if field.wire is not None}
    for table, named in FIELD_TABLES.items()
}

Column = Sequence[Any]
Frame = bytes | memoryview
Pause = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of ``length`` rows, by column.

    To encode, a numeric column is any object with the buffer protocol, contiguous and of the
    schema's width (numpy array, array.array, bytes). Decoded, it is an array.array. A "16s" column
    is decoded as a list of bytes, a "text" column as a list of ``bytes | None``.
    """

    length: int
    columns: Mapping[str, Any]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield each row as a dict of raw wire values."""
        names = tuple(self.columns)
        for values in zip(*self.columns.values(), strict=True):
            yield dict(zip(names, values, strict=True))


@dataclass(frozen=True, slots=True)
class Message:
    """One published snapshot, or the part of it that a topic carries.

    ``time_ns`` is CLOCK_REALTIME, ``now_ns`` is CLOCK_BOOTTIME: what moved until then is counted.
    ``interval_ns`` is the real time since the previous snapshot (0 for the first). ``totals`` maps
    every counter to an integer and every rate to a float or None. ``health`` and ``coverage`` are
    the contract's objects. ``history`` maps each name in HISTORY to its samples (bytes/s or None),
    oldest first. A table that the topic does not carry is None.
    """

    host: str
    boot_id: str
    epoch: str
    seq: int
    time_ns: int
    now_ns: int
    interval_ns: int
    health: Mapping[str, Any]
    coverage: Mapping[str, Any]
    totals: Mapping[str, Any]
    history: Mapping[str, Any]
    retired: Table
    processes: Table
    connections: Table | None = None
    files: Table | None = None
    schema: str = field(default=SCHEMA)


# --- topics -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic: ``SCOPE/processes``, ``SCOPE/flows``, ``SCOPE/flows/PID`` or ``all/moved``.

    uid None: ``all``. What ``all/moved`` carries is in ``pbmond.moved_wire``.
    """

    uid: int | None
    kind: str  # "processes", "flows" or "moved"
    pid: int | None = None

    def __str__(self) -> str:
        scope = "all" if self.uid is None else f"uid/{self.uid}"
        return f"{scope}/{self.kind}" + ("" if self.pid is None else f"/{self.pid}")


_TOPIC: Final = re.compile(rb"(?:all|uid/([0-9]{1,10}))/(?:processes|(flows)(?:/([0-9]{1,10}))?)")
_MOVED: Final = b"all/moved"
_TOPIC_BYTES: Final = len("uid/4294967295/flows/4294967295!")


def parse_topic(text: bytes) -> Topic:
    """Parse a topic. WireError unless it is exactly what ``str(Topic)`` returns."""
    if text == _MOVED:
        return Topic(None, "moved")
    match = _TOPIC.fullmatch(text)
    if match is None:
        raise WireError(f"unknown topic {text[:80]!r}")
    uid, flows, pid = match.groups()
    return Topic(_number(uid), "processes" if flows is None else "flows", _number(pid))


def _number(text: bytes | None) -> int | None:
    if text is not None and (int(text) >= 1 << 32 or str(int(text)).encode() != text):
        raise WireError(f"not a number in a topic: {text!r}")
    return None if text is None else int(text)


# --- refusals -------------------------------------------------------------------------------

#: Why a topic is refused: it is not for this user, or the user's topics cost too much already.
NOT_YOURS, TOO_MANY = "not yours", "too many"
_REFUSED: Final = b"!"  # follows the topic


def refusal(topic: Topic, why: str) -> bytes:
    """Return the frame that tells a viewer that ``topic`` is refused."""
    return str(topic).encode() + _REFUSED + b"\0" + why.encode()


def refused(frame: Frame) -> tuple[bytes, str] | None:
    """Return topic and reason if a frame is a refusal."""
    head = topic_of(frame)
    if not head.endswith(_REFUSED):
        return None
    why = bytes(frame[len(head) + 1 :][:80]).decode("ascii", "replace")
    return head.removesuffix(_REFUSED), why


# --- codec ------------------------------------------------------------------------------------


def encode(topic: Topic, message: Message) -> bytes:
    """Encode one frame. The caller's columns must have the schema's names and widths."""
    body: dict[str, Any] = {}
    for item in fields(message):
        value = getattr(message, item.name)
        is_table = isinstance(value, Table)
        body[item.name] = pack_table(value, TABLES[item.name]) if is_table else value
    return frame_of(topic, body)


def frame_of(topic: Topic, body: Mapping[str, Any]) -> bytes:
    """Return the frame of a topic with a body."""
    # Without autoreset the packed bytes are copied only once. Large hosts have megabytes. Up to
    # msgpack 1.0.3 the buffer does not keep its packer, whose end frees it.
    packer = msgpack.Packer(autoreset=False)
    packer.pack(body)
    return b"".join((str(topic).encode(), b"\0", packer.getbuffer()))


def pack(value: Any) -> bytes:  # noqa: ANN401 - anything that msgpack can hold
    """Return a value as msgpack."""
    packed: bytes = msgpack.packb(value)
    return packed


def pack_table(table: Table, schema: Mapping[str, str]) -> dict[str, Any]:
    """Return what stands for a table in a message. Its columns are those of ``schema``."""
    if table.columns.keys() != schema.keys():
        raise WireError(f"columns differ from the schema: {table.columns.keys() ^ schema.keys()}")
    packed: dict[str, Any] = {"length": table.length}
    for name, kind in schema.items():
        column = table.columns[name]
        if kind == "text":
            size = len(column)
            packed[name] = msgpack.packb(list(column), use_bin_type=True)
        else:
            packed[name] = memoryview(column).cast("B")
            size = len(packed[name]) // _WIDTHS[kind]
        if size != table.length:
            raise WireError(f"column {name} has {size} rows, not {table.length}")
    return packed


def unpack(packed: memoryview) -> Any:  # noqa: ANN401 - anything that msgpack can hold
    """Return a value from msgpack. WireError if it is more than a message can have."""
    check_msgpack(packed)
    try:
        return msgpack.unpackb(packed, raw=False, strict_map_key=True)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise WireError(f"not msgpack: {error}") from None


def unpack_maps(packed: bytes, maps: int, entries: int) -> Any:  # noqa: ANN401 - whatever they hold
    """Return a value that has no lists, and a few ``maps`` of a few ``entries``. Else WireError."""
    # msgpack's own limits bound that. ``unpack`` must look at each value, and takes longer.
    try:
        return msgpack.unpackb(
            packed,
            raw=False,
            strict_map_key=True,
            object_hook=_at_most(maps),
            max_array_len=0,
            max_map_len=entries,
            max_str_len=NAME_BYTES,
            max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise WireError(f"not msgpack of a few maps: {error}") from None


def topic_of(frame: Frame) -> bytes:
    """Return the bytes before a frame's NUL, truncated if they are longer than any topic."""
    # Copy no more than that, because the frame of a large host has megabytes.
    return bytes(frame[: _TOPIC_BYTES + 1]).partition(b"\0")[0]


def decode(frame: Frame, pause: Pause = lambda: None) -> tuple[Topic, Message]:
    """Decode one frame. Any bytes may be passed. WireError unless they are a valid frame.

    ``pause`` is called between uninterruptible pieces of work that take some milliseconds.
    """
    topic, body = split(frame)
    return topic, _message(unpack(body), pause)


def split(frame: Frame) -> tuple[Topic, memoryview]:
    """Return topic and body of a frame. WireError if there are none, or too much."""
    if len(frame) > FRAME_BYTES:
        raise WireError(f"a message of {len(frame)} bytes is too large")
    head = topic_of(frame)
    if frame[len(head) : len(head) + 1] != b"\0":
        raise WireError("no NUL after the topic")
    return parse_topic(head), memoryview(frame)[len(head) + 1 :]


_OPTIONAL: Final = ("connections", "files")


def _message(value: Any, pause: Pause) -> Message:  # noqa: ANN401 - anything that msgpack can hold
    names = {item.name for item in fields(Message)}
    if not isinstance(value, dict) or value.keys() != names:
        raise WireError("the body is not a map of the schema's fields")
    if value["schema"] != SCHEMA:
        raise WireError(f"schema {value['schema']!r:.40}, this client reads {SCHEMA}")
    check_head(value)
    _check_coverage(value["coverage"])
    for name in TABLES:
        if not (value[name] is None and name in _OPTIONAL):
            value[name] = unpack_table(name, value[name], TABLES[name], pause)
    return Message(**value)


def _counts(*names: str, **others: tuple[type, ...]) -> dict[str, tuple[type, ...]]:
    return {**others, **dict.fromkeys((*names, *map(interval_name, names)), (int, type(None)))}


#: Parts of ``coverage``: maps, with the types of their values. Those that have a name are in lists.
COVERAGE_PARTS: Final = {
    "interfaces": _counts(
        *(*INTERFACE_COUNTERS, *PAYLOAD_COUNTERS),
        name=(bytes,), present=(bool,), addresses=(int, type(None)),
    ),
    "elsewhere": _counts(*PAYLOAD_COUNTERS),
    "disks": _counts(*DISK_COUNTERS, name=(bytes,), present=(bool,), stacked=(bool,)),
    "attributed": _counts(*ATTRIBUTED_COUNTERS),
}  # fmt: skip
#: ``coverage`` itself: its parts, and the host's own counters.
COVERAGE: Final = _counts(
    *HOST_COUNTERS,
    **{
        part: (list, type(None)) if "name" in kinds else (dict,)
        for part, kinds in COVERAGE_PARTS.items()
    },
)


def _check_coverage(value: Any) -> None:  # noqa: ANN401 - anything that msgpack can hold
    """Raise WireError unless ``value`` is a coverage object. Unknown values are None."""
    _check_map("coverage", value, COVERAGE)
    for part, kinds in COVERAGE_PARTS.items():
        for row in (value[part] or ()) if "name" in kinds else (value[part],):
            _check_map(f"coverage.{part}", row, kinds)


def _check_map(where: str, value: Any, kinds: Mapping[str, tuple[type, ...]]) -> None:  # noqa: ANN401
    if not isinstance(value, dict) or value.keys() != kinds.keys():
        raise WireError(f"{where} does not have the schema's fields")
    for name, item in value.items():
        if type(item) not in kinds[name]:
            raise WireError(f"{where}.{name} has a wrong type")
        if type(item) is int:
            check_count(f"{where}.{name}", item)
        if type(item) is bytes and len(item) > NAME_BYTES:
            raise WireError(f"{where}.{name} is too long")


def unpack_table(
    name: str,
    value: Any,  # noqa: ANN401 - anything that msgpack can hold
    schema: Mapping[str, str],
    pause: Pause = lambda: None,
) -> Table:
    """Return the table that ``pack_table`` made. WireError unless it has the schema's columns."""
    if not isinstance(value, dict) or value.keys() != {"length", *schema}:
        raise WireError(f"table {name} does not have the schema's columns")
    length = value["length"]
    check_count(f"{name}.length", length, ROWS + 1)
    columns: dict[str, Column] = {}
    for column, kind in schema.items():
        if kind in ("text", "16s"):
            pause()
        columns[column] = unpack_column(f"{name}.{column}", value[column], kind, length)
    return Table(length, columns)


def unpack_column(name: str, value: Any, kind: str, length: int) -> Column:  # noqa: ANN401
    """Return a column of ``length`` values of a type. WireError unless they are that."""
    if kind == "text":
        return _unpack_texts(name, value, length)
    if type(value) is not bytes or len(value) != length * _WIDTHS[kind]:
        raise WireError(f"{name} is not {length} values of {kind}")
    if kind == "16s":
        return [item for (item,) in struct.iter_unpack("16s", value)]
    column = array.array(_CODES[kind], value)
    if sys.byteorder == "big":
        column.byteswap()
    if kind == "f8":
        check_rates(name, value, column)
    return column


def _unpack_texts(name: str, value: Any, length: int) -> Column:  # noqa: ANN401
    if value == msgpack.Packer().pack_array_header(length) + b"\xc0" * length:
        return [None] * length  # as most columns are where there are no containers
    try:
        texts = msgpack.unpackb(
            value if type(value) is bytes else b"",
            object_hook=_refuse,
            list_hook=_at_most(1),
            max_array_len=length,
            max_bin_len=NAME_BYTES,
            max_str_len=0,
            max_ext_len=0,
        )
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise WireError(f"{name} is not a packed list of {length}: {error}") from None
    if type(texts) is not list or len(texts) != length:
        raise WireError(f"{name} is not a packed list of {length}")
    if not {*map(type, texts)} <= {bytes, type(None)}:
        raise WireError(f"{name} holds something other than bytes")
    return texts


def _refuse(_made: object) -> NoReturn:
    raise WireError("a map")


def _at_most(most: int) -> Callable[[Any], Any]:
    """Make a hook that refuses further lists or maps, before there are many within another."""
    left = iter(range(most))

    def take(made: Any) -> Any:  # noqa: ANN401 - a list or a map
        if next(left, None) is None:
            raise WireError(f"more than {most} of a kind")
        return made

    return take
