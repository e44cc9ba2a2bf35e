"""Who may see what, and which topics are wanted: the grants that the publisher has given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pbmond.publish.channel import MAX_TOPICS, Demand
from pbmond.wire import Topic, WireError, parse_topic

#: A viewer's socket: its descriptor in the publisher, and that socket's inode number.
Connection = tuple[int, int]

#: The most different topics that one user is granted at a time, and the most grants.
TOPICS_PER_USER: Final = 32
GRANTS_PER_USER: Final = 256


class Grants:
    """Decides about subscriptions, and knows which demands the collector has not received yet."""

    def __init__(self, sees_all: Callable[[int], bool]) -> None:
        self._sees_all = sees_all
        self._holders: dict[Topic, dict[Connection, int]] = {}  # topic -> connection -> uid
        self._new: dict[Topic, None] = {}  # topics with a new viewer, in order of arrival
        self._announced: set[Topic] = set()  # topics that the collector believes are wanted

    def subscribe(self, text: bytes, uid: int, connection: Connection) -> Topic | None:
        """Grant topic ``text`` to a connection of user ``uid``. Returns None if refused."""
        try:
            topic = parse_topic(text)
        except WireError:
            return None
        if not self._allowed(topic, uid) or not self._room(topic, uid):
            return None
        self._holders.setdefault(topic, {})[connection] = uid
        self._new[topic] = None
        return topic

    def unsubscribe(self, text: bytes, connection: Connection) -> Topic | None:
        """Withdraw the grant of topic ``text``. Returns None if ``connection`` had none."""
        try:
            topic = parse_topic(text)
        except WireError:
            return None
        if connection not in self._holders.get(topic, {}):
            return None
        self._remove(topic, connection)
        return topic

    def sweep(self, alive: Callable[[Connection], bool]) -> None:
        """Forget connections that are gone, because nothing announces their end reliably."""
        for connection in {each for holders in self._holders.values() for each in holders}:
            if not alive(connection):
                for topic in [t for t, holders in self._holders.items() if connection in holders]:
                    self._remove(topic, connection)

    def demands(self) -> list[Demand]:
        """Return the changes since the last call: topics no longer wanted, then topics wanted.

        A topic that is already wanted is announced again, once per call, if it has a new viewer.
        """
        gone = [topic for topic in self._announced if topic not in self._holders]
        fresh = [topic for topic in self._new if topic in self._holders]
        self._announced.difference_update(gone)
        self._announced.update(fresh)
        self._new.clear()
        return [Demand(t, wanted=False) for t in gone] + [Demand(t, wanted=True) for t in fresh]

    def __bool__(self) -> bool:
        return bool(self._holders or self._announced)

    def _allowed(self, topic: Topic, uid: int) -> bool:
        return topic.uid == uid or (topic.uid is None and self._sees_all(uid))

    def _room(self, topic: Topic, uid: int) -> bool:
        if topic not in self._holders and len(self._holders) >= MAX_TOPICS:
            return False
        held = [
            topic
            for topic, holders in self._holders.items()
            for holder in holders.values()
            if holder == uid
        ]
        return len(held) < GRANTS_PER_USER and len({*held, topic}) <= TOPICS_PER_USER

    def _remove(self, topic: Topic, connection: Connection) -> None:
        holders = self._holders[topic]
        del holders[connection]
        if not holders:
            del self._holders[topic]
