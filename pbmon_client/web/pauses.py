"""The snapshots at which pages paused: few, because those of a large host are large."""

from __future__ import annotations

from collections import Counter, OrderedDict
from itertools import count
from typing import Final

from pbmon_client.data.model import Snapshot

#: Distinct snapshots. If more are wanted, the pages that paused first go on from a newer one.
_MOST: Final = 4


class Pauses:
    """Holds snapshots for pages, by number, as long as one of them is paused."""

    def __init__(self) -> None:
        self._held: OrderedDict[int, Snapshot] = OrderedDict()
        self._holders: Counter[int] = Counter()
        self._numbers = count(1)

    def hold(self, snapshot: Snapshot) -> int:
        """Keep a snapshot for one more page; return its number."""
        held = (number for number, each in self._held.items() if each is snapshot)
        number = next(held, None) or next(self._numbers)
        self._held[number] = snapshot
        self._holders[number] += 1
        while len(self._held) > _MOST:
            oldest, _snapshot = self._held.popitem(last=False)
            del self._holders[oldest]
        return number

    def snapshot(self, number: int | None) -> Snapshot | None:
        """Return a snapshot that is still held."""
        return None if number is None else self._held.get(number)

    def release(self, number: int | None) -> None:
        """Let go of a snapshot."""
        if number is None or number not in self._held:
            return
        self._holders[number] -= 1
        if self._holders[number] <= 0:
            del self._held[number], self._holders[number]
