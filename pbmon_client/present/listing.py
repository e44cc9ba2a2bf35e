"""Rows to list: those of a table, or groups of them; each has an identity and sortable columns.

Columns for sorting stay raw, and text is made only for the few rows that are drawn, so that 100,000
rows cost little.
"""

from __future__ import annotations

import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from math import isnan
from operator import add, eq, itemgetter
from typing import Any, Final, Protocol, TypeVar

from pbmon_client.data.model import Rows, ValuesOf
from pbmond.fields import IDENTITY, SHOWN, Combined

RowKey = Hashable
Value = TypeVar("Value", bound=Hashable)


class Listing(Protocol):
    """Rows by index, for sorting and for drawing."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def key(self, row: int) -> RowKey:
        """Return the identity of a row, the same in every snapshot of a daemon run."""

    def position(self, key: RowKey) -> int | None:
        """Return the row of a key."""

    def raw(self, name: str) -> Sequence[Any] | None:
        """Return the values of a field for sorting, None (or NaN) where not known."""

    def sums(self, names: tuple[str, ...]) -> Sequence[float]:
        """Return each row's sum of some numbers; unknown ones count as 0."""

    def window(self, rows: Sequence[int]) -> ValuesOf:
        """Return a function that gives the contract's values of some rows by field."""

    def members(self, row: int) -> Sequence[int]:
        """Return the rows of the table below that a row stands for."""


def _weakly(rows: Rows) -> Rows:
    """Refer to rows weakly: rows keep their listings alive, not the other way round.

    Otherwise each snapshot of a large host, some 50 MB, would wait for the cycle collector.
    """
    weak: Rows = weakref.proxy(rows)
    return weak


class TableListing:
    """The rows of one table themselves."""

    def __init__(self, rows: Rows) -> None:
        self.rows: Final = _weakly(rows)
        columns = rows.table.columns
        self._identity = [columns[name] for name in IDENTITY[rows.kind]]

    def __len__(self) -> int:
        return len(self.rows)

    def key(self, row: int) -> RowKey:
        """Return the wire's identity of a row."""
        return tuple(column[row] for column in self._identity)

    def position(self, key: RowKey) -> int | None:
        """Find a row by its identity."""
        if not isinstance(key, tuple) or len(key) != len(self._identity):
            return None
        same = map(eq, self._identity[0], repeat(key[0]))
        return next((r for r in compress(range(len(self)), same) if self.key(r) == key), None)

    def raw(self, name: str) -> Sequence[Any] | None:
        """Return the wire's own values where they sort as their text does."""
        return raw_column(self.rows, name)

    def sums(self, names: tuple[str, ...]) -> Sequence[float]:
        """Add up the columns, once for all who ask."""
        return table_sums(self.rows, names)

    def weigher(self, names: tuple[str, ...]) -> Callable[[int], float]:
        """Return a function that adds up the columns of one row, or knows the sum."""
        if self.rows.has(("sums", names)):
            return self.sums(names).__getitem__
        columns = [self.rows.table.columns[name] for name in names]
        return lambda row: _sum_known(columns, row)

    def window(self, rows: Sequence[int]) -> ValuesOf:
        """Take the rows out of the table."""
        return self.rows.take(rows).values

    def members(self, row: int) -> Sequence[int]:
        """Return the row itself."""
        return (row,)


def table_sums(rows: Rows, names: tuple[str, ...]) -> Sequence[float]:
    """Return each row's sum of some of the table's numbers; unknown ones count as 0."""
    columns = [rows.table.columns[name] for name in names]

    def total() -> Sequence[float]:
        sums = _added(columns, len(rows))
        if isnan(sum(sums)):  # seen at a fraction of the cost of asking each
            for row in [row for row, value in enumerate(sums) if isnan(value)]:
                sums[row] = _sum_known(columns, row)
        return sums

    return rows.derived(("sums", names), total)


def _added(columns: Sequence[Sequence[float]], count: int) -> list[float]:
    if len(columns) == 2:  # as connections and files have; three times as fast
        return list(map(add, *columns))
    return list(map(sum, zip(*columns, strict=True))) if columns else [0.0] * count


