"""Handles: numbers for the rows of open buckets, a matrix of numbers that has each text once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np

from pbmon_client.history.layout import (
    LAYOUTS,
    LEFT,
    LEVELS,
    NO_ADDRESS,
    PROCESSES,
    KeptRow,
    Layout,
    folded_start,
)
from pbmon_client.history.packing import Ints, Unsigned, whole

#: Room for more rows than there are: so many, and an eighth.
SPARE: Final = 4096
#: Texts that keep their numbers, 0 and 1: those of what is not known.
_UNKNOWN: Final = (None, NO_ADDRESS)


@dataclass(frozen=True, slots=True)
class RowValues:
    """Rows of a table: their numbers, rows by ``Layout.columns``, and their texts by column.

    In the columns of texts the numbers mean nothing. Each row has its text at its place of
    ``places`` in a column of ``texts``, which may have more texts than there are rows.
    """

    numbers: Unsigned
    texts: Mapping[str, Sequence[bytes | None]]
    places: Ints

    @staticmethod
    def in_order(numbers: Unsigned, texts: Mapping[str, Sequence[bytes | None]]) -> RowValues:
        """Return rows whose texts are in their order."""
        return RowValues(numbers, texts, np.arange(len(numbers)))

    def __len__(self) -> int:
        return len(self.numbers)

    def column(self, name: str) -> list[bytes | None]:
        """Return the texts of a column, row by row."""
        return [*map(self.texts[name].__getitem__, self.places.tolist())]

    def take(self, rows: Ints) -> RowValues:
        """Return some of the rows."""
        return RowValues(self.numbers[rows], self.texts, self.places[rows])

    @staticmethod
    def joined(parts: Sequence[RowValues]) -> RowValues:
        """Return the rows of several, which are at least one and have the same columns."""
        numbers = np.concatenate([part.numbers for part in parts])
        texts = parts[0].texts
        if all(part.texts is texts for part in parts):
            return RowValues(numbers, texts, np.concatenate([part.places for part in parts]))
        columns = {name: [*chain(*(part.column(name) for part in parts))] for name in texts}
        return RowValues.in_order(numbers, columns)


def values_of(rows: Sequence[KeptRow], layout: Layout) -> RowValues:
    """Return rows, which have values by ``Layout.columns``, by column."""
    numbers = np.zeros((len(rows), len(layout.columns)), np.uint64)
    columns = zip(*rows, strict=True) if rows else ((),) * len(layout.columns)
    texts = {}
    for place, (name, column) in enumerate(zip(layout.columns, columns, strict=True)):
        if name in layout.texts:
            texts[name] = list(column)
        else:
            numbers[:, place] = np.array(column, np.uint64)
    return RowValues.in_order(numbers, texts)


class _NumberedTexts:
    """Texts by number. The number of a text that is not used any more may become another's."""

    def __init__(self) -> None:
        self._texts: list[bytes | None] = [*_UNKNOWN]
        self._numbers: dict[bytes | None, int] = {text: n for n, text in enumerate(_UNKNOWN)}
        self._free: list[int] = []

    def numbers(self, texts: Sequence[bytes | None]) -> Sequence[int] | int:
        """Return the number of each text; one if that is of all."""
        if texts.count(None) == len(texts):
            return 0
        for text in {*texts}.difference(self._numbers):
            if self._free:
                number = self._free.pop()
                self._texts[number] = text
            else:
                number = len(self._texts)
                self._texts.append(text)
            self._numbers[text] = number
        return [*map(self._numbers.__getitem__, texts)]

    def of(self, numbers: Iterable[int]) -> list[bytes | None]:
        return [*map(self._texts.__getitem__, numbers)]

    def keep(self, used: Ints) -> None:
        unused = np.ones(len(self._texts), np.bool_)
        unused[used] = False
        unused[: len(_UNKNOWN)] = False
        self._free = np.flatnonzero(unused).tolist()
        for number in self._free:
            text = self._texts[number]
            if text is not None:
                del self._numbers[text]
                self._texts[number] = None


