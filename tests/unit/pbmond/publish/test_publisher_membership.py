"""Who sees all: root and the access group, as the user and group databases say."""

from __future__ import annotations

import grp
import os
import pwd
from types import SimpleNamespace

import pytest

from pbmond.patience import patient
from pbmond.publish import membership
from pbmond.publish.membership import LOOKUPS, REREAD_NS, Membership

SECOND = 1_000_000_000
GROUPS = {"pbmon": 500}
USERS = {1: ("member", 100), 2: ("primary", 500), 3: ("stranger", 100)}
LISTS = {"member": [100, 500], "primary": [500], "stranger": [100]}


@pytest.fixture
def databases(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    lists = dict(LISTS)
    monkeypatch.setattr(grp, "getgrnam", lambda name: SimpleNamespace(gr_gid=GROUPS[name]))
    monkeypatch.setattr(
        pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name=USERS[uid][0], pw_gid=USERS[uid][1])
    )
    monkeypatch.setattr(membership, "group_list", lambda name, gid: lists[name])
    return lists


@pytest.mark.parametrize(
    ("uid", "sees_all"), [(0, True), (1, True), (2, True), (3, False), (4, False)]
)
def test_root_and_members_see_all(
    databases: dict[str, list[int]], uid: int, sees_all: bool
) -> None:
    assert Membership("pbmon")(uid) is sees_all


def test_without_the_group_only_root_sees_all(databases: dict[str, list[int]]) -> None:
    sees_all = Membership("none")
    assert [sees_all(uid) for uid in range(5)] == [True, False, False, False, False]


def test_a_change_of_the_databases_is_seen_after_ten_seconds(
    databases: dict[str, list[int]],
) -> None:
    now = [0]
    sees_all = Membership("pbmon", lambda: now[0])
    assert not sees_all(3)
    databases["stranger"] = [100, 500]
    now[0] = 10 * SECOND - 1
    assert not sees_all(3)
    now[0] = 10 * SECOND
    assert sees_all(3)


def test_the_databases_are_not_read_for_every_subscription(
    databases: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sees_all = Membership("pbmon", lambda: 0)
    assert sees_all(1)
    monkeypatch.setattr(pwd, "getpwuid", None)
    assert sees_all(1)
