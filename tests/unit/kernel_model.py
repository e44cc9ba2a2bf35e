"""The kernel's tables as a test moves them, and everything that can happen to a row in a tick."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from pbmond.fields import COUNTERS, counter_names
from pbmond.kernel.records import FILE_KEY, FLOW_KEY, OVERFLOW_KEY, Event
from pbmond.store.store import Store
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
        # Rows that are the same but for their class have first bytes of different times.
        first_ns = make.START_NS + row["id"]
        return make.counter(
            row["id"], row["kind"], row["values"], netns=make.NETNS, first_ns=first_ns
        )

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


def run(store: Store, model: Model, tick: Tick, time_s: int) -> None:
    """Let a tick happen, and feed it to a store."""
    samples = [sample for each in tick.operations for sample in _perform(model, each, time_s)]
    flows, files, overflow = (model.read(table, tick.skip, tick.twice) for table in TABLES)
    reading = make.reading(time_s, flows, files, overflow, model.events)
    model.events = []
    retire = store.apply(reading)
    ids = {table: set(getattr(retire, table).tolist()) for table in TABLES}
    if not tick.refuse:
        store.fold(*(model.delete(table, ids[table], tick.growth) for table in TABLES))
    store.apply_proc(samples)
