"""Names of users, while the user database answers, hangs, and answers again."""

from __future__ import annotations

import pwd
import threading
import time
from collections.abc import Iterator

import pytest

from pbmon_client.data import users
from pbmon_client.data.users import FRESH_S, THREADS, UserNames, user_id

PATIENCE_S = 0.05


class Database:
    """A user database that hangs while it is told to, for all users or for some."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.hanging: set[int] = set()
        self.goes_on = threading.Event()
        self.suffix = ""

    def __call__(self, uid: int) -> str | None:
        self.asked.append(uid)
        if uid in self.hanging:
            assert self.goes_on.wait(60)
        return None if uid == 404 else f"user{uid}{self.suffix}"


@pytest.fixture
def database() -> Iterator[Database]:
    made = Database()
    yield made
    made.goes_on.set()  # or its threads would hang for good


def wait_for(names: UserNames, uid: int, name: str) -> None:
    end = time.monotonic() + 60
    while names(uid) != name:
        assert time.monotonic() < end, f"{uid} is still {names(uid)}"
        time.sleep(0.005)


def test_a_user_is_named_by_the_first_answer(database: Database) -> None:
    names = UserNames(database, patience_s=60)
    assert [names(uid) for uid in (7, 404, 7)] == ["user7", "404", "user7"]
    assert database.asked == [7, 404]


def test_while_the_database_hangs_users_are_numbers_and_nobody_waits_again(
    database: Database,
) -> None:
    database.hanging = set(range(1000))
    names = UserNames(database, patience_s=PATIENCE_S)
    waits: list[float] = []
    for uid in range(1000):
        began = time.monotonic()
        assert names(uid) == str(uid)
        waits.append(time.monotonic() - began)
    assert len(database.asked) <= THREADS
    # The first one waits for its answer. A thousand that did would take fifty seconds.
    assert sum(waits) < 1000 * PATIENCE_S / 2


def test_the_names_come_once_the_database_answers_again(database: Database) -> None:
    database.hanging = {7, 8, 9, 10, 11}
    names = UserNames(database, patience_s=PATIENCE_S)
    assert [names(uid) for uid in range(7, 12)] == ["7", "8", "9", "10", "11"]
    database.goes_on.set()
    for uid in range(7, 12):
        wait_for(names, uid, f"user{uid}")


def test_one_user_whose_look_up_hangs_does_not_hold_the_others(database: Database) -> None:
    database.hanging = {7}
    names = UserNames(database, patience_s=PATIENCE_S)
    assert names(7) == "7"
    wait_for(names, 8, "user8")


def test_an_old_name_is_shown_until_there_is_a_newer_one(database: Database) -> None:
    now = [0.0]
    names = UserNames(database, clock=lambda: now[0], patience_s=60)
    assert names(7) == "user7"
    now[0] = FRESH_S
    database.suffix, database.hanging = "-renamed", {7}
    assert names(7) == "user7"
    database.goes_on.set()
    wait_for(names, 7, "user7-renamed")


def test_a_name_that_does_not_come_in_time_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    def hang(name: str) -> None:
        database.goes_on.wait(60)
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", hang)
    monkeypatch.setattr(users, "LIMIT_S", PATIENCE_S)
    with pytest.raises(ValueError, match="does not answer: give the number of 'mary'"):
        user_id("mary")
    assert user_id("1000") == 1000
