"""Rows of several blocks, joined by identity and summed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeVar

import numpy as np

from pbmon_client.history.layout import OWNER_NAMES, Layout
from pbmon_client.history.loading import DAMAGE
from pbmon_client.history.packing import Chosen, Ints, MalformedError, Unsigned, starts, whole
from pbmon_client.history.sections import TableSection


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of a table in a block: what each moved in a range, and when it last did.

    Row, counter and value of what moved are as in ``TableSection.moved``, and ``runs`` is where
    each counter begins in them. ``last`` is CLOCK_REALTIME in ns, and -1 for a row that is not in
    the range or not for this reader.
    """

    section: TableSection
    row: Ints
    counter: Ints
    value: Ints
    runs: Ints
    last: Ints

    def only(self, rows: Chosen) -> Part:
        """Return the same of some of its rows."""
        some = np.flatnonzero(rows[self.row])
        counter = self.counter[some]
        last = np.where(rows, self.last, -1)
        return Part(self.section, self.row[some], counter, self.value[some], starts(counter), last)

    def moved(self, wanted: Chosen) -> Ints:
        """Return what each row moved, by the sum of the ``wanted`` counters."""
        moved = np.zeros(self.section.rows, np.int64)
        ends = [*self.runs[1:].tolist(), len(self.counter)]
        for begin, end in zip(self.runs.tolist(), ends, strict=False):
            if wanted[self.counter[begin]]:
                np.add.at(moved, self.row[begin:end], self.value[begin:end])
        return moved


def totals_of(parts: Sequence[Part], layout: Layout) -> Ints:
    """Return what all rows of some parts moved, by the layout's counters."""
    totals = np.zeros(len(layout.counters), np.int64)
    for part in parts:
        if len(part.runs):
            np.add.at(totals, part.counter[part.runs], np.add.reduceat(part.value, part.runs))
    return totals


def likely(parts: Sequence[Part], top: int, wanted: Chosen) -> list[Part]:
    """Return parts with the rows that may be of the ``top`` by the sum of the ``wanted`` counters.

    Joining rows costs more than adding up. Rows that are equal in the lowest bits of their process
    id, as those that are joined, together moved at least as much as any of them. If that is less
    than ``top`` others moved in a block each, they are none of the busiest.
    """
    together, alone = np.zeros((2, _BITS), np.int64)
    keys = []
    for part in parts:
        moved, name = part.moved(wanted), part.section.layout.identity[0]
        keys.append((_numbers(part.section, name) & np.uint64(_BITS - 1)).astype(np.int64))
        np.add.at(together, keys[-1], moved)
        np.maximum.at(alone, keys[-1], moved)
    enough = np.partition(alone, -top)[-top] if 0 < top < _BITS else 0
    return [part.only(together[key] >= enough) for part, key in zip(parts, keys, strict=True)]