class Handles:
    """The rows of a table: those with the same key have the same handle while it is in use.

    A matrix has the rows in the order of their handles, with the numbers of their texts.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout: Final = layout
        self._key: Final = len(layout.key)
        self._texts = _NumberedTexts()
        blank = [
            _UNKNOWN.index(value) if name in layout.texts else value
            for name, value in zip(layout.columns, layout.blank, strict=True)
        ]
        self._blank: Final = np.array(blank, np.uint64)
        self._next = 1
        self._count = 0
        self._rows = np.zeros((SPARE, len(layout.columns)), np.uint64)
        self._handles = np.zeros(SPARE, np.int64)
        self._folded = np.zeros(SPARE, np.int64)  # the folded row of each, at level 0; 0: not known
        # Where the row of a key is, by the key's hash: keys themselves would take more memory.
        self._places: dict[int, int] = {}
        # By level, the folded row of which this is left.
        self._left: list[dict[bytes, int]] = [{} for _ in range(LEVELS[layout.table])]

    def __len__(self) -> int:
        return self._count

    def of(self, rows: RowValues) -> Ints:
        """Return the handles of rows, whose changing columns become the newest."""
        return self._of(self._numbered(rows, range(len(self.layout.columns))))

    def left_of_new(self, rows: RowValues, level: int = 0) -> Unsigned:
        """Return what would be left of rows that may have no handle. It holds until ``keep``."""
        return self._numbered(rows, LEFT[self.layout.table][level])

    def _numbered(self, rows: RowValues, places: Sequence[int]) -> Unsigned:
        """Return some columns of rows, with the numbers of their texts."""
        numbers = rows.numbers[:, places]
        for at, place in enumerate(places):
            name = self.layout.columns[place]
            if name in self.layout.texts:
                numbers[:, at] = self._texts.numbers(rows.column(name))
        return numbers

    def _of(self, rows: Unsigned) -> Ints:
        size = self._key
        hashes = [*map(hash, whole(rows[:, :size]))]
        while True:
            new = [row for row, key in enumerate(hashes) if key not in self._places]
            if new:
                self._add(hashes, rows, new)
            places = np.array([*map(self._places.__getitem__, hashes)], np.int64)
            same = self._rows[places, :size] == rows[:, :size]
            if same.all():
                break
            for row in np.flatnonzero(~same.all(axis=1)).tolist():
                hashes[row] += 1  # another row has that hash
        if size < rows.shape[1]:
            self._rows[places, size:] = rows[:, size:]
        return self._handles[places]

    def _add(self, hashes: Sequence[int], rows: Unsigned, new: Sequence[int]) -> None:
        """Give handles to new rows, of equal hashes to one."""
        row_of = {hashes[row]: row for row in new}
        end = self._count + len(row_of)
        if len(self._rows) < end:
            self._resize(end)
        self._rows[self._count : end] = rows[[*row_of.values()]]
        self._handles[self._count : end] = np.arange(self._next, self._next + len(row_of))
        self._places.update(zip(row_of, range(self._count, end), strict=True))
        self._next += len(row_of)
        self._count = end

    def _resize(self, count: int, kept: Any = slice(None)) -> None:  # noqa: ANN401 - an index
        """Make room for ``count`` rows and some more; of those that there are, keep some."""
        room = count + count // 8 + SPARE
        self._rows = _with_room(self._rows[: self._count][kept], room)
        self._handles = _with_room(self._handles[: self._count][kept], room)
        self._folded = _with_room(self._folded[: self._count][kept], room)

    def _found(self, handles: Ints) -> Ints:
        return np.searchsorted(self._handles[: self._count], handles)

    def rows(self, handles: Ints) -> Unsigned:
        """Return rows by ``Layout.columns``; a text is its number."""
        return self._rows[self._found(handles)]

    def texts(self, numbers: Iterable[int]) -> list[bytes | None]:
        """Return texts by their numbers."""
        return self._texts.of(numbers)

    def latest(self, handles: Ints) -> Unsigned:
        """Return the newest values of the columns that change."""
        return self._rows[self._found(handles), self._key :]

    def values(self, handles: Ints) -> list[KeptRow]:
        """Return rows as values by ``Layout.columns``."""
        return self._values(self.rows(handles), range(len(self.layout.columns)))

    def _values(self, numbers: Unsigned, places: Sequence[int]) -> list[KeptRow]:
        """Return some columns of rows as values: the opposite of ``_numbered``."""
        columns: list[list[Any]] = numbers.T.tolist()
        for at, place in enumerate(places):
            if self.layout.columns[place] in self.layout.texts:
                columns[at] = self.texts(columns[at])
        return list(zip(*columns, strict=True))

    def folded(self, handles: Ints, level: int = 0) -> Ints:
        """Return the handle of the row to which each row folds."""
        if level or not len(handles):
            return self.with_left(self.left_of(self.rows(handles), level), level)
        targets = self._folded[self._found(handles)]
        new = targets == 0
        if new.any():
            targets[new] = self.with_left(self.left_of(self.rows(handles[new])))
            self.remember_folded(handles, targets)
        return targets

    def remember_folded(self, handles: Ints, targets: Ints) -> None:
        """Take note to which row each row folds, at level 0."""
        self._folded[self._found(handles)] = targets

    def left_of(self, rows: Unsigned, level: int = 0) -> Unsigned:
        """Return what is left of rows that fold: the same of those that fold to one row."""
        return rows[:, LEFT[self.layout.table][level]]

    def with_left(self, left: Unsigned, level: int = 0) -> Ints:
        """Return the handles of the folded rows of which this is left."""
        known = self._left[level]
        keys = whole(left)
        new = {key: row for row, key in enumerate(keys) if key not in known}
        if new:
            known.update(zip(new, self._new(left[[*new.values()]], level), strict=True))
        return np.array([*map(known.__getitem__, keys)], np.int64)

    def _new(self, left: Unsigned, level: int) -> list[int]:
        rows = np.tile(self._blank, (len(left), 1))
        rows[:, LEFT[self.layout.table][level]] = left
        if self.layout.table == PROCESSES:
            values = self._values(left, LEFT[PROCESSES][level])
            begins = [folded_start(row, level) for row in values]
            rows[:, self.layout.place["start_ns"]] = begins
        handles: list[int] = self._of(rows).tolist()
        return handles

    def keep(self, used: Ints) -> None:
        """Forget every handle but those, which are in order. Their numbers are not used again."""
        kept = np.zeros(self._count, np.bool_)
        kept[self._found(used)] = True
        self._resize(len(used), kept)
        moved = (np.cumsum(kept) - 1).tolist()
        stays = kept.tolist()
        self._places = {key: moved[at] for key, at in self._places.items() if stays[at]}
        self._count = len(used)
        targets = self._folded[: self._count]
        near = np.minimum(self._found(targets), self._count - 1)
        targets[self._handles[near] != targets] = 0
        handles = {*used.tolist()}
        self._left = [{k: row for k, row in it.items() if row in handles} for it in self._left]
        places = [self.layout.place[name] for name in self.layout.texts]
        self._texts.keep(self._rows[: self._count, places].ravel().astype(np.int64))


def _with_room(values: Any, room: int) -> Any:  # noqa: ANN401 - an array of any kind
    """Return an array with values, and zeros behind them."""
    moved = np.zeros((room, *values.shape[1:]), values.dtype)
    moved[: len(values)] = values
    return moved


HandlesByTable = Mapping[str, Handles]


def new_handles() -> dict[str, Handles]:
    """Return empty handles for each table."""
    return {table: Handles(layout) for table, layout in LAYOUTS.items()}
