"""The conservation law under everything that can happen to a row: rows + retired = totals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pbmond import wire
from pbmond.fields import COUNTERS, counter_names
from pbmond.kernel.records import FILE_KEY, FLOW_KEY, OVERFLOW_KEY, Event
from pbmond.publish.topic_messages import Messages
from pbmond.store.snapshot import StoreSnapshot
from pbmond.store.store import Store, StoreOptions
from tests import factories as make

TABLES = ("flows", "files", "overflow")
KEYS = {"flows": FLOW_KEY, "files": FILE_KEY, "overflow": OVERFLOW_KEY}
KINDS = {"flows": ("net", "loopback", "unix"), "files": ("file", "pipe"), "overflow": ("net",)}
HIDDEN_PID = 3
#: Of connections: of an interface of the host, and of none.
LOCALS = tuple(bytes(each).ljust(16, b"\0") for each in ((192, 0, 2, 1), (198, 51, 100, 1)))


@dataclass
class Model:
    """The kernel's maps as plain dicts, and the sums that the store must arrive at."""

    started: dict[int, int] = field(default_factory=dict)  # pid -> how often it was used
    maps: dict[str, dict[Any, dict[str, Any]]] = field(
        default_factory=lambda: {table: {} for table in TABLES}
    )
    published: dict[int, tuple[str, list[int]]] = field(default_factory=dict)  # id -> class, values
    next_id: int = 1
    events: list[Event] = field(default_factory=list)

    def start_ns(self, pid: int) -> int:
        # No start is a multiple of the clock tick, in which /proc gives starts.
        return make.START_NS + self.started.get(pid, 0) * 5_000_000_017

    def move(self, table: str, pid: int, number: int, kind: int, values: list[int]) -> None:
        name = KINDS[table][kind % len(KINDS[table])]
        key = (pid, self.start_ns(pid), number, name)
        row = self.maps[table].get(key)
        if row is None:
            row = {"id": self.next_id, "kind": name, "values": [0] * 6}
            self.maps[table][key] = row
            self.next_id += 1
        row["values"] = [old + new for old, new in zip(row["values"], values, strict=True)]

    def read(self, table: str, skip: frozenset[int], twice: frozenset[int]) -> list[Any]:
        pairs = []
        for (pid, start_ns, number, name), row in self.maps[table].items():
            if row["id"] not in skip:
                one = (self.key(table, pid, start_ns, number, name), self.tell(row))
                pairs += [one, one] if row["id"] in twice else [one]
        return pairs

    def key(self, table: str, pid: int, start_ns: int, number: int, name: str) -> Any:
        if table == "flows":
            local = LOCALS[number % len(LOCALS)]
            return make.flow_key(pid, start_ns, local_port=number, local=local)
        if table == "files":
            return make.file_key(pid, start_ns, number)
        return make.overflow_key(pid, start_ns, name)

    def tell(self, row: dict[str, Any]) -> Any:
        self.published[row["id"]] = row["kind"], list(row["values"])
        return make.counter(row["id"], row["kind"], row["values"], netns=make.NETNS)

    def delete(self, table: str, ids: set[int], growth: int) -> Any:
        finals = []
        for key, row in list(self.maps[table].items()):
            if row["id"] in ids:
                row["values"] = [value + growth for value in row["values"]]
                finals.append(self.tell(row))
                del self.maps[table][key]
        return make.counters(*finals)

    def totals(self) -> dict[str, int]:
        sums = dict.fromkeys(COUNTERS, 0)
        for kind, values in self.published.values():
            names = (*counter_names(kind), "retransmitted_segments", "retransmitted_bytes")
            for name, value in zip(names, values, strict=True):
                sums[name] += value
        return sums


