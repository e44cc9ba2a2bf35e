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
    Connection,
    Grants,
    Refusal,
    cost,
)
from pbmond.wire import NOT_YOURS, TOO_MANY, Topic, parse_topic

ADMIN, USER, OTHER = 0, 1000, 1001
A, B = (10, 100), (11, 101)
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
    book.sweep(lambda connection: connection == A)
    assert book.demands() == []


def test_the_sweep_drops_vanished_connections_and_no_others() -> None:
    book = grants()
    for text in (b"all/processes", b"all/flows"):
        book.subscribe(text, ADMIN, A)
    book.subscribe(b"all/processes", ADMIN, B)
    book.demands()
    book.sweep(lambda connection: connection == B)
    assert book.demands() == [Demand(Topic(None, "flows"), wanted=False)]
    book.sweep(lambda _: False)
    assert book.demands() == [Demand(ALL, wanted=False)]


def test_one_user_has_every_table_and_hundreds_of_single_processes() -> None:
    book = grants()
    tables = [book.subscribe(text, ADMIN, A) for text in (b"all/processes", b"all/flows",
              b"uid/0/processes", b"uid/0/flows")]  # fmt: skip
    single = [book.subscribe(b"all/flows/%d" % pid, ADMIN, (pid, 1)) for pid in range(256)]
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
    answers = [book.subscribe(b"uid/1000/flows", USER, (fd, 1)) for fd in range(2000)]
    assert sum(isinstance(answer, Topic) for answer in answers) == GRANTS_PER_USER


def test_all_users_together_cannot_want_more_than_the_collector_takes() -> None:
    book = grants()
    for uid in range(1, 10):
        for pid in range(500):
            book.subscribe(b"uid/%d/flows/%d" % (uid, pid), uid, (uid, uid))
    assert len(book.demands()) == MAX_TOPICS


CONNECTIONS = st.tuples(st.integers(0, 3), st.just(0))
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
            book.sweep(lambda each, gone=connection: each != gone)  # type: ignore[misc]  # mypy wants no default
            for holders in model.values():
                holders.discard(connection)
        elif what == "receive_demands":
            receive_demands()
    receive_demands()
    assert heard == {topic for topic, holders in model.items() if holders}
    assert bool(book) is bool(heard)
