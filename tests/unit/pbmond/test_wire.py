"""The codec: what goes in comes out, and no bytes whatever raise anything but WireError."""

from __future__ import annotations

import array
import math
from typing import Any

import msgpack
import pytest
from client_messages import counts, coverage, disk, interface
from hypothesis import given, settings
from hypothesis import strategies as st

from pbmond import wire
from pbmond.fields import COUNTERS, HISTORY, RATES
from pbmond.wire import Message, Table, Topic, WireError

CODES = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "f8": "d"}
LIMITS = {"u1": 1 << 8, "u2": 1 << 16, "u4": 1 << 32, "u8": 1 << 64}


def column(kind: str, length: int, seed: int = 0) -> Any:
    if kind == "text":
        return [
            None if (seed + i) % 3 == 0 else b"\xff\x00name" + bytes([i % 256])
            for i in range(length)
        ]
    if kind == "16s":
        return b"".join(bytes([(seed + i) % 256]) * 16 for i in range(length))
    if kind == "f8":
        return array.array("d", [math.nan if i % 2 else i + 0.5 for i in range(length)])
    return array.array(
        CODES[kind], [(LIMITS[kind] - 1 - i - seed) % LIMITS[kind] for i in range(length)]
    )


def table(name: str, length: int) -> Table:
    schema = wire.TABLES[name]
    return Table(
        length, {key: column(kind, length, i) for i, (key, kind) in enumerate(schema.items())}
    )


def message(length: int = 2, **changes: Any) -> Message:
    values: dict[str, Any] = {
        "host": "host",
        "boot_id": "b",
        "epoch": "e",
        "seq": 7,
        "time_ns": 1,
        "now_ns": 2,
        "interval_ns": 3,
        "health": {"status": "complete"},
        "coverage": coverage(
            interfaces=[interface(b"eth0\xff", 1 << 63, None), interface(b"lo", addresses=None)],
            disks=[disk(b"vda", 5, 1), disk(b"dm-0", None, None, stacked=True)],
            elsewhere=counts(wire.PAYLOAD_COUNTERS, 7, None),
        ),
        "totals": {**dict.fromkeys(COUNTERS, 1 << 63), **dict.fromkeys(RATES)},
        "history": {name: [None, 1.5] for name in HISTORY},
        "retired": table("retired", length),
        "processes": table("processes", length),
        **changes,
    }
    return Message(**values)


def frame_of(value: Any, topic: bytes = b"all/processes") -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return topic + b"\0" + packed


def body() -> dict[str, Any]:
    unpacked: dict[str, Any] = msgpack.unpackb(
        wire.encode(Topic(None, "processes"), message()).partition(b"\0")[2], raw=False
    )
    return unpacked


def raw(value: Any) -> Any:
    """Compare NaN as equal, and columns by their bytes."""
    return value.tobytes() if isinstance(value, array.array) else list(value)


@pytest.mark.parametrize("length", [0, 1, 300])
def test_every_column_comes_out_as_it_went_in(length: int) -> None:
    sent = message(length, connections=table("connections", length), files=table("files", length))
    topic, got = wire.decode(wire.encode(Topic(1000, "flows"), sent))
    assert topic == Topic(1000, "flows")
    for name, schema in wire.TABLES.items():
        before, after = getattr(sent, name), getattr(got, name)
        assert after.length == length
        for key, kind in schema.items():
            want = before.columns[key]
            if kind == "16s":
                want = [want[i : i + 16] for i in range(0, len(want), 16)]
            assert raw(after.columns[key]) == raw(want), (name, key)
    for name in ("host", "boot_id", "epoch", "seq", "time_ns", "now_ns", "interval_ns", "health"):
        assert getattr(got, name) == getattr(sent, name)
    assert got.coverage == sent.coverage
    assert got.totals == sent.totals
    assert got.history == sent.history
    assert got.schema == "pbmon/2"


class DyingPacker:
    """A packer as of msgpack 1.0.3, whose buffer is gone with it."""

    real = msgpack.Packer

    def __init__(self, **how: Any) -> None:
        self._packed = bytearray()

    def pack(self, value: object) -> bytes:
        packed: bytes = self.real().pack(value)
        self._packed = bytearray(packed)
        return packed

    def getbuffer(self) -> memoryview:
        return memoryview(self._packed)

    def __del__(self) -> None:
        self._packed[:] = bytes(len(self._packed))


def test_a_frame_is_whole_where_a_packer_takes_its_buffer_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sound = wire.encode(Topic(None, "processes"), message())
    monkeypatch.setattr(msgpack, "Packer", DyingPacker)
    assert wire.encode(Topic(None, "processes"), message()) == sound
    assert msgpack.unpackb(wire.pack({"a": 1})) == {"a": 1}


