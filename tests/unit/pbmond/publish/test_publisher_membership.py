"""Who sees all: root and the access group, as the user and group databases say."""

from __future__ import annotations

import grp
import os
import pwd
import select
import threading
from types import SimpleNamespace

import pytest

from pbmond import group_members
from pbmond.patience import patient
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
    monkeypatch.setattr(group_members, "group_list", lambda name, gid: lists[name])
    return lists


def told(sees_all: Membership, uid: int) -> bool:
    """Ask, and ask again whenever an answer has come, until it is the one about this user."""
    while (answer := sees_all.ask(uid)) is None:
        heard(sees_all)
    return answer


def heard(sees_all: Membership) -> None:
    assert select.select([sees_all.fd], [], [], patient(60.0))[0], "no answer"
    sees_all.take()


@pytest.mark.parametrize(
    ("uid", "answer"), [(0, True), (1, True), (2, True), (3, False), (4, False)]
)
def test_root_and_members_see_all(databases: dict[str, list[int]], uid: int, answer: bool) -> None:
    assert told(Membership("pbmon"), uid) is answer


def test_without_the_group_only_root_sees_all(databases: dict[str, list[int]]) -> None:
    sees_all = Membership("none")
    assert [told(sees_all, uid) for uid in range(5)] == [True, False, False, False, False]


def test_a_change_of_the_databases_is_seen_after_ten_seconds(
    databases: dict[str, list[int]],
) -> None:
    now = [0]
    sees_all = Membership("pbmon", lambda: now[0])
    assert not told(sees_all, 3)
    databases["stranger"] = [100, 500]
    now[0] = REREAD_NS - 1
    assert not sees_all(3)
    now[0] = REREAD_NS
    assert not sees_all(3)  # what was known, until the answer has come
    heard(sees_all)
    assert sees_all(3)


def test_the_databases_are_not_read_for_every_subscription(
    databases: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sees_all = Membership("pbmon", lambda: 0)
    assert told(sees_all, 1)
    monkeypatch.setattr(pwd, "getpwuid", None)
    assert sees_all(1)


def test_databases_that_hang_hold_up_nobody_whose_answer_is_known(
    databases: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0]
    sees_all = Membership("pbmon", lambda: now[0])
    assert told(sees_all, 1)
    hang = threading.Event()

    def hanging(name: str) -> SimpleNamespace:
        hang.wait()
        return SimpleNamespace(gr_gid=GROUPS[name])

    before = threading.active_count()
    monkeypatch.setattr(grp, "getgrnam", hanging)
    now[0] = REREAD_NS
    assert sees_all(1)
    assert sees_all(0)
    assert [sees_all.ask(uid) for uid in range(2, 100)] == [None] * 98
    assert threading.active_count() - before <= LOOKUPS
    hang.set()
    assert told(sees_all, 2)


def test_the_groups_of_a_user_are_those_of_the_database() -> None:
    root = pwd.getpwuid(0)
    found = group_members.group_list(root.pw_name, root.pw_gid)
    assert found == os.getgrouplist(root.pw_name, root.pw_gid)
