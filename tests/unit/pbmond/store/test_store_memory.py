"""What a storm of processes leaves behind: nothing, once it is over for a while."""

from __future__ import annotations

from pbmond.store.process_index import ProcessIndex
from pbmond.store.processes import ROOMY_NS, ProcessTable
from tests import factories as make

CROWD = 5_000


def table_after_a_storm(survivor: int) -> ProcessTable:
    """Let a crowd come and all but the process of one pid go."""
    table = ProcessTable(lambda *_: True, make.STARTED_NS)
    table.begin(1, make.STARTED_NS, 0)
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


def test_the_arrays_shrink_after_a_while_and_the_survivor_keeps_its_bytes() -> None:
    table = table_after_a_storm(survivor=3)
    table.counters.set_disk(2, (7, 8))
    crowded, now_ns = len(table.info), make.STARTED_NS
    for tick in range(2, 40):
        now_ns += ROOMY_NS // 10
        table.begin(tick, now_ns, ROOMY_NS // 10)
        assert tick > 10 or len(table.info) == crowded
    assert len(table.info) <= 256
    rows = table.freeze()
    assert (rows.info["pid"][2], rows.texts["name"][2]) == (3, b"survivor")
    assert {7, 8} <= set(rows.counters[:, 2].tolist())


def test_the_arrays_grow_again_with_the_next_storm() -> None:
    table = table_after_a_storm(survivor=3)
    for tick in range(2, 20):
        table.begin(tick, make.STARTED_NS + tick * ROOMY_NS, ROOMY_NS)
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
