"""What went wrong with viewers, for the log: one line a minute at most, and no byte of theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

_EVERY_NS: Final = 60_000_000_000
_SHOWN: Final = 5
_COUNTED: Final = 1000  # pairs of user and reason


class Complaints:
    """Counts why connections were ended, and says it now and then. Times: CLOCK_MONOTONIC ns."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._counts: Counter[tuple[int | None, str]] = Counter()
        self._next_ns = 0

    def add(self, uid: int | None, why: str) -> None:
        """Count one; ``why`` is a text of ours. ``uid`` None: it is nobody's doing."""
        if len(self._counts) < _COUNTED or (uid, why) in self._counts:
            self._counts[uid, why] += 1

    def report(self, now_ns: int) -> None:
        """Say what has been counted, if the last time is long enough ago."""
        if not self._counts or now_ns < self._next_ns:
            return
        self._next_ns = now_ns + _EVERY_NS
        texts = [
            f"{why} ({'' if uid is None else f'user {uid}, '}{count} times)"
            for (uid, why), count in self._counts.most_common(_SHOWN)
        ]
        others = len(self._counts) - len(texts)
        more = f", and {others} others" if others > 0 else ""
        self._counts.clear()
        self._say(f"connections ended: {'; '.join(texts)}{more}")