def test_what_the_host_does_not_tell_is_null_in_coverage() -> None:
    silent = coverage(
        interfaces=None, disks=None, **counts(wire.HOST_COUNTERS), elsewhere=counts(
            wire.PAYLOAD_COUNTERS), attributed=counts(wire.ATTRIBUTED_COUNTERS),
    )  # fmt: skip
    _, got = wire.decode(wire.encode(Topic(None, "processes"), message(coverage=silent)))
    assert got.coverage == silent


@pytest.mark.parametrize(
    ("frame", "topic"),
    [
        (b"all/flows\0body\0more", b"all/flows"),
        (b"uid/4294967295/flows/4294967295\0", b"uid/4294967295/flows/4294967295"),
        (b"uid/4294967295/flows/42949672950\0", b"uid/4294967295/flows/42949672950"),
        (b"all/flows", b"all/flows"),
        (b"\0body", b""),
        (b"", b""),
    ],
)
def test_the_topic_stands_before_the_first_nul(frame: bytes, topic: bytes) -> None:
    assert wire.topic_of(frame) == topic
    assert wire.topic_of(memoryview(frame)) == topic


def test_a_table_that_a_topic_does_not_carry_is_none() -> None:
    _, got = wire.decode(wire.encode(Topic(None, "processes"), message()))
    assert got.connections is None
    assert got.files is None


@pytest.mark.parametrize("length", [0, 1, 15, 16, 65_536])
def test_a_column_of_which_no_text_is_known_comes_out_as_it_went_in(length: int) -> None:
    packed = wire.pack([None] * length)
    assert wire.unpack_column("name", packed, "text", length) == [None] * length
    for damaged in (packed + b"\xc0", packed[:-1], b"\xc0" * len(packed)):
        with pytest.raises(WireError):
            wire.unpack_column("name", damaged, "text", length)


def test_rows_are_dicts_of_wire_values() -> None:
    rows = list(Table(2, {"pid": array.array("I", [1, 2]), "name": [b"a", None]}).rows())
    assert rows == [{"pid": 1, "name": b"a"}, {"pid": 2, "name": None}]


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        (b"all/processes", Topic(None, "processes")),
        (b"all/flows", Topic(None, "flows")),
        (b"all/flows/0", Topic(None, "flows", 0)),
        (b"all/flows/4294967295", Topic(None, "flows", 4294967295)),
        (b"uid/0/processes", Topic(0, "processes")),
        (b"uid/1000/flows", Topic(1000, "flows")),
        (b"uid/1000/flows/42", Topic(1000, "flows", 42)),
        (b"all/moved", Topic(None, "moved")),
    ],
)
def test_topics_are_read_and_written(text: bytes, topic: Topic) -> None:
    assert wire.parse_topic(text) == topic
    assert str(topic).encode() == text


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"all", b"all/", b"all/files", b"all/processes/", b"all/processes/1", b"ALL/flows"),
        *(b"uid/processes", b"uid//processes", b"uid/-1/flows", b"uid/01/flows", b"uid/+1/flows"),
        *(b"uid/1_0/flows", b"uid/4294967296/flows", b"uid/1", b"uid", b"uid/1/flows/1/1"),
        *(b"all/flows/", b"all/flows/x", b"all/flows/00", b"all/flows\0", b" all/flows"),
        *("uid/\u0661/flows".encode(), b"all/flows/" + b"1" * 100_000),
    ],
)
def test_what_no_topic_writes_is_not_a_topic(text: bytes) -> None:
    with pytest.raises(WireError):
        wire.parse_topic(text)


def test_encode_refuses_columns_that_differ_from_the_schema() -> None:
    good = table("processes", 2)
    for columns in (
        {key: value for key, value in good.columns.items() if key != "uid"},
        {**good.columns, "more": [None, None]},
        {**good.columns, "pid": array.array("I", [1])},
        {**good.columns, "pid": array.array("Q", [1, 2])},
        {**good.columns, "name": [b"one"]},
    ):
        with pytest.raises(WireError):
            wire.encode(Topic(None, "processes"), message(processes=Table(2, columns)))


def wrong_coverages(good: dict[str, Any]) -> list[dict[str, Any]]:
    row, drive = good["interfaces"][0], good["disks"][0]
    rows: list[Any] = [
        {**row, "name": "text"}, {**row, "rx_bytes": 1.5}, {**row, "rx_bytes": True},
        {**row, "present": None}, {**row, "addresses": b""}, {**row, "more": 1}, [], {}, None,
        {key: value for key, value in row.items() if key != "tx_packets_interval"},
    ]  # fmt: skip
    disks = [{**drive, "stacked": 1}, {**drive, "read_bytes": "1"}, {**drive, "addresses": 1}]
    no_lists: list[Any] = [{}, "", {"eth0": row}]
    return [
        *({**good, "interfaces": [row, wrong]} for wrong in rows),
        *({**good, "disks": [wrong]} for wrong in disks),
        *({**good, "interfaces": wrong} for wrong in no_lists),
        *({**good, "elsewhere": wrong} for wrong in [*rows[-4:-1], good["attributed"]]),
        {**good, "attributed": {**good["attributed"], "disk_read_bytes": 0.5}},
        {**good, "forwarded_packets": b"1"},
        {key: value for key, value in good.items() if key != "disks"},
    ]


