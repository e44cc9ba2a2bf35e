"""Retired sums: bounded in number, and every byte stays."""

from __future__ import annotations

import numpy as np

from pbmond.fields import COUNTERS
from pbmond.store.retired import OTHER, Group, Retired


def counters(value: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.full(len(COUNTERS), value, np.uint64)


def test_processes_of_one_unit_and_user_share_a_row() -> None:
    retired = Retired()
    retired.add(Group(b"a.service", None, 0), 1, counters(1))
    retired.add(Group(b"a.service", None, 0), 1, counters((1 << 60) + 1))
    retired.add(Group(b"a.service", None, 5), 1, counters(7))
    rows = retired.rows()
    assert [(each.unit, each.uid) for each in rows.groups] == [(b"a.service", 0), (b"a.service", 5)]
    assert rows.processes.tolist() == [2, 1]
    assert rows.counters[0].tolist() == [(1 << 60) + 2, 7]


def test_a_unit_of_a_container_shares_no_row_with_one_of_the_host() -> None:
    retired = Retired()
    for container in (None, b"lxc:web", b"lxc:shop"):
        retired.add(Group(None, container, 0), 1, counters(1))
    assert retired.rows().processes.tolist() == [1, 1, 1]


def test_the_units_that_were_quiet_longest_share_a_row_if_there_are_too_many() -> None:
    retired = Retired(max_groups=2)
    for unit in (b"a", b"b", b"a", b"c", b"d"):
        retired.add(Group(unit, None, 0), 1, counters(1))
    rows = retired.rows()
    assert Group(OTHER, None, 0) in rows.groups
    assert Group(b"d", None, 0) in rows.groups
    assert rows.counters.sum() == 5 * len(COUNTERS)
    assert rows.processes.sum() == 5


def test_the_number_of_rows_is_bounded() -> None:
    retired = Retired(max_groups=3)
    for number in range(50):
        retired.add(Group(b"unit-%d" % number, None, 0), 1, counters(1))
    assert len(retired.rows().groups) == 4
    assert retired.rows().counters[0].sum() == 50


def test_users_are_kept_apart_among_the_others() -> None:
    retired = Retired(max_groups=1)
    for uid in (0, 1, 0, 1):
        retired.add(Group(b"unit-%d" % uid, None, uid), 1, counters(1))
    rows = retired.rows()
    sums = dict.fromkeys((0, 1), 0)
    for (_, _, uid), value in zip(rows.groups, rows.counters[0].tolist(), strict=True):
        sums[uid] += value
    assert sums == {0: 2, 1: 2}


def test_rows_do_not_change_after_they_were_returned() -> None:
    retired = Retired()
    assert retired.rows().counters.shape == (len(COUNTERS), 0)
    retired.add(Group(None, None, 0), 1, counters(1))
    before = retired.rows()
    retired.add(Group(None, None, 0), 1, counters(1))
    assert before.counters[0].tolist() == [1]
