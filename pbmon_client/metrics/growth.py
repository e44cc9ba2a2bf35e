"""What moved between two snapshots, by unit, container, user and program.

The sum of what a snapshot has of a unit can fall: a process takes along all that it ever moved
when it changes its unit or its user, and when it is no row any more, what it had moved under each
unit is in that unit's retired row. So what is taken from a snapshot is how each row grew, for
whoever has the row now. Whatever is no growth of a row (rows that end, and what retired rows gain
by that) is settled apart: what falls cancels what rises.
"""

from __future__ import annotations

import struct
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, compress, repeat
from operator import ne, sub
from typing import Any, Final

from pbmon_client.data.columns import UserName
from pbmon_client.data.model import Rows, Snapshot
from pbmon_client.data.text import safe
from pbmond.fields import COUNTERS, NO_UID

#: By what the bytes of processes are summed.
DIMENSIONS: Final = ("unit", "container", "user", "program")
#: The name of what has none: no unit, no container, a user or a program that is not known.
NONE: Final = "_none"

CounterSums = tuple[int, ...]  # one for each of COUNTERS
MovedByName = Mapping[str, CounterSums]  # by name
_NOTHING: Final = (0,) * len(COUNTERS)
#: The counters of a row while it waits: as objects they take three times as much memory.
_PACKED: Final = struct.Struct(f"={len(COUNTERS)}Q")
_ZEROS: Final = bytes(_PACKED.size)


#: Whose a row is, as the wire has it, in the order of DIMENSIONS.
_MoverKey = tuple[bytes | None, bytes | None, int, bytes | None]
_RowIdentity = tuple[int, int]
#: In place of the row that one had before.
_NEW: Final = -1


class GrowthTracker:
    """Takes the snapshots of one run of the daemon in their order; ``user`` names users.

    Retired rows do not say which programs they were. What a process moved after it was last seen
    is therefore of no program.
    """

    def __init__(self, dimensions: Sequence[str], user: UserName) -> None:
        self._dimensions = tuple(dimensions)
        self._user = user
        self._rows: _SeenRows | None = None
        self._retired: dict[_MoverKey, bytes] = {}
        self._owed: dict[str, CounterSums] = dict.fromkeys(dimensions, _NOTHING)
        self._taken_ns = -1

    def take(self, snapshot: Snapshot) -> dict[str, MovedByName]:
        """Return for each dimension what moved since the snapshot before, by name.

        The first snapshot's is all that moved since the daemon began. Nothing in it is negative,
        and the names of a dimension add up to how much the totals grew. Only where totals fall,
        because a process has left what the viewer may see, their next growth pays for that first.
        """
        grown, other = _Changes(), _Changes()
        self._compare_rows(snapshot.processes, grown, other)
        self._compare_retired(snapshot, other)
        self._taken_ns = snapshot.message.now_ns
        live, rest = grown.sums(), other.sums()
        return {name: self._named(name, live, rest) for name in self._dimensions}

    def _compare_rows(self, processes: Rows, grown: _Changes, other: _Changes) -> None:
        now = _SeenRows(processes, programs="program" in self._dimensions)
        before, self._rows = self._rows or _SeenRows(processes.take([]), programs=False), now
        places = list(map(before.places.get, now.identities, repeat(_NEW)))
        last = [*before.counters, _ZEROS]
        # Most rows have moved nothing, and are passed over without a Python-level step for each.
        changed = map(ne, now.counters, map(last.__getitem__, places))
        rows = [*compress(range(len(places)), changed)]
        differences = _differences(
            map(now.counters.__getitem__, rows), (last[places[row]] for row in rows)
        )
        for row, moved in zip(rows, differences, strict=True):
            owner, place = now.owner(row), places[row]
            if place == _NEW:
                # One that is older than the snapshot before may have been seen even earlier.
                is_young = now.identities[row][1] > self._taken_ns
                (grown if is_young else other).rise(owner, moved)
            elif min(moved) >= 0:
                grown.rise(owner, moved)
            else:  # it ended, came back, and counts from zero again
                other.rise(owner, _PACKED.unpack(now.counters[row]))
                other.fall(before.owner(place), _PACKED.unpack(last[place]))
        for identity in before.places.keys() - now.places.keys():
            place = before.places[identity]
            other.fall(before.owner(place), _PACKED.unpack(last[place]))

    def _compare_retired(self, snapshot: Snapshot, other: _Changes) -> None:
        earlier, self._retired = self._retired, dict(_retired(snapshot.retired))
        for owner, now in self._retired.items():
            last = earlier.pop(owner, None)
            if last == now:
                continue
            other.rise(owner, _PACKED.unpack(now))
            if last is not None:
                other.fall(owner, _PACKED.unpack(last))
        for owner, last in earlier.items():  # now in a row that others share
            other.fall(owner, _PACKED.unpack(last))

    def _named(
        self,
        dimension: str,
        grown: Mapping[_MoverKey, CounterSums],
        other: Mapping[_MoverKey, CounterSums],
    ) -> MovedByName:
        place = DIMENSIONS.index(dimension)
        owed = self._owed[dimension]
        settled, self._owed[dimension] = _settled(_narrowed(other, place), owed)
        live = _narrowed(grown, place)
        # Two users, or two names once they are safe to print, may be called the same.
        return _added((self._name(key), sums) for key, sums in chain(live.items(), settled.items()))

    def _name(self, key: bytes | int | None) -> str:
        if isinstance(key, int):
            return NONE if key == NO_UID else self._user(key)
        return NONE if key is None else safe(key)


