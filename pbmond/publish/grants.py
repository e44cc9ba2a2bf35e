"""Who may see what, and which topics are wanted: the grants that the publisher has given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pbmond.publish.channel import MAX_TOPICS, Demand
from pbmond.publish.shares import Shares
from pbmond.wire import NOT_YOURS, TOO_MANY, Topic, WireError, parse_topic

#: A connection of a viewer: a number that is never used again.
Connection = int

#: What a topic costs the collector at each tick. The unit is a message about one process, which
#: takes about a millisecond; the others are those of a host with 10,000 processes and 100,000
#: flows. Several viewers of a topic cost no more than one.
PROCESS_COST, PROCESSES_COST, MOVED_COST, FLOWS_COST = 1, 16, 16, 128
_COSTS: Final = {"processes": PROCESSES_COST, "moved": MOVED_COST, "flows": FLOWS_COST}
#: The most that one user's topics may cost: all tables in both scopes, what moved, and 256 single
#: processes.
COST_PER_USER: Final = 2 * (PROCESSES_COST + FLOWS_COST) + MOVED_COST + 256 * PROCESS_COST
#: The most connections of one user with a grant, and the most grants of them all.
VIEWERS_PER_USER: Final = 240
GRANTS_PER_USER: Final = 1024
#: The topics of scope ``all``, which only root and the access group can hold, have this room for
#: themselves. Ordinary users share the rest.
RESERVED_TOPICS: Final = 768


@dataclass(frozen=True, slots=True)
class Refusal:
    """A topic that is not granted; ``topic`` None: there is no such topic."""

    topic: Topic | None
    why: str


def cost(topic: Topic) -> int:
    """Return what a topic costs."""
    return _COSTS[topic.kind] if topic.pid is None else PROCESS_COST


@dataclass(slots=True)
class _User:
    """What one user holds: connections of each topic, grants of each connection."""

    topics: dict[Topic, int] = field(default_factory=dict)
    viewers: Counter[Connection] = field(default_factory=Counter)
    grants: int = 0
    cost: int = 0


class Grants:
    """Decides about subscriptions, and knows which demands the collector has not received yet."""

    def __init__(
        self, sees_all: Callable[[int], bool], account: Callable[[int], int] = lambda uid: uid
    ) -> None:
        """``account``: as whose a uid is counted."""
        self._sees_all = sees_all
        self._account = account
        self._holders: dict[Topic, dict[Connection, int]] = {}  # topic -> connection -> account
        self._held: dict[Connection, set[Topic]] = {}
        self._users: dict[int, _User] = {}
        self._all = Shares(RESERVED_TOPICS)
        self._own = Shares(MAX_TOPICS - RESERVED_TOPICS)
        self._withdrawn: list[tuple[Connection, Refusal]] = []
        self._new: dict[Topic, None] = {}  # topics with a new viewer, in order of arrival
        self._announced: set[Topic] = set()  # topics that the collector believes are wanted

    def subscribe(self, text: bytes, uid: int, connection: Connection) -> Topic | Refusal:
        """Grant topic ``text`` to ``connection`` of user ``uid``, or say why not."""
        try:
            topic = parse_topic(text)
        except WireError:
            return Refusal(None, NOT_YOURS)
        if not self._allowed(topic, uid):
            return Refusal(topic, NOT_YOURS)
        if topic not in self._held.get(connection, ()):
            account = self._account(uid)
            if not self._room(topic, account, connection):
                return Refusal(topic, TOO_MANY)
            self._add(topic, account, connection)
        self._new[topic] = None
        return topic

    def unsubscribe(self, text: bytes, connection: Connection) -> Topic | None:
        """Withdraw the grant of topic ``text``. Returns None if ``connection`` had none."""
        try:
            topic = parse_topic(text)
        except WireError:
            return None
        if topic not in self._held.get(connection, ()):
            return None
        self._remove(topic, connection)
        return topic

    def leave(self, connection: Connection) -> None:
        """Withdraw everything from a connection that has ended."""
        for topic in tuple(self._held.get(connection, ())):
            self._remove(topic, connection)

    def holders(self, topic: Topic) -> tuple[Connection, ...]:
        """Return who is granted a topic."""
        return tuple(self._holders.get(topic, ()))

    def withdrawn(self) -> list[tuple[Connection, Refusal]]:
        """Return the grants that were taken back for users who had less, since the last call."""
        found, self._withdrawn = self._withdrawn, []
        return found

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

    def _room(self, topic: Topic, account: int, connection: Connection) -> bool:
        """Return whether a user may have one more grant; another may have to yield for it."""
        user = self._users.get(account) or _User()
        if user.grants >= GRANTS_PER_USER:
            return False
        if connection not in user.viewers and len(user.viewers) >= VIEWERS_PER_USER:
            return False
        if topic in user.topics:
            return True
        if user.cost + cost(topic) > COST_PER_USER:
            return False
        yielding = self._shares(topic).who_yields(account)
        if yielding is not None and yielding != account:
            self._withdraw_newest(yielding, like=topic)
        return yielding != account

    def _shares(self, topic: Topic) -> Shares:
        return self._all if topic.uid is None else self._own

    def _withdraw_newest(self, account: int, like: Topic) -> None:
        """Take back a user's newest topic from the same room as ``like``."""
        topics = reversed(self._users[account].topics)
        topic = next(each for each in topics if self._shares(each) is self._shares(like))
        for connection in [c for c, holder in self._holders[topic].items() if holder == account]:
            self._remove(topic, connection)
            self._withdrawn.append((connection, Refusal(topic, TOO_MANY)))

    def _add(self, topic: Topic, account: int, connection: Connection) -> None:
        self._holders.setdefault(topic, {})[connection] = account
        self._held.setdefault(connection, set()).add(topic)
        user = self._users.setdefault(account, _User())
        user.viewers[connection] += 1
        user.grants += 1
        if topic not in user.topics:
            user.topics[topic] = 0
            user.cost += cost(topic)
            self._shares(topic).take(account)
        user.topics[topic] += 1

    def _remove(self, topic: Topic, connection: Connection) -> None:
        account = self._holders[topic].pop(connection)
        if not self._holders[topic]:
            del self._holders[topic]
        self._held[connection].remove(topic)
        if not self._held[connection]:
            del self._held[connection]
        user = self._users[account]
        user.viewers[connection] -= 1
        if not user.viewers[connection]:
            del user.viewers[connection]
        user.grants -= 1
        user.topics[topic] -= 1
        if not user.topics[topic]:
            del user.topics[topic]
            user.cost -= cost(topic)
            self._shares(topic).give_back(account)
        if not user.topics:
            del self._users[account]
