"""What a storm of processes leaves behind: nothing, once it is over for a while."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pbmond import wire
from pbmond.fields import NO_UID
from pbmond.kernel.records import Event, FileSeen
from pbmond.publish.topic_messages import Messages
from pbmond.store import processes
from pbmond.store.process_index import ProcessIndex
from pbmond.store.processes import ROOMY_NS, ProcessTable
from pbmond.store.store import Store
from tests import factories as make
from tests.store_views import NO_COUNTERS, flow, new_store

CROWD = 5_000


def table_after_a_storm(survivor: int) -> ProcessTable:
    """Let a crowd come and all but the process of one pid go."""
    table = ProcessTable(lambda *_: True, make.STARTED_NS)
    table.begin(1, make.STARTED_NS, 0)
    table.compact()
    slots = {pid: table.slot(pid, make.START_NS) for pid in range(1, CROWD + 1)}
    table.seen(make.seen(pid=survivor, name=b"survivor"))
    for pid, slot in slots.items():
        if pid != survivor:
            table.free(slot)
    return table


def test_free_slots_at_the_end_are_in_no_snapshot() -> None:
    rows = table_after_a_storm(survivor=3).freeze()
    assert len(rows.info) == 3
    assert rows.texts["name"] == [None, None, b"survivor"]
    assert rows.counters.shape[1] == rows.deltas.shape[1] == len(rows.disk_elapsed_s) == 3


@pytest.mark.parametrize("survivor", [3, CROWD])
def test_the_arrays_shrink_after_a_while_and_the_survivor_keeps_its_bytes(survivor: int) -> None:
    table = table_after_a_storm(survivor)
    table.counters.set_disk(survivor - 1, (7, 8))
    crowded, now_ns = len(table.info), make.STARTED_NS
    for tick in range(2, 40):
        now_ns += ROOMY_NS // 10
        table.begin(tick, now_ns, ROOMY_NS // 10)
        table.compact()
        assert tick > 10 or len(table.info) == crowded
    assert len(table.info) <= 256
    rows = table.freeze()
    assert (rows.info["pid"].tolist(), rows.texts["name"]) == ([survivor], [b"survivor"])
    assert {7, 8} <= set(rows.counters[:, 0].tolist())
    assert table.slot(survivor, make.START_NS) == 0


def test_the_arrays_grow_again_with_the_next_storm() -> None:
    table = table_after_a_storm(survivor=3)
    for tick in range(2, 20):
        table.begin(tick, make.STARTED_NS + tick * ROOMY_NS, ROOMY_NS)
        table.compact()
    slots = {table.slot(pid, make.START_NS) for pid in range(10_000, 10_000 + CROWD)}
    assert len(slots) == CROWD
    assert len(table.freeze().info) == CROWD + 1


def test_slots_are_handed_out_once_in_storm_after_storm() -> None:
    index = ProcessIndex()
    for storm in range(5):
        held = {}
        for pid in range(100 + 50 * storm):
            slot = index.add(pid, storm * 100 + 1)
            assert slot not in held
            held[slot] = pid
        assert index.high == len(held)
        for slot in sorted(held, key=lambda slot: slot % 7):
            index.remove(slot, held[slot], storm * 100 + 1)
        assert index.high == 0


#: All of them, and one process, for root and for its user.
TOPICS = (b"all/flows", b"all/flows/7", b"uid/1000/flows", b"uid/1000/flows/7")


def store_after_a_storm() -> Iterator[Store]:
    """Tick by tick: a crowd comes and goes, and a process that came after it stays and moves on.

    The process becomes another user's, moves to other units, has rows of all kinds, and ends.
    """
    store = new_store()
    crowd = range(1000, 2000)
    came: list[Event] = [make.seen(pid) for pid in crowd]
    went: list[Event] = [make.exited(pid, disk=(1, 2), time_s=2) for pid in crowd]
    words: dict[int, list[Event]] = {
        1: [*came, make.seen(viewer=NO_UID)],
        2: [*went, make.seen(time_s=2)],
        20: [make.seen(time_s=20, unit=b"early.service")],
        200: [make.seen(time_s=200, unit=b"late.service")],
        400: [make.exited(time_s=400, disk=(70, 80))],
    }
    for second in (1, 2, 3, 20, 40, 80, 120, 160, 200, 240, 280, 400, 401, 440, 480):
        flows = [flow(1, (second, 2, 3, 4)), flow(2, (5, second, 3, 4))]
        files = [(make.file_key(), make.counter(3, "file", (second, 0)))]
        if second > 440:
            flows, files = [], []
        reading = make.reading(second, flows=flows, files=files, events=words.get(second, ()))
        retire = store.apply(reading)
        if len(retire.files):
            gone, closed = (
                make.counters(*(counter for _, counter in rows)) for rows in (flows, files)
            )
            store.fold(gone, closed, NO_COUNTERS)
        if second < 400:
            told = make.seen(time_s=second + 0.5) if second == 2 else None
            store.apply_proc([make.sample(disk=(second, 0), open_inodes=[], seen=told)])
        yield store


def seen_by_all(store: Store) -> list[bytes]:
    """Return the frames of all topics."""
    messages = Messages(store.snapshot(), make.META)
    topics = map(wire.parse_topic, TOPICS)
    return [wire.encode(topic, messages.of(topic)) for topic in topics]


def test_nobody_sees_that_the_processes_have_moved_to_other_slots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moved = [(seen_by_all(each), each.snapshot()) for each in store_after_a_storm()]
    monkeypatch.setattr(processes, "ROOMY_NS", 1 << 62)
    stayed = [(seen_by_all(each), each.snapshot()) for each in store_after_a_storm()]
    assert (len(moved[9][1].processes.info), len(stayed[9][1].processes.info)) == (1, 1001)
    assert max(plane.processes.shape[1] for plane in moved[9][1].planes) == 1
    for (frames, _), (others, _) in zip(moved, stayed, strict=True):
        assert frames == others
    gone, units = moved[-1][1], {b"web.service", b"early.service", b"late.service"}
    assert not len(gone.processes.info)
    assert {group.unit for group in gone.retired.groups} == units


def test_names_are_forgotten_when_their_rows_are_gone() -> None:
    store = new_store(exited_linger_ns=0)
    ids = range(1, CROWD + 1)
    rows = [(make.file_key(inode=each), make.counter(each, "file")) for each in ids]
    names: list[Event] = [FileSeen(each, b"/x/%d" % each, whole=True) for each in ids]
    store.apply(make.reading(1, files=rows, events=[make.seen(), *names]))
    assert len(store.snapshot().files.names) == CROWD
    retire = store.apply(make.reading(2, files=rows, events=[make.exited()]))
    finals = make.counters(*(counter for _, counter in rows))
    assert len(retire.files) == CROWD
    store.fold(NO_COUNTERS, finals, NO_COUNTERS)
    store.apply(make.reading(3))
    assert len(store.snapshot().files.names) == 0
