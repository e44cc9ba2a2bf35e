"""The rows a viewer asked for: one message narrowed, joined, sorted and cut; pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import reduce
from itertools import repeat
from math import isfinite
from operator import eq
from typing import Any, Final, NamedTuple, Protocol, Self, TypeVar

from pbmon_client.data.columns import SOURCES, UserName
from pbmon_client.data.text import safe, safe_text
from pbmond.fields import SHOWN, byte_columns, rate_columns
from pbmond.wire import Message, Table

Find = Callable[[str], Sequence[Any] | None]
Made = TypeVar("Made")
#: So many rows are worth to be treated one by one.
_FEW: Final = 64


Flags = list[bool]  # one for each row of a table


def joined(join: Callable[[bool, bool], bool], columns: Iterable[Flags]) -> Flags:
    """Join the flags of each row; there is at least one column."""
    # Each pair at once: maps within maps would be as deep as there are columns.
    return reduce(lambda one, other: list(map(join, one, other)), columns)


class Answers(NamedTuple):
    """Of each row, whether it matches and whether it does not; neither where that cannot be told.

    Whole columns, for a step of Python for each of a hundred thousand rows takes too long.
    """

    yes: Flags
    no: Flags


class Filter(Protocol):
    """A filter expression (``pbmon_client.data.filters``)."""

    @property
    def fields(self) -> frozenset[str]:
        """The fields that the expression names."""

    def ask(self, find: Find, count: int) -> Answers:
        """Test the ``count`` rows of a table, which has no field that ``find`` returns None for."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What was asked for. Empty collections and None ask for everything.

    ``names`` are shell patterns. ``sort`` is a field, or None for the wire's order; with ``top``
    (rows per table) or ``busiest_first`` None sorts by what moves most.
    """

    pids: frozenset[int] = frozenset()
    uids: frozenset[int] = frozenset()
    names: tuple[str, ...] = ()
    filter: Filter | None = None
    active: bool = False
    sort: str | None = None
    reverse: bool = False
    top: int | None = None
    busiest_first: bool = False
    flows: bool = False

    @property
    def needs_flows(self) -> bool:
        """Whether connections and files are needed, be it only to choose processes."""
        named = self.filter.fields if self.filter else frozenset()
        return self.flows or not named <= SHOWN["processes"].keys()


class Rows:
    """The rows of one table, each column made when it is first asked for."""

    def __init__(self, kind: str, table: Table, user: UserName, owners: Rows | None = None) -> None:
        self.kind: Final = kind
        self.table: Final = table
        self._user = user
        self.owners: Final = owners
        self._made: dict[str, Sequence[Any]] = {}
        self._owner_rows: list[int] | None = None
        self._index: dict[tuple[int, int], int] | None = None
        self._derived: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return self.table.length

    def column(self, name: str) -> Sequence[Any]:
        """Return the values of one of the table's own columns."""
        made = self._made.get(name)
        if made is None:
            made = SOURCES[self.kind][name](self.table.columns, self._user)
            self._made[name] = made
        return made

    def find(self, name: str) -> Sequence[Any] | None:
        """Return the values of a field: the rows' own, else their process's, else None."""
        if name in SOURCES[self.kind]:
            return self.column(name)
        if self.owners is None or name not in SOURCES["processes"]:
            return None
        owners = self.owner_rows()
        nobody = len(self.owners)
        if len(self) < min(_FEW, nobody):  # not everybody's values are made for them
            known = [row for row in owners if row != nobody]
            values = iter(self.owners.take(known).column(name))
            return [None if row == nobody else next(values) for row in owners]
        return list(map([*self.owners.column(name), None].__getitem__, owners))

    def owner_rows(self) -> list[int]:
        """Return for each row the index of its process, the processes' number if it has none."""
        if self._owner_rows is None:
            owners = self if self.owners is None else self.owners
            nobody = repeat(len(owners))
            self._owner_rows = list(map(owners.index().get, self.identities(), nobody))
        return self._owner_rows

    def index(self) -> dict[tuple[int, int], int]:
        """Return the rows of processes by (pid, start_ns)."""
        if self._index is None:
            self._index = dict(zip(self.identities(), range(len(self)), strict=True))
        return self._index

    def derived(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return something made of these rows, which is made once for each key."""
        made = self._derived.get(key, self)  # which nothing derived is
        if made is self:
            made = self._derived[key] = make()
        derived: Made = made
        return derived

    def forget(self) -> Iterator[None]:
        """Free what was made of these rows, a piece for each step; it is made again when needed.

        To free it with the rows takes tens of milliseconds of a large table, in one go.
        """
        for made in (self._derived, self._made):
            while made:
                made.popitem()
                yield

    def has(self, key: Hashable) -> bool:
        """Tell whether something was already made of these rows."""
        return key in self._derived

    def identities(self) -> Iterable[tuple[int, int]]:
        """Yield (pid, start_ns) of each row's process."""
        return zip(self.table.columns["pid"], self.table.columns["start_ns"], strict=True)

    def take(self, indexes: Sequence[int]) -> Self:
        """Return the rows at these indexes, in this order."""
        every = range(len(self))
        if indexes == every or (len(indexes) == len(self) and all(map(eq, indexes, every))):
            return self
        columns = {
            name: [values[index] for index in indexes]
            for name, values in self.table.columns.items()
        }
        return type(self)(self.kind, Table(len(indexes), columns), self._user, self.owners)


@dataclass(frozen=True, slots=True)
class View:
    """One snapshot as asked for. ``scope`` is "all" or "own"; tables not asked for are None.

    ``health`` and ``coverage`` are the contract's objects, and ``host`` a name, all made safe.
    """

    message: Message
    host: str
    uid: int
    scope: str
    health: Mapping[str, Any]
    coverage: Mapping[str, Any]
    totals: Mapping[str, int | float | None]
    retired: Rows
    processes: Rows
    connections: Rows | None
    files: Rows | None


def view(message: Message, selection: Selection, uid: int, scope: str, user: UserName) -> View:
    """Narrow a message to a selection; ``user`` names users by uid."""
    processes = Rows("processes", message.processes, user)
    flows = [
        Rows(kind, table, user, processes)
        for kind, table in (("connections", message.connections), ("files", message.files))
        if table is not None and selection.needs_flows
    ]
    chosen, chosen_flows = _choose(processes, flows, selection)
    tables = {rows.kind: _arrange(rows, selection) for rows in (chosen, *chosen_flows)}
    return View(
        message=message,
        host=safe_text(message.host),
        uid=uid,
        scope=scope,
        health=_plain_map(message.health, 0),
        coverage=_plain_map(message.coverage, 0),
        totals=_plain_map(message.totals, 0),
        retired=Rows("retired", message.retired, user),
        processes=tables["processes"],
        connections=tables.get("connections") if selection.flows else None,
        files=tables.get("files") if selection.flows else None,
    )


def _choose(processes: Rows, flows: list[Rows], selection: Selection) -> tuple[Rows, list[Rows]]:
    """Apply the options that narrow; a process stays as well when one of its flows does."""
    wanted = _wanted(processes, selection)
    kept: set[int] = set()
    chosen_flows: list[Rows] = []
    for rows in flows:
        indexes: Sequence[int] = range(len(rows))
        if wanted is not None:
            indexes = [row for row in indexes if rows.owner_rows()[row] in wanted]
        if selection.filter is not None:
            yes = selection.filter.ask(rows.find, len(rows)).yes
            indexes = [row for row in indexes if yes[row]]
            kept.update(map(rows.owner_rows().__getitem__, indexes))
        chosen_flows.append(rows.take(indexes))
    indexes = range(len(processes)) if wanted is None else sorted(wanted)
    if selection.filter is not None:
        yes = selection.filter.ask(processes.find, len(processes)).yes
        indexes = [row for row in indexes if row in kept or yes[row]]
    return processes.take(indexes), chosen_flows


def _wanted(processes: Rows, selection: Selection) -> set[int] | None:
    """Return the processes that -p, -u and --name ask for; None is all of them."""
    if not (selection.pids or selection.uids or selection.names):
        return None
    indexes: Sequence[int] = range(len(processes))
    if selection.pids:
        pids = processes.column("pid")
        indexes = [row for row in indexes if pids[row] in selection.pids]
    if selection.uids:
        uids = processes.column("uid")
        indexes = [row for row in indexes if uids[row] in selection.uids]
    if selection.names:
        names = processes.column("name")
        indexes = [
            row
            for row in indexes
            if any(fnmatchcase(names[row] or "", pattern) for pattern in selection.names)
        ]
    return set(indexes)


def _arrange(rows: Rows, selection: Selection) -> Rows:
    if selection.active:
        rows = rows.take([row for row, moved in enumerate(_moved(rows)) if moved])
    sort = selection.sort
    values = rows.find(sort) if sort is not None else None
    if values is not None and sort is not None:
        rows = rows.take(_order(values, descending=_starts_big(values) != selection.reverse))
    elif selection.busiest_first or selection.top is not None:
        busiest = list(zip(_sums(rows, rate_columns), _sums(rows, byte_columns), strict=True))
        rows = rows.take(_order(busiest, descending=not selection.reverse))
    elif selection.reverse:
        rows = rows.take(range(len(rows) - 1, -1, -1))
    return rows if selection.top is None else rows.take(range(min(selection.top, len(rows))))


def _moved(rows: Rows) -> list[float]:
    """Return what moved in each row; where no rate is known yet, since counting began."""
    known = any(rate is not None for rate in rows.column(rate_columns(rows.kind)[0]))
    return _sums(rows, rate_columns if known else byte_columns)


def _sums(rows: Rows, names: Callable[[str], tuple[str, ...]]) -> list[float]:
    columns = [rows.column(name) for name in names(rows.kind)]
    return [sum(filter(None, values)) for values in zip(*columns, strict=True)]


def _starts_big(values: Sequence[Any]) -> bool:
    """Numbers are sorted from the largest, text from A."""
    return not any(isinstance(value, str) for value in values)


def _order(values: Sequence[Any], *, descending: bool) -> list[int]:
    known = [row for row, value in enumerate(values) if value is not None]
    unknown = [row for row, value in enumerate(values) if value is None]
    return sorted(known, key=values.__getitem__, reverse=descending) + unknown


_DEPTH: Final = 6  # of the health and coverage objects; a deeper one is nobody's


def _plain(value: Any, depth: int) -> Any:  # noqa: ANN401 - anything that msgpack can hold
    """Make a msgpack value fit for JSON and for a terminal."""
    if isinstance(value, (str, bytes)):
        return safe_text(value) if isinstance(value, str) else safe(value)
    if isinstance(value, dict) and depth < _DEPTH:
        return _plain_map(value, depth)
    if isinstance(value, list) and depth < _DEPTH:
        return [_plain(item, depth + 1) for item in value]
    return value if isinstance(value, (int, float)) and isfinite(value) else None


def _plain_map(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    return {str(_plain(key, depth)): _plain(item, depth + 1) for key, item in value.items()}
