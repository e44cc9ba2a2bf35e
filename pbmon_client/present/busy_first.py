"""An order of rows whose end, the rows at rest, is made only when somebody looks at it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import overload


class BusyFirst(Sequence[int]):
    """Rows that move, in order, and after them ``count - len(busy)`` that ``at_rest`` returns.

    Most rows of a large host are at rest, and a screen rarely shows them. So as not to keep a
    snapshot, ``at_rest`` refers to its rows weakly: whoever looks at them holds it.
    """

    def __init__(self, busy: list[int], count: int, at_rest: Callable[[], list[int]]) -> None:
        self._busy = busy
        self._count = count
        self._at_rest = at_rest
        self._whole: list[int] | None = None

    @property
    def whole(self) -> list[int]:
        """All rows in order."""
        if self._whole is None:
            self._whole = [*self._busy, *self._at_rest()]
        return self._whole

    def among(self, chosen: Collection[int]) -> BusyFirst:
        """Return those rows of the order that are ``chosen``, in the same order."""
        busy = [row for row in self._busy if row in chosen]

        def at_rest() -> list[int]:
            return [row for row in self.whole[len(self._busy) :] if row in chosen]

        return BusyFirst(busy, len(chosen), at_rest)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: int | slice) -> int | list[int]:
        places = range(self._count)[index]
        if isinstance(places, int):
            return self._busy[places] if places < len(self._busy) else self.whole[places]
        if not places:
            return []
        rows = self._busy if max(places[0], places[-1]) < len(self._busy) else self.whole
        return rows[places.start : places.stop if places.stop >= 0 else None : places.step]

    def __iter__(self) -> Iterator[int]:
        return iter(self.whole)
