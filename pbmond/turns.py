"""Whose turn it is while time is short: that of the user who has had the least of it lately."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

#: What an item costs is the mean of about so many.
_MEMORY: Final = 8


class Queues(dict[int, deque[_Item]]):
    """What waits, by user, in the order in which each user's is to be done; no queue is empty."""

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, _Item]]) -> Queues[_Item]:
        """Make the queues of (user, item) pairs."""
        made: Queues[_Item] = cls()
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


@dataclass(slots=True)
class _Purse:
    """What a user has had beyond the fair share (below 0: is owed), and what one item costs."""

    had_ns: float = 0
    cost_ns: float = 0


class Turns:
    """Divides time among users: the next turn is that of the user who will have had the least.

    Each gets the same share; who took more in one turn waits until the others have had as much.
    Time is what ``spent_ns`` returns: it only grows.
    """

    def __init__(self, spent_ns: Callable[[], int]) -> None:
        self._spent_ns = spent_ns
        self._purses: dict[int, _Purse] = {}

    def run(
        self, waiting: Queues[_Item], work: Callable[[_Item], _Result], until_ns: int
    ) -> list[_Result]:
        """Do ``work`` for what is ``waiting`` until that time; what is left there had no turn."""
        now = self._spent_ns()
        self._pay(waiting, max(0, until_ns - now))
        order = [
            (self._purses[uid].had_ns + self._purses[uid].cost_ns, place, uid)
            for place, uid in enumerate(waiting)
        ]
        heapq.heapify(order)
        made = []
        while order and now < until_ns:
            _, place, uid = heapq.heappop(order)
            made.append(work(waiting.take(uid)))
            began, now = now, self._spent_ns()
            purse = self._purses[uid]
            purse.had_ns += now - began
            purse.cost_ns += (now - began - purse.cost_ns) / _MEMORY
            if uid in waiting:
                heapq.heappush(order, (purse.had_ns + purse.cost_ns, place, uid))
        return made

    def _pay(self, waiting: Queues[_Item], time_ns: int) -> None:
        """Give each user a share of the time; what is owed is at most one item."""
        share_ns = time_ns / max(1, len(waiting))
        for purse in self._purses.values():
            purse.had_ns = max(purse.had_ns - share_ns, -purse.cost_ns)
        self._purses = {
            uid: purse for uid, purse in self._purses.items() if uid in waiting or purse.had_ns > 0
        }
        for uid in waiting:
            self._purses.setdefault(uid, _Purse())
