"""Counters by name, of which only so many have series of their own; none of them ever falls.

A name that has a series keeps it. All others share one, and what they moved there stays there: a
name that gets a series later counts from then on. So every sum over the series is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

#: The name that all others share.
OTHER: Final = "_other"


class Ledger:
    """``width`` counters for each name, of ``most_names``, and ``most_series`` that are not 0.

    ``weights`` are the counters by which the larger of several new names goes first.
    """

    def __init__(
        self, width: int, most_names: int, most_series: int, weights: Sequence[int]
    ) -> None:
        self._most_names = most_names
        self._room = most_series
        self._weights = weights
        self._own: dict[str, list[int]] = {}
        self._other = [0] * width

    def add(self, growth: Mapping[str, Sequence[int]]) -> None:
        """Add what each name moved, which is never negative."""
        largest_first = sorted(growth, key=lambda name: (-self._weight(growth[name]), name))
        for name in largest_first:
            own = self._own.get(name)
            if own is None and name != OTHER and any(growth[name]) and self._has_place():
                own = self._own[name] = [0] * len(self._other)
            for at, moved in enumerate(growth[name]):
                if moved:
                    self._add(own, at, moved)

    def _has_place(self) -> bool:
        return len(self._own) < self._most_names and self._room > 0

    def _add(self, own: list[int] | None, at: int, moved: int) -> None:
        if own is None or not (own[at] or self._room > 0):
            self._other[at] += moved
            return
        self._room -= not own[at]
        own[at] += moved

    def _weight(self, moved: Sequence[int]) -> int:
        return sum(moved[at] for at in self._weights)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that have series of their own, in the order in which they got them."""
        return tuple(self._own)

    def sums(self) -> Iterator[tuple[str, Sequence[int]]]:
        """Yield each name with its counters, and what the others share."""
        yield from self._own.items()
        yield OTHER, self._other
