"""Who may see what, and what is wanted: the publisher's book of grants; pure."""

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
    """Decides subscriptions and keeps the demands that the collector has not heard of yet."""

    def __init__(self, sees_all: Callable[[int], bool]) -> None:
        self._sees_all = sees_all
        self._holders: dict[Topic, dict[Connection, int]] = {}  # topic -> connection -> uid
        self._newcomers: dict[Topic, None] = {}  # in the order of their arrival
        self._told: set[Topic] = set()  # what the collector takes for wanted

    def subscribe(self, text: bytes, uid: int, connection: Connection) -> Topic | None:
        """Grant topic ``text`` to ``connection`` of user ``uid``, or return None."""
        try:
            topic = parse_topic(text)
        except WireError:
            return None
        if not self._allowed(topic, uid) or not self._room(topic, uid):
            return None
        self._holders.setdefault(topic, {})[connection] = uid
        self._newcomers[topic] = None
        return topic

    def unsubscribe(self, text: bytes, connection: Connection) -> Topic | None:
        """Take back what ``connection`` was granted as ``text``; None if it was nothing."""
        try:
            topic = parse_topic(text)
        except WireError:
            return None
        if connection not in self._holders.get(topic, {}):
            return None
        self._remove(topic, connection)
        return topic

    def sweep(self, alive: Callable[[Connection], bool]) -> None:
        """Forget the connections that are gone: nothing reliable announces their end."""
        for connection in {each for holders in self._holders.values() for each in holders}:
            if not alive(connection):
                for topic in [t for t, holders in self._holders.items() if connection in holders]:
                    self._remove(topic, connection)

    def demands(self) -> list[Demand]:
        """Return what the collector has to hear since the last call: the gone, then the newcomers.

        A topic somebody has already is announced again for a newcomer, once a call.
        """
        gone = [topic for topic in self._told if topic not in self._holders]
        fresh = [topic for topic in self._newcomers if topic in self._holders]
        self._told.difference_update(gone)
        self._told.update(fresh)
        self._newcomers.clear()
        return [Demand(t, wanted=False) for t in gone] + [Demand(t, wanted=True) for t in fresh]

    def __bool__(self) -> bool:
        return bool(self._holders or self._told)

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
