"""What the client makes of ``all/moved``, with the daemon's own code behind it."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from kernel_model import HIDDEN_PID, TICKS, Model, Tick, run

from pbmon_client.data.moved import COLUMNS, Happened, MovedReader
from pbmond import moved_wire, wire
from pbmond.fields import CHANGING, COUNTERS, DESCRIPTION, IDENTITY, NO_UID
from pbmond.moved_wire import ROW_COUNTERS, decode_moved, decode_tick, encode_moved, encode_tick
from pbmond.publish import moved_log
from pbmond.publish.moved_log import MovedLog
from pbmond.publish.topic_messages import Messages
from pbmond.store.processes import EXCLUDED
from pbmond.store.store import Store, StoreOptions
from tests import factories as make
from tests.past_host import rows_of

TABLES = tuple(DESCRIPTION)


@dataclass
class Daemon:
    """A run of the daemon: the kernel's tables, the store, and what it publishes."""

    epoch: str
    model: Model = field(default_factory=Model)
    log: MovedLog = field(default_factory=MovedLog)
    seq: int = 0
    time_s: int = 0

    def __post_init__(self) -> None:
        options = StoreOptions(
            2 * make.SECOND, 3 * make.SECOND, 4, lambda pid, _name, _uid: pid != HIDDEN_PID, 2
        )
        self.store = Store(options, make.STARTED_NS)

    def tick(self, tick: Tick) -> Messages:
        self.time_s += tick.seconds
        self.seq += 1
        run(self.store, self.model, tick, self.time_s)
        messages = Messages(
            self.store.snapshot(), replace(make.META, epoch=self.epoch, seq=self.seq)
        )
        self.log.keep(messages)
        return messages


@contextmanager
def limits(ticks: int, older_bytes: int) -> Iterator[None]:
    with (
        mock.patch.object(moved_log, "TICKS", ticks),
        mock.patch.object(moved_log, "OLDER_BYTES", older_bytes),
    ):
        yield


def take(reader: MovedReader, frame: bytes) -> list[Happened]:
    return list(reader.take(decode_moved(frame)))


@dataclass
class Sums:
    """Everything that a reader was told in one run, by table and id."""

    increases: dict[str, dict[int, list[int]]] = field(
        default_factory=lambda: {name: {} for name in TABLES}
    )
    rows: dict[str, dict[int, dict[str, Any]]] = field(
        default_factory=lambda: {name: {} for name in TABLES}
    )
    totals: Counter[str] = field(default_factory=Counter)

    def add(self, happened: Happened) -> None:
        for name in TABLES:
            table = happened.tables[name]
            rows = rows_of(table, COLUMNS[name])
            for number, row, more in zip(table.ids, rows, table.counters.tolist(), strict=True):
                old = self.increases[name].get(number, [0] * len(more))
                self.increases[name][number] = [a + b for a, b in zip(old, more, strict=True)]
                self.rows[name][number] = dict(zip(COLUMNS[name], row, strict=True))
        self.totals.update(dict(zip(COUNTERS, happened.totals.tolist(), strict=True)))


def newest(sums: Sums, name: str) -> dict[tuple[Any, ...], int]:
    """Return the newest id of each identity."""
    rows = sorted(sums.rows[name].items())
    return {tuple(row[each] for each in IDENTITY[name]): number for number, row in rows}


def assert_as_published(sums: Sums, happened: Happened, message: wire.Message) -> None:
    """The sums are the counters of ``all/flows``, and rows that moved are described as there."""
    for name in TABLES:
        ids = newest(sums, name)
        now = {*happened.tables[name].ids}
        published = wire.decode(wire.encode(wire.Topic(None, "flows"), message))[1]
        for row in getattr(published, name).rows():
            number = ids.get(tuple(row[each] for each in IDENTITY[name]))
            counters = [row[each] for each in ROW_COUNTERS[name]]
            if not any(counters):  # it may have been another row before, with another id
                assert number not in now
                continue
            assert number is not None
            assert sums.increases[name][number] == counters
            if number in now:
                told = sums.rows[name][number]
                assert {each: told[each] for each in told if each in row} == {
                    each: row[each] for each in told if each in row
                }
    assert dict(sums.totals) == {each: message.totals[each] for each in COUNTERS}