def mutations() -> list[tuple[str, Any]]:
    start = body()
    wrong: list[Any] = [None, -1, "x", b"x", [], {}, 1.5]
    changes: list[tuple[str, Any]] = [
        *(
            (name, value)
            for name in start
            for value in wrong
            if not (value is None and name in ("connections", "files"))
            and not (value == {} and name in ("health", "history"))
            and not (value == -1 and name in ("seq", "time_ns", "now_ns", "interval_ns"))
            and not (value == "x" and name in ("host", "boot_id", "epoch"))
        ),
        *(("coverage", value) for value in wrong_coverages(start["coverage"])),
        ("totals", {**start["totals"], "net_rx_bytes": True}),
        ("totals", {**start["totals"], "net_rx_bytes_per_s": 1}),
        ("seq", True),
        ("processes", {**start["processes"], "length": 3}),
        ("processes", {**start["processes"], "length": 1 << 62}),
        ("processes", {**start["processes"], "length": True}),
        ("processes", {**start["processes"], "name": ["text", "text"]}),
        ("processes", {**start["processes"], "name": b"ab"}),
        ("processes", {**start["processes"], "pid": [1, 2]}),
        ("processes", {**start["processes"], "more": b""}),
        ("schema", "pbmon/1"),
    ]
    return changes


@pytest.mark.parametrize(("name", "value"), mutations(), ids=lambda value: repr(value)[:30])
def test_one_wrong_field_is_a_wire_error(name: str, value: Any) -> None:
    wire.decode(frame_of(body()))
    with pytest.raises(WireError):
        wire.decode(frame_of({**body(), name: value}))


def test_a_missing_or_a_further_field_is_a_wire_error() -> None:
    for value in ({**body(), "more": 1}, {k: v for k, v in body().items() if k != "seq"}):
        with pytest.raises(WireError):
            wire.decode(frame_of(value))


@pytest.mark.parametrize(
    "packed",
    [
        *(b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x81\x90\x01"),
        *(b"\x91" * 100_000, b"\x81\xa1a" * 50_000, b"\xa1\xff", b"\xd7\xff" + b"\xff" * 8),
        *(b"\xc7\x0c\xff" + b"\xff" * 12, b"\xd4\x05x", b"\x80\x80", b"\xc6\xff\xff\xff\xff"),
    ],
    ids=lambda packed: repr(packed[:12]),
)
def test_hostile_msgpack_is_a_wire_error(packed: bytes) -> None:
    with pytest.raises(WireError):
        wire.decode(b"all/processes\0" + packed)


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_raise_only_wire_error(data: bytes) -> None:
    for frame in (data, b"all/processes\0" + data):
        with pytest.raises(WireError):
            wire.decode(frame)


LONG = ("text", "16s")


def test_a_decoder_pauses_between_columns_that_take_long() -> None:
    pauses = []
    wire.decode(VALID, lambda: pauses.append(1))
    long = [kind for table in wire.TABLES.values() for kind in table.values() if kind in LONG]
    assert len(pauses) == len(long) - sum(kind in LONG for kind in wire.TABLES["files"].values())


@pytest.mark.parametrize("value", [[], b"", b"\x90", b"\x91\x01", b"\xc1", None])
def test_a_text_column_that_is_no_packed_list_of_texts_is_a_wire_error(value: Any) -> None:
    changed = body()
    changed["processes"]["name"] = value
    with pytest.raises(WireError):
        wire.decode(frame_of(changed))


VALID = wire.encode(Topic(None, "flows"), message(connections=table("connections", 2)))


@settings(max_examples=300)
@given(st.integers(0, len(VALID) - 1), st.binary(min_size=1, max_size=4), st.booleans())
def test_a_damaged_frame_is_decoded_or_is_a_wire_error(at: int, new: bytes, cut: bool) -> None:
    damaged = VALID[:at] if cut else VALID[:at] + new + VALID[at + len(new) :]
    try:
        _, got = wire.decode(damaged)
    except WireError:
        return
    # What passes has the schema's shape: every row can be walked.
    assert not cut
    assert len(list(got.processes.rows())) == got.processes.length


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=3)
    | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.unmeasured
@settings(max_examples=200)
@given(st.sampled_from(sorted(body())), st.sampled_from(["", *wire.TABLES["processes"]]), VALUES)
def test_any_value_in_any_place_raises_only_wire_error(name: str, inner: str, value: Any) -> None:
    changed = body()
    if inner and isinstance(changed[name], dict) and inner in changed[name]:
        changed[name][inner] = value
    else:
        changed[name] = value
    try:
        _, got = wire.decode(frame_of(changed))
    except WireError:
        return
    assert len(list(got.processes.rows())) == got.processes.length