PIDS = st.integers(1, 4)
#: Bytes in and out, calls in and out, segments (of 32 bits) and bytes sent again.
VALUES = st.tuples(
    *[st.integers(0, 1 << 55)] * 4, st.integers(0, 1 << 20), st.integers(0, 1 << 55)
).map(list)
OPERATIONS = st.one_of(
    st.tuples(
        st.just("move"), st.sampled_from(TABLES), PIDS, st.integers(0, 2), st.integers(0, 2), VALUES
    ),
    st.tuples(st.just("seen"), PIDS, st.sampled_from([b"a", b"b"]), st.sampled_from([1000, 1001])),
    st.tuples(st.just("found"), PIDS),
    st.tuples(st.just("exit"), PIDS, st.integers(0, 1 << 40)),
    st.tuples(st.just("reuse"), PIDS),
    st.tuples(st.just("forget"), PIDS),  # reused without an event
    st.tuples(st.just("sample"), PIDS, st.integers(0, 1 << 40), st.sampled_from([1000, 1001])),
    st.tuples(st.just("gone"), PIDS),
)


@dataclass(frozen=True)
class Tick:
    """What happens in one tick."""

    operations: list[tuple[Any, ...]]
    skip: frozenset[int]  # rows that the reading leaves out
    twice: frozenset[int]  # rows that it holds twice
    growth: int  # bytes that every deleted row moves after the reading
    refuse: bool  # deleting fails
    seconds: int


TICKS = st.lists(
    st.builds(
        Tick,
        st.lists(OPERATIONS, max_size=8),
        st.frozensets(st.integers(1, 12), max_size=2),
        st.frozensets(st.integers(1, 12), max_size=2),
        st.integers(0, 1000),
        st.booleans(),
        st.integers(1, 4),
    ),
    min_size=1,
    max_size=14,
)


def _perform(model: Model, operation: tuple[Any, ...], time_s: int) -> list[Any]:
    """Do one operation; return the /proc samples that it causes."""
    what, *rest = operation
    if what == "move":
        model.move(*rest)
        return []
    pid = rest[0]
    start_ns = model.start_ns(pid)
    if what == "seen":
        model.events.append(make.seen(pid, start_ns, rest[1], time_s, uid=rest[2]))
    elif what == "found":
        coarse_ns = start_ns // 10_000_000 * 10_000_000
        model.events.append(make.seen(pid, coarse_ns, b"a", time_s))
    elif what == "exit":
        model.events.append(make.exited(pid, start_ns, time_s, (rest[1], 1)))
    elif what == "sample":
        unit = b"%d.service" % (rest[1] % 3)  # it moves from one to another
        seen = (
            None
            if rest[2] is None
            else make.seen(pid, start_ns, b"a", time_s, uid=rest[2], unit=unit)
        )
        return [make.sample(pid, start_ns, (rest[1], 2), [(1, 1)], seen=seen)]
    elif what == "gone":
        return [make.gone(pid, start_ns)]
    else:
        if what == "reuse":
            model.events.append(make.exited(pid, start_ns, time_s))
        model.started[pid] = model.started.get(pid, 0) + 1
    return []


def _run(store: Store, model: Model, tick: Tick, time_s: int) -> None:
    samples = [sample for each in tick.operations for sample in _perform(model, each, time_s)]
    flows, files, overflow = (model.read(table, tick.skip, tick.twice) for table in TABLES)
    reading = make.reading(time_s, flows, files, overflow, model.events)
    model.events = []
    retire = store.apply(reading)
    ids = {table: set(getattr(retire, table).tolist()) for table in TABLES}
    if not tick.refuse:
        store.fold(*(model.delete(table, ids[table], tick.growth) for table in TABLES))
    store.apply_proc(samples)


def _sums(message: wire.Message) -> dict[str, int]:
    return {
        name: sum(message.processes.columns[name].tolist())
        + sum(message.retired.columns[name].tolist())
        for name in COUNTERS
    }