def assert_as_counted(sums: Sums, model: Model) -> None:
    """The rows have what the kernel counted for them, until they were deleted."""
    owners = {
        row["id"]: (key[0], len(ROW_COUNTERS[table]))
        for kept, table in (("flows", "connections"), ("files", "files"))
        for key, row in model.maps[kept].items()
    }
    told = {**sums.increases["connections"], **sums.increases["files"]}
    for number, increases in told.items():
        assert increases == model.published[number][1][: len(increases)]
    for number, (pid, count) in owners.items():  # the model counts more of a file than is shown
        moved = number in model.published and any(model.published[number][1][:count])
        assert (number in told) == (moved and pid != HIDDEN_PID)
    for name in COUNTERS:
        if not name.startswith("disk_"):
            assert sums.totals[name] == model.totals()[name]


def same(one: Happened, other: Happened) -> bool:
    return all(
        one.tables[name].ids == other.tables[name].ids
        and rows_of(one.tables[name], COLUMNS[name]) == rows_of(other.tables[name], COLUMNS[name])
        and one.tables[name].counters.tolist() == other.tables[name].counters.tolist()
        for name in one.tables
    ) and (one.position, one.time_ns, one.totals.tolist()) == (
        other.position,
        other.time_ns,
        other.totals.tolist(),
    )


STEPS = st.lists(
    st.tuples(TICKS, st.lists(st.booleans(), min_size=14, max_size=14)), min_size=1, max_size=2
)


