"""Who is granted what, and what the collector hears of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbmond.publish.channel import MAX_TOPICS, Demand
from pbmond.publish.grants import GRANTS_PER_USER, TOPICS_PER_USER, Connection, Grants
from pbmond.wire import Topic, parse_topic

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
    assert (grants().subscribe(text, uid, A) is not None) is granted


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


def test_one_user_cannot_take_more_than_a_share_of_the_topics() -> None:
    book = grants()
    granted = [book.subscribe(b"uid/1000/flows/%d" % pid, USER, A) for pid in range(100)]
    assert sum(topic is not None for topic in granted) == TOPICS_PER_USER
    assert book.subscribe(b"uid/1001/processes", OTHER, B) is not None
    book.unsubscribe(b"uid/1000/flows/0", A)
    assert book.subscribe(b"uid/1000/flows/99", USER, A) is not None


def test_one_user_cannot_take_more_than_a_share_of_the_grants() -> None:
    book = grants()
    granted = [book.subscribe(b"uid/1000/flows", USER, (fd, 1)) for fd in range(1000)]
    assert sum(topic is not None for topic in granted) == GRANTS_PER_USER


def test_all_users_together_cannot_want_more_than_the_collector_takes() -> None:
    book = grants()
    for uid in range(1, 100):
        for pid in range(TOPICS_PER_USER):
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


@settings(deadline=None, max_examples=200)
@given(STEPS)
def test_the_collector_knows_exactly_the_topics_that_viewers_hold(steps: list[Any]) -> None:
    book = grants()
    heard: set[Topic] = set()
    model: dict[Topic, set[Connection]] = {}

    def receive_demands() -> None:
        for demand in book.demands():
            (heard.add if demand.wanted else heard.remove)(demand.topic)

    for what, text, uid, connection in steps:
        if what == "on" and (topic := book.subscribe(text, uid, connection)) is not None:
            assert topic == parse_topic(text)
            assert topic.uid == uid or (topic.uid is None and uid == ADMIN)
            model.setdefault(topic, set()).add(connection)
        elif what == "off" and (topic := book.unsubscribe(text, connection)) is not None:
            model[topic].remove(connection)
        elif what == "gone":
            book.sweep(lambda each, gone=connection: each != gone)  # type: ignore[misc]  # mypy wants no default
            for holders in model.values():
                holders.discard(connection)
        elif what == "receive_demands":
            receive_demands()
    receive_demands()
    assert heard == {topic for topic, holders in model.items() if holders}
    assert bool(book) is bool(heard)
