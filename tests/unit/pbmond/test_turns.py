"""Time divided among users, on a clock that the work itself moves."""

from __future__ import annotations

from pbmond.turns import Queues, Turns

HEAVY, LIGHT = 1000, 1001


class Work:
    """Items cost what they say; (uid, cost) of each that was done is in ``done``."""

    def __init__(self) -> None:
        self.spent = 0
        self.done: list[tuple[int, int]] = []
        self.turns = Turns(lambda: self.spent)

    def do(self, item: tuple[int, int]) -> int:
        self.done.append(item)
        self.spent += item[1]
        return item[0]

    def run(self, waiting: Queues[tuple[int, int]], budget: int) -> list[int]:
        return self.turns.run(waiting, self.do, self.spent + budget)


def queues(*parts: tuple[int, int, int]) -> Queues[tuple[int, int]]:
    """Make ``count`` items of each (uid, cost, count)."""
    return Queues.of((uid, (uid, cost)) for uid, cost, count in parts for _ in range(count))


def test_with_enough_time_everything_is_done_in_turns() -> None:
    work = Work()
    waiting = queues((HEAVY, 10, 2), (LIGHT, 10, 2))
    assert work.run(waiting, 1_000_000) == [HEAVY, LIGHT, HEAVY, LIGHT]
    assert not waiting


def test_a_user_whose_work_costs_much_does_not_delay_the_others() -> None:
    work = Work()
    waiting = queues((HEAVY, 20_000_000, 200), (LIGHT, 100_000, 100))
    work.run(waiting, 100_000_000)
    assert LIGHT not in waiting
    assert work.spent <= 120_000_000
    assert waiting.count() == len(waiting[HEAVY])


def test_users_who_cost_much_do_not_come_first_again_and_again() -> None:
    work = Work()
    heavy = range(2000, 2050)  # more users than there is time for
    for _ in range(20):
        work.done.clear()
        parts = [(uid, 20_000_000, 10) for uid in heavy]
        work.run(queues(*parts, (LIGHT, 100_000, 3)), 100_000_000)

    assert [uid for uid, _ in work.done].count(LIGHT) == 3


def test_of_users_alike_each_has_turns_in_the_end() -> None:
    work = Work()
    users = range(2000, 2050)
    for _ in range(20):
        work.run(queues(*((uid, 20_000_000, 10) for uid in users)), 100_000_000)
    assert {uid for uid, _ in work.done} == set(users)


def test_without_time_nothing_is_done_and_all_of_it_is_left() -> None:
    work = Work()
    waiting = queues((HEAVY, 1, 3))
    assert work.run(waiting, 0) == []
    assert waiting.count() == 3


def test_a_user_whose_items_cost_much_has_a_share_while_the_others_would_use_all() -> None:
    work = Work()
    light = [(uid, 100_000, 1000) for uid in range(2000, 2010)]
    for _ in range(30):
        work.run(queues((HEAVY, 20_000_000, 10), *light), 100_000_000)
    spent = sum(cost for uid, cost in work.done if uid == HEAVY)
    assert 30 * 100_000_000 / 11 * 0.8 <= spent <= 30 * 100_000_000 / 11 * 1.2


def test_what_a_user_took_too_much_is_forgotten_after_a_pause() -> None:
    work = Work()
    work.run(queues((HEAVY, 500_000_000, 1)), 100_000_000)
    for _ in range(20):
        work.run(queues((LIGHT, 1, 1)), 100_000_000)
    assert work.run(queues((HEAVY, 1, 1), (LIGHT, 1, 1)), 100) == [HEAVY, LIGHT]