@pytest.mark.unmeasured
@settings(max_examples=100, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(STEPS, st.sampled_from([1, 2, 3, 8]), st.sampled_from([1500, 4 << 20]))
def test_whoever_misses_messages_is_told_the_same_ticks_or_what_moved_meanwhile(
    runs: Sequence[tuple[list[Tick], list[bool]]], window: int, older_bytes: int
) -> None:
    every, lossy = MovedReader(COLUMNS), MovedReader(COLUMNS)
    with limits(window, older_bytes):
        for number, (ticks, received) in enumerate(runs):
            daemon, sums = Daemon(f"epoch-{number}"), Sums()
            known: dict[int, Happened] = {}
            counted, last = dict.fromkeys(COUNTERS, 0), 0
            for tick, arrives in zip(ticks, received, strict=False):
                messages = daemon.tick(tick)
                frame = daemon.log.frame(messages)
                (now,) = take(every, frame)
                assert not now.missed
                assert not now.missed_totals.any()
                known[now.position.seq] = now
                sums.add(now)
                assert_as_published(sums, now, messages.of(wire.Topic(None, "flows")))
                assert_as_counted(sums, daemon.model)
                if not arrives:
                    continue
                told = take(lossy, frame)
                assert told[-1].position == now.position
                for each in told:
                    assert same(each, known[each.position.seq])
                    assert each.missed == each.position.seq - last - 1
                    between = [known[seq].totals for seq in range(last + 1, each.position.seq)]
                    missing = sum(between, start=0 * each.totals)
                    assert each.missed_totals.tolist() == missing.tolist()
                    last = each.position.seq
                    for name, more, missed in zip(
                        COUNTERS, each.totals.tolist(), each.missed_totals.tolist(), strict=True
                    ):
                        counted[name] += more + missed
                assert tuple(counted.values()) == now.position.totals


@pytest.mark.unmeasured
@settings(max_examples=60)
@given(st.lists(TICKS, min_size=1, max_size=2), st.lists(st.integers(1, 5)), st.integers(1, 8))
def test_messages_that_are_taken_together_tell_the_same_ticks(
    runs: list[list[Tick]], sizes: list[int], window: int
) -> None:
    frames = []
    with limits(window, 4 << 20):
        for number, ticks in enumerate(runs):
            daemon = Daemon(f"epoch-{number}")
            frames += [daemon.log.frame(daemon.tick(tick)) for tick in ticks]
    reader = MovedReader(COLUMNS)
    expected = [each for frame in frames for each in take(reader, frame)]
    reader = MovedReader(COLUMNS)
    told: list[Happened] = []
    while frames:
        size = sizes.pop() if sizes else 1
        told += reader.take(*map(decode_moved, frames[:size]))
        del frames[:size]
    assert len(told) == len(expected)
    assert all(map(same, told, expected))


@settings(max_examples=60)
@given(TICKS, st.integers(0, 5))
def test_fewer_missed_messages_than_a_message_has_ticks_lose_nothing(
    ticks: list[Tick], stride: int
) -> None:
    daemon, reader, seqs = Daemon("epoch"), MovedReader(COLUMNS), []
    for number, tick in enumerate(ticks):
        frame = daemon.log.frame(daemon.tick(tick))
        if number % (stride + 1) == 0:
            seqs += [each.position.seq for each in take(reader, frame)]
    assert seqs == list(range(1, seqs[-1] + 1))


@settings(max_examples=60)
@given(TICKS)
def test_what_each_user_may_see_of_the_ticks_is_what_they_saw(ticks: list[Tick]) -> None:
    daemon, reader = Daemon("epoch"), MovedReader(COLUMNS)
    viewer_of = {name: COLUMNS[name].index("viewer") for name in TABLES}
    process_of = {
        name: [COLUMNS[name].index(each) for each in ("pid", "start_ns")] for name in TABLES
    }
    sums = {uid: np.zeros(len(COUNTERS), np.int64) for uid in (1000, 1001)}
    for tick in ticks:
        messages = daemon.tick(tick)
        (happened,) = take(reader, daemon.log.frame(messages))
        viewers = {}
        processes = happened.tables["processes"]
        rows = rows_of(processes, COLUMNS["processes"])
        for row, increases in zip(rows, processes.counters, strict=True):
            viewer = row[viewer_of["processes"]]
            viewers[tuple(row[each] for each in process_of["processes"])] = viewer
            if viewer != NO_UID:
                sums[viewer] += increases
        for name in ("connections", "files"):
            for row in rows_of(happened.tables[name], COLUMNS[name]):
                process = tuple(row[each] for each in process_of[name])
                assert row[viewer_of[name]] == viewers[process]
        for uid, seen in sums.items():
            live = messages.of(wire.Topic(uid, "flows"))
            hidden = [each for each in live.retired.rows() if each["unit"] == EXCLUDED]
            shown = [live.totals[name] - sum(each[name] for each in hidden) for name in COUNTERS]
            assert seen.tolist() == shown


def moving(daemon: Daemon, *, cmdline: bytes = b"curl\0x") -> Messages:
    """Let process 7 move 10 bytes in one tick."""
    quiet = Tick([], frozenset(), frozenset(), 0, refuse=False, seconds=1)
    daemon.model.events = [replace(make.seen(time_s=daemon.time_s + 1), cmdline=cmdline)]
    daemon.model.move("flows", 7, 1, 0, [10, 0, 1, 0, 0, 0])
    return daemon.tick(quiet)


def told(packed: bytes, table: str = "processes") -> int:
    return decode_tick(packed).tables[table].told.length


def test_a_row_is_described_once_in_a_message_and_again_when_it_changes() -> None:
    daemon = Daemon("epoch")
    for _ in range(moved_wire.TICKS + 3):
        message = decode_moved(daemon.log.frame(moving(daemon)))
        assert sum(map(told, message.ticks)) == 1
        assert sum(told(each, "connections") for each in message.ticks) == 1
    changed = decode_moved(daemon.log.frame(moving(daemon, cmdline=b"wget")))
    assert told(changed.ticks[-1]) == 1
    assert told(changed.ticks[-1], "connections") == 0


def test_a_tick_of_which_there_was_no_frame_is_in_the_next_message() -> None:
    daemon, reader = Daemon("epoch"), MovedReader(COLUMNS)
    take(reader, daemon.log.frame(moving(daemon)))
    for _ in range(moved_wire.TICKS - 1):
        moving(daemon)
    happened = take(reader, daemon.log.frame(moving(daemon)))
    assert [each.position.seq for each in happened] == [*range(2, 2 + moved_wire.TICKS)]
    assert not any(each.missed for each in happened)


def test_ticks_are_not_kept_for_nobody() -> None:
    daemon = Daemon("epoch")
    for _ in range(3):
        moving(daemon)
    assert len(decode_moved(daemon.log.frame(moving(daemon))).ticks) == 1
    for _ in range(moved_wire.TICKS + 1):
        moving(daemon)
    message = decode_moved(daemon.log.frame(moving(daemon)))
    assert message.first == message.seq


def test_a_reader_that_starts_again_is_told_what_moved_since_the_last_one() -> None:
    daemon, reader = Daemon("epoch"), MovedReader(COLUMNS)
    (first,) = take(reader, daemon.log.frame(moving(daemon)))
    for _ in range(20):
        moving(daemon)
    (next_one,) = take(MovedReader(COLUMNS, first.position), daemon.log.frame(moving(daemon)))
    received = COUNTERS.index("net_rx_bytes")
    assert next_one.missed == 20
    assert next_one.missed_totals[received] == 200
    assert next_one.totals[received] == 10


def test_the_first_message_of_a_reader_tells_its_newest_tick() -> None:
    daemon = Daemon("epoch")
    for _ in range(moved_wire.TICKS + 3):  # the row is described again in the last but two
        daemon.log.frame(moving(daemon))
    reader = MovedReader(COLUMNS)
    (happened,) = take(reader, daemon.log.frame(moving(daemon)))
    assert happened.position.seq == happened.missed + 1 == moved_wire.TICKS + 4
    assert [row[0] for row in rows_of(happened.tables["processes"], COLUMNS["processes"])] == [7]
    assert len(take(reader, daemon.log.frame(moving(daemon)))) == 1


def test_what_no_reading_showed_is_of_nobody() -> None:
    daemon, reader = Daemon("epoch"), MovedReader(COLUMNS)
    reading = make.reading(1)
    daemon.store.apply(reading)
    unread = make.counters(make.counter(5, "net", (70, 0, 1, 0)))
    daemon.store.fold(unread, make.counters(), make.counters())
    messages = Messages(daemon.store.snapshot(), make.META)
    (happened,) = take(reader, daemon.log.frame(messages))
    retired = happened.tables["retired"]
    assert rows_of(retired, COLUMNS["retired"]) == [(None,) * 6 + (NO_UID,)]
    assert retired.counters.sum(axis=0).tolist() == happened.totals.tolist()
    assert happened.totals[COUNTERS.index("net_rx_bytes")] == 70


def test_what_the_configuration_hides_is_excluded_by_user() -> None:
    daemon, reader = Daemon("epoch"), MovedReader(COLUMNS)
    daemon.model.events = [make.seen(HIDDEN_PID, uid=1000)]
    daemon.model.move("flows", HIDDEN_PID, 1, 0, [10, 0, 1, 0, 0, 0])
    quiet = Tick([], frozenset(), frozenset(), 0, refuse=False, seconds=1)
    (happened,) = take(reader, daemon.log.frame(daemon.tick(quiet)))
    assert happened.tables["retired"].texts["unit"] == [b"(excluded)"]
    assert not any(happened.tables[name].ids for name in TABLES)
    assert happened.totals[COUNTERS.index("net_rx_bytes")] == 10


def test_a_message_that_came_before_tells_nothing() -> None:
    daemon, reader = Daemon("epoch"), MovedReader(COLUMNS)
    frame = daemon.log.frame(moving(daemon))
    assert len(take(reader, frame)) == 1
    assert take(reader, frame) == []


def test_the_columns_are_those_that_were_asked_for() -> None:
    daemon = Daemon("epoch")
    reader = MovedReader({"processes": ("name", "pid"), "connections": ("rtt_us", "uid", "class")})
    (happened,) = take(reader, daemon.log.frame(moving(daemon)))
    assert rows_of(happened.tables["processes"], ("name", "pid")) == [(b"curl", 7)]
    ((rtt_us, uid, code),) = happened.tables["connections"].numbers.tolist()
    assert (rtt_us, uid, code) == (0, 1000, 0)
    assert happened.tables["files"].numbers.shape == (0, 0)


def test_columns_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="files has no pat"):
        MovedReader({"files": ("pat",)})