def _sum_known(columns: Sequence[Sequence[float]], row: int) -> float:
    return sum(value for column in columns if not isnan(value := column[row]))


def raw_column(rows: Rows, name: str) -> Sequence[Any] | None:
    """Return a field's values: the wire's own if they sort alike, else the contract's."""
    field = SHOWN[rows.kind].get(name)
    if field is None:
        owners = rows.owners
        theirs = None if owners is None else raw_column(owners, name)
        if theirs is None:
            return None
        return list(map([*theirs, None].__getitem__, rows.owner_rows()))
    always_known = field.null is None and field.needs is None
    if field.wire == "text" or (field.type == "number" and always_known):
        values: Sequence[Any] = rows.table.columns[name]
        return values
    return rows.column(name)


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """How rows of ``table`` become groups: by what, and the fields that say which group it is.

    ``keys`` gives each row's group; ``labels`` the contract's values of a group, from its key and
    from its first row's index. ``where`` gives what the rows of a group have in common, by column
    of the wire, as the store of the past looks for them: a value, or the numbers that it may be.
    """

    table: str
    keys: Callable[[Rows], Iterable[RowKey]]
    labels: Mapping[str, Callable[[Rows, RowKey, int], Any]]
    where: Callable[[Any], Mapping[str, Any]]


_COUNTS: Final = ("members", "processes")


def numbered(values: Sequence[Value]) -> tuple[dict[Value, int], list[int]]:
    """Give distinct values numbers in order; return the numbering, and each value's number."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return numbers, list(map(numbers.__getitem__, values))


def group_keys(rows: Rows, grouping: Grouping) -> list[RowKey]:
    """Return each row's group."""
    return rows.derived(("keys", grouping), lambda: list(grouping.keys(rows)))


def listing_of(rows: Rows, grouping: Grouping | None, chosen: Sequence[int] | None) -> Listing:
    """List rows, or the groups of those that were chosen (None: of all)."""
    if grouping is None:
        return rows.derived("listing", lambda: TableListing(rows))
    if chosen is not None and len(chosen) < len(rows):
        return GroupListing(rows, grouping, chosen)
    return _groups(rows, grouping)


def _groups(rows: Rows, grouping: Grouping) -> GroupListing:
    return rows.derived(("groups", grouping), lambda: GroupListing(rows, grouping, None))