@settings(max_examples=150)
@given(TICKS)
def test_rows_and_retired_add_up_to_the_totals_whatever_happens(ticks: list[Tick]) -> None:
    options = StoreOptions(
        2 * make.SECOND, 3 * make.SECOND, 4, lambda pid, _name, _uid: pid != HIDDEN_PID, 2
    )
    store, model = Store(options, make.STARTED_NS), Model()
    time_s = 0
    before = dict.fromkeys(COUNTERS, 0)
    seen = dict.fromkeys((1000, 1001), before)
    for tick in ticks:
        time_s += tick.seconds
        _run(store, model, tick, time_s)
        messages = Messages(store.snapshot(), make.META)
        scopes = {uid: messages.of(wire.Topic(uid, "flows")) for uid in seen}
        everyone = messages.of(wire.Topic(None, "flows"))
        totals = {name: everyone.totals[name] for name in COUNTERS}
        expected = model.totals()
        for name in COUNTERS:
            if not name.startswith("disk_"):
                assert totals[name] == expected[name], name
            assert totals[name] >= before[name], f"{name} went down"
            # What may have moved under another user is nobody's but root's.
            assert totals[name] >= sum(each.totals[name] for each in scopes.values()), name
        assert _sums(everyone) == totals
        _assert_covered(everyone, list(scopes.values()), model)
        for uid, message in scopes.items():
            own = {name: message.totals[name] for name in COUNTERS}
            assert _sums(message) == own
            assert all(own[name] >= seen[uid][name] for name in COUNTERS)
            seen[uid] = own
            frame = wire.encode(wire.Topic(uid, "flows"), message)
            assert wire.decode(frame)[1].processes.length == message.processes.length
        assert HIDDEN_PID not in everyone.processes.columns["pid"]
        before = totals


def _payload(message: wire.Message, name: str) -> dict[bytes, int]:
    parts = {row["name"]: row[name] for row in message.coverage["interfaces"]}
    return {**parts, b"elsewhere": message.coverage["elsewhere"][name]}


def _assert_covered(everyone: wire.Message, scopes: list[wire.Message], model: Model) -> None:
    """Interfaces and elsewhere hold what the net and loopback counters hold, each byte once."""
    for way in ("rx", "tx"):
        name = f"payload_{way}_bytes"
        parts = _payload(everyone, name)
        expected = sum(model.totals()[f"{kind}_{way}_bytes"] for kind in ("net", "loopback"))
        assert sum(parts.values()) == expected
        shared = [_payload(scope, name) for scope in scopes]
        assert all(sum(each[place] for each in shared) <= parts[place] for place in parts)
        for scope, own in zip(scopes, shared, strict=True):
            seen = sum(scope.totals[f"{kind}_{way}_bytes"] for kind in ("net", "loopback"))
            assert sum(own.values()) == seen
        if everyone.interval_ns:
            moved = _payload(everyone, wire.interval_name(name))
            assert all(0 <= moved[place] <= parts[place] for place in parts)


@settings(max_examples=60)
@given(TICKS)
def test_a_snapshot_never_changes(ticks: list[Tick]) -> None:
    options = StoreOptions(2 * make.SECOND, 3 * make.SECOND, 4, lambda *_: True)
    store, model = Store(options, make.STARTED_NS), Model()
    kept = []
    time_s = 0
    for tick in ticks:
        time_s += tick.seconds
        _run(store, model, tick, time_s)
        snapshot = store.snapshot()
        kept.append((snapshot, _frames(snapshot)))
    for snapshot, frames in kept:
        assert _frames(snapshot) == frames


def _frames(snapshot: StoreSnapshot) -> list[bytes]:
    messages = Messages(snapshot, make.META)
    topics = [wire.Topic(None, "flows"), wire.Topic(1000, "flows"), wire.Topic(None, "flows", 1)]
    return [wire.encode(topic, messages.of(topic)) for topic in topics]


@settings(max_examples=60)
@given(TICKS)
def test_every_process_leaves_some_time_after_the_last_event(ticks: list[Tick]) -> None:
    options = StoreOptions(2 * make.SECOND, 3 * make.SECOND, 4, lambda *_: True)
    store, model = Store(options, make.STARTED_NS), Model()
    time_s = 0
    for tick in ticks:
        time_s += tick.seconds
        _run(store, model, tick, time_s)
    quiet = Tick([], frozenset(), frozenset(), 0, refuse=False, seconds=1)
    for _ in range(10):
        time_s += 1
        _run(store, model, quiet, time_s)
        store.apply_proc([make.gone(*each) for each in store.due(100).keys])
    message = Messages(store.snapshot(), make.META).of(wire.Topic(None, "flows"))
    assert message.processes.length == 0
    assert message.connections is not None
    assert message.connections.length == 0
    assert not any(model.maps.values())
    assert np.sum(message.retired.columns["net_rx_bytes"]) == model.totals()["net_rx_bytes"]