def test_what_changes_all_the_time_is_said_without_a_description() -> None:
    assert {name for named in CHANGING.values() for name in named} == {"rtt_us"}
    assert not any({*CHANGING[name]} & {*DESCRIPTION[name]} for name in TABLES)


# --- what no daemon sends -------------------------------------------------------------------------


def one_message() -> moved_wire.MovedMessage:
    daemon = Daemon("epoch")
    return decode_moved(daemon.log.frame(moving(daemon)))


def with_tick(**more: Any) -> moved_wire.MovedMessage:
    message = one_message()
    tick = replace(decode_tick(message.ticks[0]), **more)
    for table in tick.tables.values():
        for part in (table.rows, table.told):
            for name, column in part.columns.items():
                if name in ("local", "remote"):
                    part.columns[name] = b"".join(column)  # type: ignore[index]
    return replace(message, ticks=[encode_tick(tick)])


def test_a_row_that_was_never_described_is_refused() -> None:
    tables = dict(decode_tick(one_message().ticks[0]).tables)
    columns = {
        name: [] if kind == "text" else b"" for name, kind in moved_wire.TOLD["processes"].items()
    }
    tables["processes"] = replace(tables["processes"], told=wire.Table(0, columns))
    with pytest.raises(wire.WireError, match="not described"):
        list(MovedReader(COLUMNS).take(with_tick(tables=tables)))


