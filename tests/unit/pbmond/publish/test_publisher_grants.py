"""Who is granted what, and what the collector hears of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbmond.publish.channel import MAX_TOPICS, Demand
from pbmond.publish.grants import (
    COST_PER_USER,
    FLOWS_COST,
    GRANTS_PER_USER,
    RESERVED_TOPICS,
    VIEWERS_PER_USER,
    Connection,
    Grants,
    Refusal,
    cost,
)
from pbmond.wire import NOT_YOURS, TOO_MANY, Topic, parse_topic

ADMIN, USER, OTHER = 0, 1000, 1001
A, B = 10, 11
ALL, OWN = Topic(None, "processes"), Topic(USER, "processes")


def grants() -> Grants:
    return Grants(lambda uid: uid == ADMIN)


@pytest.mark.parametrize(
    ("text", "uid", "granted"),
    [
        (b"all/processes", ADMIN, True),
        (b"all/flows/7", ADMIN, True),
        (b"all/processes", USER, False),
        (b"all/flows/7", USER, False),
        (b"uid/1000/processes", USER, True),
        (b"uid/1000/flows/7", USER, True),
        (b"uid/1001/processes", USER, False),
        (b"uid/1000/processes", ADMIN, False),
        (b"uid/0/processes", ADMIN, True),
        *(
            (text, ADMIN, False)
            for text in (b"", b"all", b"all/", b"a", b"all/processes\0", b"uid/0/")
        ),
    ],
)
def test_all_goes_to_those_who_see_all_and_a_uid_to_its_user(
    text: bytes, uid: int, granted: bool
) -> None:
    answer = grants().subscribe(text, uid, A)
    assert isinstance(answer, Topic) is granted
    assert granted or (isinstance(answer, Refusal) and answer.why == NOT_YOURS)


def test_a_topic_is_wanted_from_its_first_viewer_to_its_last() -> None:
    book = grants()
    assert not book
    book.subscribe(b"all/processes", ADMIN, A)
    assert book.demands() == [Demand(ALL, wanted=True)]
    book.subscribe(b"all/processes", ADMIN, B)
    assert book.demands() == [Demand(ALL, wanted=True)]  # again, for the newcomer
    assert book.unsubscribe(b"all/processes", A) == ALL
    assert book.demands() == []
    assert book.unsubscribe(b"all/processes", B) == ALL
    assert book
    assert book.demands() == [Demand(ALL, wanted=False)]
    assert not book


def test_a_topic_dropped_before_it_was_announced_is_never_announced() -> None:
    book = grants()
    book.subscribe(b"all/processes", ADMIN, A)
    book.unsubscribe(b"all/processes", A)
    assert book.demands() == []


def test_a_refused_viewer_takes_nothing_away_from_a_granted_one() -> None:
    book = grants()
    book.subscribe(b"all/processes", ADMIN, A)
    book.demands()
    book.subscribe(b"all/processes", USER, B)
    assert book.unsubscribe(b"all/processes", B) is None
    book.leave(B)
    assert book.demands() == []
    assert book.holders(ALL) == (A,)


def test_a_connection_that_leaves_takes_its_grants_and_no_others() -> None:
    book = grants()
    for text in (b"all/processes", b"all/flows"):
        book.subscribe(text, ADMIN, A)
    book.subscribe(b"all/processes", ADMIN, B)
    book.demands()
    book.leave(A)
    assert book.demands() == [Demand(Topic(None, "flows"), wanted=False)]
    book.leave(B)
    assert book.demands() == [Demand(ALL, wanted=False)]


def test_one_user_has_every_table_and_hundreds_of_single_processes() -> None:
    book = grants()
    tables = [book.subscribe(text, ADMIN, A) for text in (b"all/processes", b"all/flows",
              b"uid/0/processes", b"uid/0/flows", b"all/moved")]  # fmt: skip
    single = [book.subscribe(b"all/flows/%d" % pid, ADMIN, A) for pid in range(256)]
    assert all(isinstance(answer, Topic) for answer in tables + single)


def test_one_user_cannot_take_more_than_a_share_of_the_cost() -> None:
    book = grants()
    answers = [book.subscribe(b"uid/1000/flows/%d" % pid, USER, A) for pid in range(2000)]
    taken = [answer for answer in answers if isinstance(answer, Topic)]
    assert sum(map(cost, taken)) == COST_PER_USER
    assert answers[-1] == Refusal(Topic(USER, "flows", 1999), TOO_MANY)
    assert isinstance(book.subscribe(b"uid/1001/processes", OTHER, B), Topic)
    assert isinstance(book.subscribe(b"uid/1000/flows", USER, A), Refusal)
    for pid in range(FLOWS_COST):
        book.unsubscribe(b"uid/1000/flows/%d" % pid, A)
    assert isinstance(book.subscribe(b"uid/1000/flows", USER, A), Topic)


def test_viewers_of_one_topic_share_its_cost_up_to_a_number() -> None:
    book = grants()
    answers = [book.subscribe(b"uid/1000/flows", USER, fd) for fd in range(2000)]
    assert sum(isinstance(answer, Topic) for answer in answers) == VIEWERS_PER_USER
    assert answers[-1] == Refusal(Topic(USER, "flows"), TOO_MANY)


def test_viewers_of_several_topics_have_a_number_of_grants_together() -> None:
    book = grants()
    answers = [
        book.subscribe(b"uid/1000/flows/%d" % pid, USER, fd)
        for pid in range(100)
        for fd in range(20)
    ]
    assert sum(isinstance(answer, Topic) for answer in answers) == GRANTS_PER_USER


def test_asking_again_is_announced_again_and_costs_nothing() -> None:
    book = grants()
    for _ in range(2 * GRANTS_PER_USER):
        assert book.subscribe(b"all/processes", ADMIN, A) == ALL
    assert book.demands() == [Demand(ALL, wanted=True)]
    book.unsubscribe(b"all/processes", A)
    assert not book.holders(ALL)


def take_all_topics(book: Grants, users: range) -> None:
    for uid in users:
        for pid in range(500):
            book.subscribe(b"uid/%d/flows/%d" % (uid, pid), uid, uid)


def test_all_users_together_cannot_want_more_than_the_collector_takes() -> None:
    book = grants()
    take_all_topics(book, range(1, 10))
    assert len(book.demands()) == MAX_TOPICS - RESERVED_TOPICS
    for pid in range(500):
        book.subscribe(b"all/flows/%d" % pid, ADMIN, A)
    assert len(book.demands()) == 500


def test_whatever_others_took_a_user_gets_a_share_and_root_its_room() -> None:
    book = grants()
    take_all_topics(book, range(1, 9))
    book.demands()
    book.withdrawn()
    for uid, text in ((USER, b"uid/1000/processes"), (USER, b"uid/1000/flows"),
                      (ADMIN, b"all/processes"), (ADMIN, b"uid/0/processes")):  # fmt: skip
        assert isinstance(book.subscribe(text, uid, 100 + uid), Topic)
    withdrawn = book.withdrawn()
    assert len(withdrawn) == 3  # one for each of scope uid
    assert {refusal.why for _, refusal in withdrawn} == {TOO_MANY}
    gone = {demand.topic for demand in book.demands() if not demand.wanted}
    assert gone == {refusal.topic for _, refusal in withdrawn}
    assert book.withdrawn() == []


def test_the_share_of_each_shrinks_as_more_users_come() -> None:
    book = grants()
    take_all_topics(book, range(1, 41))
    held = [0] * 41
    for demand in book.demands():
        held[demand.topic.uid or 0] += demand.wanted
    assert set(held[1:]) == {(MAX_TOPICS - RESERVED_TOPICS) // 40}


def test_the_reserved_room_is_shared_likewise() -> None:
    book = Grants(lambda uid: True)
    for uid in (1, 2, 3):
        for pid in range(500):
            book.subscribe(b"all/flows/%d" % (1000 * uid + pid), uid, uid)
    assert isinstance(book.subscribe(b"all/processes", ADMIN, A), Topic)
    assert len(book.demands()) == RESERVED_TOPICS


CONNECTIONS = st.integers(0, 3)
TEXTS = st.sampled_from([b"all/processes", b"all/flows", b"uid/1000/flows", b"uid/0/flows", b"x"])
STEPS = st.lists(
    st.tuples(st.just("on"), TEXTS, st.sampled_from([ADMIN, USER]), CONNECTIONS)
    | st.tuples(st.just("off"), TEXTS, st.just(0), CONNECTIONS)
    | st.tuples(st.just("gone"), st.just(b""), st.just(0), CONNECTIONS)
    | st.tuples(st.just("receive_demands"), st.just(b""), st.just(0), CONNECTIONS),
    max_size=40,
)


@settings(max_examples=200)
@given(STEPS)
def test_the_collector_knows_exactly_the_topics_that_viewers_hold(steps: list[Any]) -> None:
    book = grants()
    heard: set[Topic] = set()
    model: dict[Topic, set[Connection]] = {}

    def receive_demands() -> None:
        for demand in book.demands():
            (heard.add if demand.wanted else heard.remove)(demand.topic)

    for what, text, uid, connection in steps:
        if what == "on" and isinstance(topic := book.subscribe(text, uid, connection), Topic):
            assert topic == parse_topic(text)
            assert topic.uid == uid or (topic.uid is None and uid == ADMIN)
            model.setdefault(topic, set()).add(connection)
        elif what == "off" and (given := book.unsubscribe(text, connection)) is not None:
            model[given].remove(connection)
        elif what == "gone":
            book.leave(connection)
            for holders in model.values():
                holders.discard(connection)
        elif what == "receive_demands":
            receive_demands()
    receive_demands()
    assert heard == {topic for topic, holders in model.items() if holders}
    assert bool(book) is bool(heard)