class _Changes:
    """Counters that rise and fall, by owner; added up only at the end, column by column."""

    def __init__(self) -> None:
        self._rises: defaultdict[_MoverKey, list[CounterSums]] = defaultdict(list)
        self._falls: defaultdict[_MoverKey, list[CounterSums]] = defaultdict(list)

    def rise(self, owner: _MoverKey, counters: CounterSums) -> None:
        self._rises[owner].append(counters)

    def fall(self, owner: _MoverKey, counters: CounterSums) -> None:
        self._falls[owner].append(counters)

    def sums(self) -> dict[_MoverKey, CounterSums]:
        sums = {owner: _sum(each) for owner, each in self._rises.items()}
        for owner, each in self._falls.items():
            sums[owner] = tuple(map(sub, sums.get(owner, _NOTHING), _sum(each)))
        return sums


def _sum(every: Sequence[CounterSums]) -> CounterSums:
    return tuple(map(sum, zip(*every, strict=True))) if len(every) > 1 else every[0]


# --- the rows of a snapshot -----------------------------------------------------------------------


class _SeenRows:
    """What is kept of a snapshot's processes: whose each row is, and its counters, packed."""

    def __init__(self, processes: Rows, *, programs: bool) -> None:
        columns = processes.table.columns
        self.identities: Final[list[_RowIdentity]] = list(processes.identities())
        self.places: Final = dict(zip(self.identities, range(len(processes)), strict=True))
        self.counters: Final = _packed(processes)
        # As bytes: names are made safe only where they are shown.
        names = columns["name"] if programs else [None] * len(processes)
        self._owners = (columns["unit"], columns["container"], columns["uid"], names)

    def owner(self, row: int) -> _MoverKey:
        unit, container, uid, name = self._owners
        return unit[row], container[row], uid[row], name[row]


def _differences(now: Iterable[bytes], last: Iterable[bytes]) -> Iterator[CounterSums]:
    """Yield what the counters of each row, packed, are more than before."""
    # Column by column: row by row would take twice as long.
    width = len(COUNTERS)
    one, other = (array("Q", b"".join(rows)) for rows in (now, last))
    columns = ((one[at::width], other[at::width]) for at in range(width))
    # Few counters move at a time, and equal arrays are told without a step for each number.
    steps = (repeat(0, len(it)) if it == before else map(sub, it, before) for it, before in columns)
    return zip(*steps, strict=True)


def _retired(rows: Rows) -> Iterator[tuple[_MoverKey, bytes]]:
    columns = rows.table.columns
    owners = zip(columns["unit"], columns["container"], columns["uid"], repeat(None), strict=False)
    return zip(owners, _packed(rows), strict=True)


def _packed(rows: Rows) -> list[bytes]:
    """Return the counters of each row, packed."""
    # Column by column into one array: to pack each row would take three times as long.
    width = len(COUNTERS)
    every = array("Q", _ZEROS * len(rows))
    for at, name in enumerate(COUNTERS):
        every[at::width] = array("Q", rows.table.columns[name])
    return [row for (row,) in struct.iter_unpack(f"{_PACKED.size}s", every)]


# --- sums -----------------------------------------------------------------------------------------


def _added(pairs: Iterable[tuple[Any, CounterSums]]) -> dict[Any, CounterSums]:
    """Add up the counters of each key."""
    every: defaultdict[Any, list[CounterSums]] = defaultdict(list)
    for key, sums in pairs:
        every[key].append(sums)
    return {key: _sum(each) for key, each in every.items()}


def _narrowed(changes: Mapping[_MoverKey, CounterSums], place: int) -> dict[Any, CounterSums]:
    """Add up what owners have in common in one dimension."""
    return _added((owner[place], sums) for owner, sums in changes.items())


def _settled(
    changes: dict[Any, CounterSums], owed: CounterSums
) -> tuple[dict[Any, CounterSums], CounterSums]:
    """Let what falls, and what is owed from before, cancel what rises; return also what is owed."""
    columns = zip(*changes.values(), strict=True) if changes else repeat((), len(owed))
    settled = [_cancelled(column, debt) for column, debt in zip(columns, owed, strict=True)]
    rises = zip(*(column for column, _debt in settled), strict=True)
    return dict(zip(changes, rises, strict=True)), tuple(debt for _column, debt in settled)


def _cancelled(values: Sequence[int], owed: int) -> tuple[Sequence[int], int]:
    """Return what remains of the values that rise, and of what is owed."""
    if not values or (not owed and min(values) >= 0):
        return values, owed
    owed -= sum(value for value in values if value < 0)
    left = [max(0, value) for value in values]
    # The largest rise is most likely where the bytes went that another name lost.
    for place in sorted(range(len(left)), key=left.__getitem__, reverse=True):
        paid = min(owed, left[place])
        left[place] -= paid
        owed -= paid
    return left, owed