class GroupListing:
    """Groups of rows, in the order of their first rows; numbers are the sums of their members'."""

    def __init__(self, rows: Rows, grouping: Grouping, chosen: Sequence[int] | None) -> None:
        self.rows: Final = _weakly(rows)
        self._grouping = grouping
        self._keys: list[RowKey]
        self._chosen = chosen
        # Without a Python-level step per row, here and below: a key press waits for this.
        if chosen is None:
            self._positions, self._numbers = numbered(group_keys(rows, grouping))
        else:
            whole = _groups(rows, grouping)
            groups, self._numbers = numbered(list(map(whole._numbers.__getitem__, chosen)))
            self._positions = {whole._keys[group]: number for group, number in groups.items()}
        self._keys = list(self._positions)
        self._firsts: dict[int, int] | None = None
        self._counted: defaultdict[str, dict[int, int]] = defaultdict(dict)
        self._made: dict[Hashable, Sequence[Any]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, row: int) -> RowKey:
        """Return the group's key."""
        return self._keys[row]

    def position(self, key: RowKey) -> int | None:
        """Return the group with a key."""
        return self._positions.get(key)

    def members(self, row: int) -> Sequence[int]:
        """Return the rows in a group."""
        return list(compress(self._members, map(eq, self._numbers, repeat(row))))

    @property
    def _members(self) -> Sequence[int]:
        return range(len(self.rows)) if self._chosen is None else self._chosen

    def _first(self, row: int) -> int:
        """Return the first row in a group."""
        if self._firsts is None:  # in reverse, so that the first one remains
            self._firsts = dict(zip(reversed(self._numbers), reversed(self._members), strict=True))
        return self._firsts[row]

    def raw(self, name: str) -> Sequence[Any] | None:
        """Return a label, a number of members, or a sum."""
        if name not in self._made:
            values = self._make(name)
            if values is None:
                return None
            self._made[name] = values
        return self._made[name]

    def sums(self, names: tuple[str, ...]) -> Sequence[float]:
        """Add up what the members' columns add up to."""
        key = ("sums", names)
        if key not in self._made:
            self._made[key] = self._sums(table_sums(self.rows, names), rates=False)
        return self._made[key]

    def window(self, rows: Sequence[int]) -> ValuesOf:
        """Return the values of some groups."""

        def values_of(name: str) -> Sequence[Any] | None:
            label = self._grouping.labels.get(name)
            if label is not None and name not in self._made:
                return [self._label(label, row) for row in rows]
            if name in _COUNTS or self._combined(name) == "most":
                return self._counts(name, rows)
            values = self.raw(name)
            return None if values is None else [values[row] for row in rows]

        return values_of

    def _make(self, name: str) -> Sequence[Any] | None:
        label = self._grouping.labels.get(name)
        if label is not None:
            return [self._label(label, row) for row in range(len(self))]
        combined = self._combined(name)
        if name in _COUNTS or combined == "most":
            return self._counts(name, range(len(self)))
        if combined is None:
            return None
        field, columns = SHOWN[self.rows.kind][name], self.rows.table.columns
        sums = self._sums(columns[name], rates=field.rate_of is not None)
        if field.needs is None:
            return sums
        known = {*compress(self._numbers, self._of_members(columns[field.needs]))}
        return [value if group in known else None for group, value in enumerate(sums)]

    def _combined(self, name: str) -> Combined | None:
        """Return what members have in common of a field: their sum, the most of any, or nothing."""
        field = SHOWN[self.rows.kind].get(name)
        return None if field is None else field.combined

    def _label(self, label: Callable[[Rows, RowKey, int], Any], row: int) -> Any:  # noqa: ANN401
        return label(self.rows, self._keys[row], self._first(row))

    def _counts(self, name: str, rows: Sequence[int]) -> list[int | None]:
        """Count the members of groups, or their processes; or find the most that a member has."""
        counted = self._counted[name]
        missing = {row for row in rows if row not in counted}
        if missing:
            counted |= dict.fromkeys(missing, 0) | self._count(name, missing)
        return [counted[row] or None for row in rows]

    def _count(self, name: str, rows: Collection[int]) -> dict[int, int]:
        flags = list(map(rows.__contains__, self._numbers))
        numbers = compress(self._numbers, flags)
        if name == "members":
            return Counter(numbers)
        members = list(compress(self._members, flags))
        if name not in _COUNTS:
            return _most(numbers, map(self.rows.table.columns[name].__getitem__, members))
        pids, starts = (self.rows.table.columns[name] for name in ("pid", "start_ns"))
        whose = (map(pids.__getitem__, members), map(starts.__getitem__, members))
        return Counter(map(itemgetter(0), set(zip(numbers, *whose, strict=True))))

    def _of_members(self, column: Sequence[Any]) -> Sequence[Any]:
        return column if self._chosen is None else list(map(column.__getitem__, self._chosen))

    def _sums(self, column: Sequence[Any], *, rates: bool) -> list[Any]:
        values = self._of_members(column)
        sums: list[Any] = [0.0 if rates else 0] * len(self)
        unknown: set[int] = set()
        # Most are zero, and are skipped without a Python-level step.
        moved = zip(compress(self._numbers, values), filter(None, values), strict=True)
        for group, value in moved:
            if value == value:  # noqa: PLR0124 - NaN, the wire's unknown, is not
                sums[group] += value
            else:
                unknown.add(group)
        for group in unknown:
            if not sums[group]:
                sums[group] = None
        return sums


def _most(groups: Iterable[int], values: Iterable[int]) -> dict[int, int]:
    """Return the most that any member of a group has."""
    most: dict[int, int] = {}
    for group, value in zip(groups, values, strict=True):
        if value > most.get(group, 0):
            most[group] = value
    return most