class SummedRows:
    """The rows of a table over a range, each once: ``last`` as in ``Part``, and their sums."""

    def __init__(self, layout: Layout, parts: Sequence[Part]) -> None:
        self.layout: Final = layout
        #: Numbers of the parts whose names cannot be read: those are unknown.
        self.damaged: Final[set[int]] = set()
        self._parts = parts
        wanted = [np.flatnonzero(each.last >= 0) for each in parts]
        part = np.repeat(np.arange(len(parts)), [*map(len, wanted)])
        row = np.concatenate([_NONE, *wanted])
        last = np.concatenate(
            [_NONE, *(each.last[rows] for each, rows in zip(parts, wanted, strict=True))]
        )
        order, first = self._groups(wanted)
        newest = order[np.append(first[1:], len(order))[: len(first)] - 1]
        self._part, self._row = part[newest], row[newest]
        self.last = np.maximum.reduceat(last[order], first) if len(first) else _NONE
        group = np.empty(len(order), np.int64)
        group[order] = np.repeat(np.arange(len(first)), np.diff(first, append=len(order)))
        #: For each part, the place of each of its rows among ours; -1 is none.
        self._group = []
        begins = np.cumsum([*map(len, wanted)])[:-1]
        for each, rows, theirs in zip(parts, wanted, np.split(group, begins), strict=False):
            self._group.append(np.full(each.section.rows, -1))
            self._group[-1][rows] = theirs

    def __len__(self) -> int:
        return len(self._row)

    def _groups(self, wanted: Sequence[Ints]) -> tuple[Ints, Ints]:
        """Return the wanted rows in the order of their identity, and where each group begins.

        Of equal rows, the newest is the last.
        """
        sizes = [*filter(None, map(len, wanted))]
        if not sizes:
            return _NONE, _NONE
        numbers: dict[bytes | None, int] = {}
        keys = [self._identities(name, wanted, numbers) for name in self.layout.identity]
        # Those of one block are in that order.
        order = _in_order(keys) if len(sizes) > 1 else np.arange(sizes[0])
        differs = np.zeros(len(order), np.bool_)
        differs[0] = True
        for key in keys:
            ordered = key[order]
            differs[1:] |= ordered[1:] != ordered[:-1]
        return order, np.flatnonzero(differs)

    def _identities(
        self, name: str, wanted: Sequence[Ints], numbers: dict[bytes | None, int]
    ) -> Unsigned:
        """Return a column of the wanted rows; a text is its number, the same in every part."""
        columns = []
        for part, rows in zip(self._parts, wanted, strict=True):
            if name not in self.layout.texts:
                columns.append(_numbers(part.section, name)[rows])
                continue
            found = part.section.columns(name).texts(name)
            texts = (
                [None] * len(rows)
                if found is None
                else [*map(found[1].__getitem__, found[0][rows].tolist())]
            )
            columns.append(
                np.array([numbers.setdefault(text, len(numbers)) for text in texts], np.uint64)
            )
        return np.concatenate(columns)

    def take(self, groups: Ints) -> SummedRows:
        """Return some of the rows, in this order."""
        taken: SummedRows = object.__new__(SummedRows)
        taken.__dict__.update(self.__dict__)
        taken.__dict__.pop("_places", None)
        taken._part, taken._row = self._part[groups], self._row[groups]
        taken.last = self.last[groups]
        place = np.full(len(self) + 1, -1)  # the last is of no group
        place[groups] = np.arange(len(taken))
        taken._group = [place[group] for group in self._group]
        return taken

    @property
    def sums(self) -> Ints:
        """What each row moved: rows by the layout's counters."""
        width = len(self.layout.counters)
        sums = np.zeros(len(self) * width, np.int64)
        for place, counter, value in self._moved():
            np.add.at(sums, place * width + counter, value)
        return sums.reshape(len(self), width)

    def _moved(self) -> Iterator[tuple[Ints, Ints, Ints]]:
        """Yield the place among our rows, the counter and the value of what moved, by part.

        All of it at once would be a hundred times what a block has, and slow for that.
        """
        for part, group in zip(self._parts, self._group, strict=True):
            ours = group >= 0
            if ours.all():
                yield group[part.row], part.counter, part.value
            elif ours.any():
                taken = np.flatnonzero(ours[part.row])
                yield group[part.row[taken]], part.counter[taken], part.value[taken]

    def busiest(self, top: int, wanted: Chosen) -> Ints:
        """Return which rows moved most by the sum of the ``wanted`` counters, the busiest first."""
        moved = np.zeros(len(self), np.int64)
        for part, group in zip(self._parts, self._group, strict=True):
            ours = group >= 0
            np.add.at(moved, group[ours], part.moved(wanted)[ours])
        if top < len(moved):  # sorting all of them would take longer
            some = np.flatnonzero(moved >= np.partition(moved, -top)[-top]) if top else _NONE
            return some[np.argsort(-moved[some], kind="stable")[:top]]
        return np.argsort(-moved, kind="stable")

    def numbers(self, name: str) -> Unsigned:
        """Return a column of numbers, as the newest block has it."""
        result = np.zeros(len(self), np.uint64)
        for mine, values in self._by_part(lambda section, rows: _numbers(section, name)[rows]):
            result[mine] = values
        return result

    def owners(self) -> list[bytes]:
        """Return which process each row is, or is of: the same bytes for the same one."""
        return whole(np.column_stack([self.numbers(name) for name in OWNER_NAMES]))

    def texts(self, name: str) -> list[bytes | None]:
        """Return a column of texts, as the newest block has it."""
        blank = self.layout.blank[self.layout.place[name]]
        result = [blank] * len(self)
        for mine, texts in self._by_part(lambda section, rows: _texts(section, name, blank, rows)):
            if len(mine) == len(result):  # all of them, in order
                return texts
            for place, text in zip(mine.tolist(), texts, strict=True):
                result[place] = text
        return result

    @cached_property
    def _places(self) -> list[tuple[int, Ints, Ints]]:
        """Number of each part, which of the rows are its, and where they are in it."""
        order = np.argsort(self._part, kind="stable")
        theirs = np.split(order, starts(self._part[order])[1:]) if len(order) else []
        return [(int(self._part[mine[0]]), mine, self._row[mine]) for mine in theirs]

    def _by_part(
        self, column: Callable[[TableSection, Ints], _Values]
    ) -> Iterator[tuple[Ints, _Values]]:
        """Yield which of the rows are of a part, and their column, unless that is damaged."""
        for number, mine, rows in self._places:
            try:
                values = column(self._parts[number].section, rows)
            except DAMAGE:
                self.damaged.add(number)
            else:
                yield mine, values


_Values = TypeVar("_Values")
_NONE: Final = np.zeros(0, np.int64)
_BITS: Final = 1 << 13
_BEGIN: Final = np.ones(1, np.bool_)


def _in_order(keys: Sequence[Unsigned]) -> Ints:
    """Return np.lexsort() of some keys, of which the first comes first here.

    It is quicker where most rows of which the first key is equal are equal in all of them.
    """
    order: Ints = np.argsort(keys[0], kind="stable")
    first = keys[0][order]
    begins = np.concatenate((_BEGIN, first[1:] != first[:-1]))
    mixed = np.zeros(len(order), np.bool_)
    for key in keys[1:]:
        ordered = key[order]
        mixed[1:] |= ordered[1:] != ordered[:-1]
    run = np.cumsum(begins) - 1
    are_mixed = np.zeros(run[-1] + 1, np.bool_)
    are_mixed[run[mixed & ~begins]] = True
    mixed = are_mixed[run]
    some = order[mixed]
    order[mixed] = some[np.lexsort([key[some] for key in reversed(keys)])]
    return order


def _numbers(section: TableSection, name: str) -> Unsigned:
    found = section.columns(name).numbers(name)
    if found is None:
        blank = section.layout.blank[section.layout.place[name]]
        return np.full(section.rows, blank, np.uint64)
    return found


def _texts(section: TableSection, name: str, blank: bytes | None, rows: Ints) -> list[bytes | None]:
    found = section.columns(name).texts(name)
    if found is None:
        return [blank] * len(rows)
    texts = [*map(found[1].__getitem__, found[0][rows].tolist())]
    if blank is not None and {len(text or b"") for text in texts} - {len(blank)}:
        raise MalformedError("what should be an address is none")
    return texts
