"""The host's own counters as growth since counting began; what they belong to comes and goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: The most interfaces or disks that are remembered after they are gone. Containers come and go.
MAX_GONE: Final = 64

Counts = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Growth:
    """One interface, disk or host: its newest reading, and what it has grown by.

    ``interval`` is None unless both the newest reading and the one before it have the counters.
    """

    last: Counts
    total: Counts
    interval: Counts | None
    present: bool


class GrowthTable:
    """Growth by name; totals never fall."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Growth] = {}
        self._skipped = False  # the last reading failed
        self._numbers: Mapping[bytes, int] = {}

    def take(
        self, reading: Mapping[bytes, Counts] | None, numbers: Mapping[bytes, int] | None = None
    ) -> None:
        """Take a reading, None if it failed. A name that appears later counts from there.

        ``numbers``, where known, distinguish things that have had the same name one after another.
        """
        if reading is None:
            self._skipped = True
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
        before, self._numbers = self._numbers, numbers or {}
        replaced = {
            name for name in before.keys() & self._numbers if before[name] != self._numbers[name]
        }
        now = {
            name: self._grown(self.rows.get(name), last, replaced=name in replaced)
            for name, last in reading.items()
        }
        # Those that have been gone longest come first, and are forgotten first.
        self.rows = {**dict(list(gone.items())[-MAX_GONE:]), **now}
        self._skipped = False

    def _grown(self, row: Growth | None, last: Counts, *, replaced: bool) -> Growth:
        if row is None:
            return Growth(last, (0,) * len(last), None, present=True)
        if not row.present:
            return Growth(last, row.total, None, present=True)
        grown = tuple(new - old for new, old in zip(last, row.last, strict=True))
        if (
            replaced or min(grown) < 0
        ):  # another one with the same name, which has counted from zero
            grown = last
        total = tuple(map(sum, zip(row.total, grown, strict=True)))
        return Growth(last, total, None if self._skipped else grown, present=True)
