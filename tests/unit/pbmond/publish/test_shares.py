"""A room that users share: one may fill it, and nobody is locked out of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pbmond.publish.shares import Shares


def ask(shares: Shares, held: dict[int, int], uid: int) -> None:
    """Give ``uid`` one more place if it may have one."""
    yielding = shares.who_yields(uid)
    if yielding == uid:
        return
    if yielding is not None:
        shares.give_back(yielding)
        held[yielding] -= 1
    shares.take(uid)
    held[uid] = held.get(uid, 0) + 1


def test_one_user_may_fill_a_room_that_nobody_else_wants() -> None:
    shares, held = Shares(10), dict[int, int]()
    for _ in range(20):
        ask(shares, held, 1)
    assert held == {1: 10}


def test_whoever_has_most_gives_way_until_all_have_the_same() -> None:
    shares, held = Shares(10), dict[int, int]()
    for uid in (1, 2, 3):
        for _ in range(20):
            ask(shares, held, uid)
    assert sorted(held.values()) == [3, 3, 4]


def test_two_with_a_difference_of_one_do_not_take_turns() -> None:
    shares, held = Shares(3), dict[int, int]()
    for uid in (1, 1, 2, 2, 2, 2):
        ask(shares, held, uid)
    assert held == {1: 2, 2: 1}


@given(st.lists(st.integers(1, 6), max_size=120))
def test_a_user_without_a_place_gets_one_while_there_are_more_places_than_users(
    asking: list[int],
) -> None:
    shares, held = Shares(8), dict[int, int]()
    for uid in asking:
        ask(shares, held, uid)
        assert held[uid] >= 1
        assert sum(held.values()) <= 8
