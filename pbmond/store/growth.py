"""The host's own counters: what they have grown by since counting began, while owners come and go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: Interfaces and disks that are gone stay for so many others to go; containers come and go.
MAX_GONE: Final = 64

Counts = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Growth:
    """Counters since the first reading: ``interval`` is None unless both its ends were read."""

    last: Counts
    total: Counts
    interval: Counts | None
    present: bool


class Growing:
    """Counters by name, whose owners come and go; totals never fall."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Growth] = {}
        self._missed = False

    def take(self, reading: Mapping[bytes, Counts] | None) -> None:
        """Take a reading; None was not possible. A name that comes later starts with it."""
        if reading is None:
            self._missed = True
            self.rows = {
                name: Growth(row.last, row.total, None, row.present)
                for name, row in self.rows.items()
            }
            return
        gone = {
            name: Growth(row.last, row.total, None, present=False)
            for name, row in self.rows.items()
            if name not in reading
        }
        now = {name: self._grown(self.rows.get(name), last) for name, last in reading.items()}
        # Those that have gone longest always come first.
        self.rows = {**dict(list(gone.items())[-MAX_GONE:]), **now}
        self._missed = False

    def _grown(self, row: Growth | None, last: Counts) -> Growth:
        if row is None:
            return Growth(last, (0,) * len(last), None, present=True)
        if not row.present:
            return Growth(last, row.total, None, present=True)
        moved = tuple(new - old for new, old in zip(last, row.last, strict=True))
        if min(moved) < 0:  # made anew under the same name: it has counted from zero
            moved = last
        total = tuple(map(sum, zip(row.total, moved, strict=True)))
        return Growth(last, total, None if self._missed else moved, present=True)