def test_rows_that_moved_more_than_the_host_are_refused() -> None:
    with pytest.raises(wire.WireError, match="more than the host"):
        list(MovedReader(COLUMNS).take(with_tick(totals=bytes(8 * len(COUNTERS)))))


def test_a_tick_in_the_place_of_another_is_refused() -> None:
    with pytest.raises(wire.WireError, match="the place of"):
        list(MovedReader(COLUMNS).take(with_tick(seq=5)))


@pytest.mark.parametrize(
    "packed",
    [
        b"\xdd\x04\0\0\0" + bytes(1 << 26),  # a list of as many zeros
        b"\x81\xa1a\x81\xa1b\x90",  # an empty list
        b"\x81\xa1a" * 100 + b"\x80",  # maps within maps
        b"\x81\xa1a" * 5000 + b"\x80",
        b"\xde\x01\0" + b"".join(b"\xcd%c%c\0" % (1, each) for each in range(256)),
        b"\x81\xa1a\xda\x80\0" + b"x" * 32768,  # a long text
        b"\x81\xa1a\xd6\xff\0\0\0\0",  # a time
        b"\x80\0",  # something behind
    ],
)
def test_a_tick_that_would_take_much_memory_is_refused_before_it_does(packed: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(wire.WireError):
        decode_tick(packed)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@settings(max_examples=300)
@given(st.data())
def test_any_bytes_are_a_message_or_a_wire_error(data: st.DataObject) -> None:
    whole = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)) | st.just(len(whole)))
    with suppress(wire.WireError):
        take(MovedReader(COLUMNS), bytes(whole[:cut]))


VALID = encode_moved(one_message())
