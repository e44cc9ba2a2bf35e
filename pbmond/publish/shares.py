"""A room that users share: one may fill it alone, and gives way to whoever has less.

So nobody is locked out while there are more places than users, however many places some took.
"""

from __future__ import annotations

from collections import Counter


class Shares:
    """Counts the places that each user holds, of ``places`` in all."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._held: Counter[int] = Counter()
        self._total = 0

    def who_yields(self, uid: int) -> int | None:
        """Return which user must give up a place, so that ``uid`` can take one; None: nobody.

        It is ``uid`` itself if nobody has a place more than fairness allows: there is no room.
        """
        if self._total < self._places:
            return None
        most = max(self._held, key=self._held.__getitem__, default=uid)
        # With a difference of one, the two would only change their parts.
        return most if self._held[most] > self._held[uid] + 1 else uid

    def take(self, uid: int) -> None:
        """Give a place to ``uid``."""
        self._held[uid] += 1
        self._total += 1

    def give_back(self, uid: int) -> None:
        """Take a place from ``uid``, which must hold one."""
        self._held[uid] -= 1
        self._total -= 1
        if not self._held[uid]:
            del self._held[uid]
