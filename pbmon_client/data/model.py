"""A snapshot: the tables of one message, joined and made safe for people."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import reduce
from itertools import repeat
from math import isfinite
from operator import eq
from typing import Any, Final, NamedTuple, Protocol, Self, TypeVar

from pbmon_client.data.columns import SOURCES, UserName
from pbmon_client.data.text import safe, safe_text
from pbmond.fields import SHOWN
from pbmond.wire import Message, Table

ValuesOf = Callable[[str], Sequence[Any] | None]
Made = TypeVar("Made")
#: Fewer rows than this are joined to their processes one by one.
_FEW: Final = 64

Flags = list[bool]  # one for each row of a table


def joined(join: Callable[[bool, bool], bool], columns: Iterable[Flags]) -> Flags:
    """Join the flags of each row; there is at least one column."""
    # Pair by pair: nested maps would be as deep as there are columns.
    return reduce(lambda one, other: list(map(join, one, other)), columns)


class Answers(NamedTuple):
    """For each row, whether it matches and whether it does not; neither where it is undecided.

    Whole columns, because a Python-level step per row is too slow for 100,000 rows.
    """

    yes: Flags
    no: Flags


class Filter(Protocol):
    """A filter expression (``pbmon_client.data.filters``)."""

    @property
    def fields(self) -> frozenset[str]:
        """The fields that the expression names."""

    def evaluate(self, values_of: ValuesOf, count: int) -> Answers:
        """Test the ``count`` rows of a table; ``values_of`` returns None for no field of it."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What the user asked for. Empty collections and None ask for everything.

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
        """Whether connections and files are needed, if only to choose processes."""
        named = self.filter.fields if self.filter else frozenset()
        return self.flows or not named <= SHOWN["processes"].keys()


class Rows:
    """The rows of one table. Each column is made when it is first used."""

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

    def values(self, name: str) -> Sequence[Any] | None:
        """Return the values of a field: the rows' own, else their process's, else None."""
        if name in SOURCES[self.kind]:
            return self.column(name)
        if self.owners is None or name not in SOURCES["processes"]:
            return None
        owners = self.owner_rows()
        no_owner = len(self.owners)
        if len(self) < min(_FEW, no_owner):  # so few do not need the values of all processes
            known = [row for row in owners if row != no_owner]
            values = iter(self.owners.take(known).column(name))
            return [None if row == no_owner else next(values) for row in owners]
        return list(map([*self.owners.column(name), None].__getitem__, owners))

    def owner_rows(self) -> list[int]:
        """Return for each row the index of its process, the number of processes if it has none."""
        if self._owner_rows is None:
            owners = self if self.owners is None else self.owners
            no_owner = repeat(len(owners))
            self._owner_rows = list(map(owners.index().get, self.identities(), no_owner))
        return self._owner_rows

    def index(self) -> dict[tuple[int, int], int]:
        """Return the rows of processes by (pid, start_ns)."""
        if self._index is None:
            self._index = dict(zip(self.identities(), range(len(self)), strict=True))
        return self._index

    def derived(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return something made from these rows, made only once for each key."""
        made = self._derived.get(key, self)  # a value that is never stored
        if made is self:
            made = self._derived[key] = make()
        derived: Made = made
        return derived

    def forget(self) -> Iterator[None]:
        """Free what was made from these rows, step by step; it is made again when needed.

        Freeing it all at once takes tens of milliseconds for a large table.
        """
        for made in (self._derived, self._made):
            while made:
                made.popitem()
                yield

    def has(self, key: Hashable) -> bool:
        """Whether something was already made from these rows."""
        return key in self._derived

    def identities(self) -> Iterable[tuple[int, int]]:
        """Yield (pid, start_ns) of each row's process."""
        return zip(self.table.columns["pid"], self.table.columns["start_ns"], strict=True)

    def take(self, indexes: Sequence[int]) -> Self:
        """Return the rows at these indexes, in this order."""
        every = range(len(self))
        if indexes == every or (len(indexes) == len(self) and all(map(eq, indexes, every))):
            return self
        columns = _TakenColumns(self.table.columns, indexes)
        return type(self)(self.kind, Table(len(indexes), columns), self._user, self.owners)


class _TakenColumns(Mapping[str, Sequence[Any]]):
    """Some rows of each column, taken when it is first used: most never are."""

    def __init__(self, columns: Mapping[str, Sequence[Any]], indexes: Sequence[int]) -> None:
        self._columns = columns
        self._indexes = tuple(indexes)  # the caller's may change
        self._taken: dict[str, Sequence[Any]] = {}

    def __getitem__(self, name: str) -> Sequence[Any]:
        taken = self._taken.get(name)
        if taken is None:
            taken = list(map(self._columns[name].__getitem__, self._indexes))
            self._taken[name] = taken
        return taken

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One message joined and made safe. ``scope`` is "all" or "own"; a table may be None.

    ``health`` and ``coverage`` are the contract's objects, and ``host`` is a name. Of the ``past``,
    counters are what moved in the interval rather than since the daemon began.
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
    past: bool = False


def snapshot_of(
    message: Message, selection: Selection, uid: int, scope: str, user: UserName
) -> Snapshot:
    """Make a snapshot of a message; ``user`` names users by uid.

    Only the choice of processes in ``selection`` counts; their connections and files stay too.
    """
    processes = Rows("processes", message.processes, user)
    flows = {
        kind: Rows(kind, table, user, processes)
        for kind, table in (("connections", message.connections), ("files", message.files))
        if table is not None
    }
    chosen = _chosen(processes, selection)
    if chosen is not None:
        flows = {kind: rows.take(_owned(rows, {*chosen})) for kind, rows in flows.items()}
    return Snapshot(
        message=message,
        host=safe_text(message.host),
        uid=uid,
        scope=scope,
        health=_plain_map(message.health, 0),
        coverage=_plain_map(message.coverage, 0),
        totals=_plain_map(message.totals, 0),
        retired=Rows("retired", message.retired, user),
        processes=processes if chosen is None else processes.take(chosen),
        connections=flows.get("connections"),
        files=flows.get("files"),
    )


def _owned(rows: Rows, owners: Collection[int]) -> list[int]:
    return [row for row, owner in enumerate(rows.owner_rows()) if owner in owners]


def _chosen(processes: Rows, selection: Selection) -> list[int] | None:
    """Return the processes that -p, -u and --name ask for; None is all of them."""
    if not (selection.pids or selection.uids or selection.names):
        return None
    columns = [processes.column(name) for name in ("pid", "uid", "name")]
    return [
        row
        for row, (pid, uid, name) in enumerate(zip(*columns, strict=True))
        if (not selection.pids or pid in selection.pids)
        and (not selection.uids or uid in selection.uids)
        and (not selection.names or _named(name, selection.names))
    ]


def _named(name: str | None, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name or "", pattern) for pattern in patterns)


#: How deep the health and coverage objects are read; no daemon sends deeper ones.
_DEPTH: Final = 6


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
