"""Whose turn it is while time is short: that of the user who has had the least of it lately."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import TypeVar

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")

#: What a user has had is forgotten below this.
_FORGOTTEN_NS = 1_000


class Queues(dict[int, deque[_Item]]):
    """What waits, by user, in the order in which each user's is to be done; no queue is empty."""

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, _Item]]) -> Queues[_Item]:
        """Make the queues of (user, item) pairs."""
        made = cls()
        for uid, item in pairs:
            made.put(uid, item)
        return made

    def put(self, uid: int, item: _Item) -> None:
        """Let ``item`` of a user wait behind the others."""
        self.setdefault(uid, deque()).append(item)

    def take(self, uid: int) -> _Item:
        """Take the next item of a user who has one."""
        queue = self[uid]
        item = queue.popleft()
        if not queue:
            del self[uid]
        return item

    def count(self) -> int:
        """Return how many items wait."""
        return sum(map(len, self.values()))


class Turns:
    """Divides time among users. A user who cost much has turns when the others have had as much.

    Time is what ``spent_ns`` returns: it only grows.
    """

    def __init__(self, spent_ns: Callable[[], int]) -> None:
        self._spent_ns = spent_ns
        self._had: defaultdict[int, float] = defaultdict(float)

    def age(self) -> None:
        """Halve what each user has had: who paused for a while is first again."""
        kept = {uid: had / 2 for uid, had in self._had.items() if had >= 2 * _FORGOTTEN_NS}
        self._had = defaultdict(float, kept)

    def run(
        self, waiting: Queues[_Item], work: Callable[[_Item], _Made], until_ns: int
    ) -> list[_Made]:
        """Do ``work`` for what is ``waiting`` until that time; what is left there had no turn."""
        order = [(self._had[uid], place, uid) for place, uid in enumerate(waiting)]
        heapq.heapify(order)
        made = []
        now = self._spent_ns()
        while order and now < until_ns:
            _, place, uid = order[0]
            made.append(work(waiting.take(uid)))
            began, now = now, self._spent_ns()
            self._had[uid] += now - began
            if uid in waiting:
                heapq.heapreplace(order, (self._had[uid], place, uid))
            else:
                heapq.heappop(order)
        return made
