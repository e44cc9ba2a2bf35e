"""Rows to list: those of a table, or groups of them; each has an identity and sortable columns.

Columns for sorting stay as raw as they come, and text is made for the few rows that are drawn, so
that a hundred thousand rows cost little.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pbmon_client.columns import TABLES
from pbmon_client.model import Rows
from pbmon_client.rates import IDENTITY

Key = Hashable
Find = Callable[[str], Sequence[Any] | None]


class Listing(Protocol):
    """Rows by index, for sorting and for drawing."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def key(self, row: int) -> Key:
        """Return what tells a row from every other, in every snapshot of a daemon run."""

    def position(self, key: Key) -> int | None:
        """Return the row of a key."""

    def raw(self, name: str) -> Sequence[Any] | None:
        """Return the values of a field for sorting, None (or NaN) where not known."""

    def window(self, rows: Sequence[int]) -> Find:
        """Return what finds the contract's values of some rows, by field."""

    def members(self, row: int) -> Sequence[int]:
        """Return the rows of the table below that a row stands for."""


class TableListing:
    """The rows of one table themselves."""

    def __init__(self, rows: Rows) -> None:
        self.rows: Final = rows
        columns = rows.table.columns
        self._identity = [columns[name] for name in IDENTITY[rows.kind]]

    def __len__(self) -> int:
        return len(self.rows)

    def key(self, row: int) -> Key:
        """Return the wire's identity of a row."""
        return tuple(column[row] for column in self._identity)

    def position(self, key: Key) -> int | None:
        """Find a row by its identity."""
        if not isinstance(key, tuple) or len(key) != len(self._identity):
            return None
        pids = self._identity[0]
        pid = key[0]
        for row, value in enumerate(pids):
            if value == pid and self.key(row) == key:
                return row
        return None

    def raw(self, name: str) -> Sequence[Any] | None:
        """Return the wire's own values where they sort as their text does."""
        return raw_column(self.rows, name)

    def window(self, rows: Sequence[int]) -> Find:
        """Take the rows out of the table."""
        return self.rows.take(rows).find

    def members(self, row: int) -> Sequence[int]:
        """Return the row itself."""
        return (row,)


def raw_column(rows: Rows, name: str) -> Sequence[Any] | None:
    """Return a field's values as the wire has them if they sort alike, else as the contract has."""
    column = TABLES[rows.kind].get(name)
    if column is None:
        owners = rows.owners
        theirs = None if owners is None else raw_column(owners, name)
        if theirs is None:
            return None
        return [None if row is None else theirs[row] for row in rows.owner_rows()]
    if column.kind in ("bytes", "rate", "integer") or name in _RAW_TEXT:
        values: Sequence[Any] = rows.table.columns[name]
        return values
    return rows.column(name)


_RAW_TEXT: Final = frozenset({"name", "exe", "cmdline", "cgroup", "unit", "container", "path"})


@dataclass(frozen=True, slots=True)
class Grouping:
    """How rows of ``table`` become groups: by what, and the fields that say which group it is.

    ``keys`` gives each row's group; ``labels`` the contract's values of a group, from its key and
    from its first row's index.
    """

    table: str
    keys: Callable[[Rows], Iterable[Key]]
    labels: Mapping[str, Callable[[Rows, Key, int], Any]]


class GroupListing:
    """Groups of rows, in the order of their first rows; numbers are the sums of their members'."""

    def __init__(self, rows: Rows, grouping: Grouping, chosen: Sequence[int] | None) -> None:
        self.rows: Final = rows
        self._grouping = grouping
        self._chosen = chosen
        numbers: dict[Key, int] = {}
        keys: Iterable[Key] = grouping.keys(rows)
        if chosen is not None:
            every = list(keys)
            keys = [every[row] for row in chosen]
        self._numbers = [numbers.setdefault(key, len(numbers)) for key in keys]
        self._rows_of: list[list[int]] | None = None
        self._keys = list(numbers)
        self._positions = numbers
        self._made: dict[str, Sequence[Any]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, row: int) -> Key:
        """Return the group's key."""
        return self._keys[row]

    def position(self, key: Key) -> int | None:
        """Return the group with a key."""
        return self._positions.get(key)

    def members(self, row: int) -> Sequence[int]:
        """Return the rows in a group."""
        if self._rows_of is None:
            self._rows_of = [[] for _ in self._keys]
            chosen = range(len(self.rows)) if self._chosen is None else self._chosen
            for group, member in zip(self._numbers, chosen, strict=True):
                self._rows_of[group].append(member)
        return self._rows_of[row]

    def raw(self, name: str) -> Sequence[Any] | None:
        """Return a label, a number of members, or a sum."""
        if name not in self._made:
            values = self._make(name)
            if values is None:
                return None
            self._made[name] = values
        return self._made[name]

    def window(self, rows: Sequence[int]) -> Find:
        """Return the values of some groups."""

        def find(name: str) -> Sequence[Any] | None:
            label = self._grouping.labels.get(name)
            if label is not None and name not in self._made:
                return [self._label(label, row) for row in rows]
            values = self.raw(name)
            return None if values is None else [values[row] for row in rows]

        return find

    def _make(self, name: str) -> Sequence[Any] | None:
        label = self._grouping.labels.get(name)
        if label is not None:
            return [self._label(label, row) for row in range(len(self))]
        if name == "members":
            return [len(self.members(row)) for row in range(len(self))]
        if name == "processes":
            return self._distinct_processes()
        column = TABLES[self.rows.kind].get(name)
        if column is None or column.kind not in ("bytes", "rate", "integer"):
            return None
        return self._sums(self.rows.table.columns[name], rates=column.kind == "rate")

    def _label(self, label: Callable[[Rows, Key, int], Any], row: int) -> Any:  # noqa: ANN401
        return label(self.rows, self._keys[row], self.members(row)[0])

    def _distinct_processes(self) -> list[int]:
        owners: list[set[tuple[int, int]]] = [set() for _ in self._keys]
        pids, starts = (self.rows.table.columns[name] for name in ("pid", "start_ns"))
        for row in range(len(self)):
            owners[row].update((pids[member], starts[member]) for member in self.members(row))
        return list(map(len, owners))

    def _sums(self, column: Sequence[Any], *, rates: bool) -> list[Any]:
        values = column
        if self._chosen is not None:
            values = [column[row] for row in self._chosen]
        sums: list[Any] = [0.0 if rates else 0] * len(self)
        unknown: set[int] = set()
        for group, value in zip(self._numbers, values, strict=True):
            if value:  # most are zero
                if value == value:  # noqa: PLR0124 - NaN, the wire's unknown, is not
                    sums[group] += value
                else:
                    unknown.add(group)
        for group in unknown:
            if not sums[group]:
                sums[group] = None
        return sums
