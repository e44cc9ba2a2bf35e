"""Rows of several blocks, joined by identity and summed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from pbmon_client.history.layout import Layout
from pbmon_client.history.loading import DAMAGE
from pbmon_client.history.packing import Chosen, Ints, MalformedError, Unsigned, starts
from pbmon_client.history.sections import TableSection


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of a table in a block: what each moved in a range, and when it last did.

    ``sums`` are rows by the layout's counters. ``last`` is CLOCK_REALTIME in ns, and -1 for a row
    that is not in the range or not for this reader.
    """

    section: TableSection
    sums: Ints
    last: Ints


class SummedRows:
    """The rows of a table over a range, each once: ``sums`` and ``last`` as in ``Part``."""

    def __init__(self, layout: Layout, parts: Sequence[Part]) -> None:
        self.layout: Final = layout
        #: Numbers of the parts whose names cannot be read: those are unknown.
        self.damaged: Final[set[int]] = set()
        self._parts = parts
        part = np.repeat(np.arange(len(parts)), [each.section.rows for each in parts])
        row = np.concatenate([_NONE, *(np.arange(each.section.rows) for each in parts)])
        last = np.concatenate([_NONE, *(each.last for each in parts)])
        some = np.flatnonzero(last >= 0)
        order, first = self._groups(some)
        newest = order[np.append(first[1:], len(order)) - 1] if len(first) else order
        self._part, self._row = part[newest], row[newest]
        self.last = np.maximum.reduceat(last[order], first) if len(first) else _NONE
        sums = np.concatenate(
            [np.zeros((0, len(layout.counters)), np.int64), *(each.sums for each in parts)]
        )
        self.sums: Ints = np.add.reduceat(sums[order], first) if len(first) else sums[:0]

    def __len__(self) -> int:
        return len(self._row)

    def _groups(self, some: Ints) -> tuple[Ints, Ints]:
        """Return the rows in the order of their identity, and where each group begins.

        Of equal rows, the newest is the last.
        """
        if not len(some):
            return some, some
        numbers: dict[bytes | None, int] = {}
        keys = [self._identities(name, numbers)[some] for name in self.layout.identity]
        order = np.lexsort(keys[::-1])
        differs = np.zeros(len(order), np.bool_)
        differs[0] = True
        for key in keys:
            ordered = key[order]
            differs[1:] |= ordered[1:] != ordered[:-1]
        return some[order], np.flatnonzero(differs)

    def _identities(self, name: str, numbers: dict[bytes | None, int]) -> Unsigned:
        if name not in self.layout.texts:
            return np.concatenate([_numbers(part.section, name) for part in self._parts])
        columns = []
        for part in self._parts:
            found = part.section.columns(name).texts(name)
            places: Ints | Unsigned = np.zeros(part.section.rows, np.int64)
            texts: Sequence[bytes | None] = [None]
            if found is not None:
                places, texts = found
            ours = np.array([numbers.setdefault(text, len(numbers)) for text in texts], np.uint64)
            columns.append(ours[places] if len(ours) else places)
        return np.concatenate(columns).astype(np.uint64)

    def take(self, groups: Ints | Chosen) -> SummedRows:
        """Return some of the rows, in this order."""
        taken: SummedRows = object.__new__(SummedRows)
        taken.__dict__.update(self.__dict__)
        taken.__dict__.pop("_by_part", None)
        taken._part, taken._row = self._part[groups], self._row[groups]
        taken.last, taken.sums = self.last[groups], self.sums[groups]
        return taken

    def numbers(self, name: str) -> Unsigned:
        """Return a column of numbers, as the newest block has it."""
        result = np.zeros(len(self), np.uint64)
        self._fill(lambda section, rows: _numbers(section, name)[rows], result)
        return result

    def texts(self, name: str) -> list[bytes | None]:
        """Return a column of texts, as the newest block has it."""
        blank = self.layout.blank[self.layout.place[name]]

        def texts_of(section: TableSection, rows: Ints) -> list[bytes | None]:
            found = section.columns(name).texts(name)
            if found is None:
                return [blank] * len(rows)
            texts = [found[1][place] for place in found[0][rows].tolist()]
            if blank is not None and any(text is None or len(text) != len(blank) for text in texts):
                raise MalformedError("what should be an address is none")
            return texts

        result = np.full(len(self), blank, object)
        self._fill(texts_of, result)
        texts: list[bytes | None] = result.tolist()
        return texts

    @cached_property
    def _by_part(self) -> list[tuple[int, Ints, Ints]]:
        """Number of each part, which of the rows are its, and where they are in it."""
        order = np.argsort(self._part, kind="stable")
        theirs = np.split(order, starts(self._part[order])[1:]) if len(order) else []
        return [(int(self._part[mine[0]]), mine, self._row[mine]) for mine in theirs]

    def _fill(self, column: Callable[[TableSection, Ints], Any], result: Any) -> None:  # noqa: ANN401
        for number, mine, rows in self._by_part:
            try:
                result[mine] = column(self._parts[number].section, rows)
            except DAMAGE:
                self.damaged.add(number)


_NONE: Final = np.zeros(0, np.int64)


def _numbers(section: TableSection, name: str) -> Unsigned:
    found = section.columns(name).numbers(name)
    if found is None:
        blank = section.layout.blank[section.layout.place[name]]
        return np.full(section.rows, blank, np.uint64)
    return found
