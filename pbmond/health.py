"""Builds the contract's health object: is the picture complete, and what does it cost; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

#: A loss is news for this many ticks; its number stays for good.
_TICKS_OF_NEWS: Final = 2


@dataclass(frozen=True, slots=True)
class Cost:
    """What the daemon's processes used: CPU percent of one core since the last tick, or None."""

    cpu_percent: float | None
    rss_bytes: int


class Health:
    """Remembers the losses of the last ticks; ``rungs`` and ``unseen`` are those of one run."""

    def __init__(self, rungs: Mapping[str, str], unseen: Sequence[str]) -> None:
        self._rungs = dict(rungs)
        self._unseen = list(unseen)
        self._lost: dict[str, int] = {}
        self._news: dict[str, int] = {}  # reason -> ticks for which it is still news

    def tick(
        self, lost: Mapping[str, int], maps: Mapping[str, Mapping[str, int]], cost: Cost
    ) -> dict[str, Any]:
        """Return the object of this tick; ``lost`` counts since the start, by reason."""
        self._news = {reason: left - 1 for reason, left in self._news.items() if left > 1}
        for reason, count in lost.items():
            if count > self._lost.get(reason, 0):
                self._news[reason] = _TICKS_OF_NEWS
        self._lost = dict(lost)
        reasons = [f"lost: {reason}" for reason in sorted(self._news)]
        reasons += [
            f"map full: {name}" for name, use in maps.items() if use["used"] >= use["capacity"]
        ]
        return {
            "status": "incomplete" if reasons else "complete",
            "reasons": reasons,
            "lost": dict(lost),
            "rungs": self._rungs,
            "unseen": self._unseen,
            "maps": {name: dict(use) for name, use in maps.items()},
            "cost": {
                "daemon_cpu_percent": cost.cpu_percent,
                "daemon_rss_bytes": cost.rss_bytes,
                "probe_ns_per_call": None,
            },
        }
