"""The rows of one kernel map from tick to tick: what moved, whose it is, when it last moved."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pbmond import fields
from pbmond.kernel.records import COUNTER, FLAG_OWNER, KernelRows
from pbmond.store.values import values_of

#: ``open`` of a row, as it is on the wire.
CLOSED, OPEN, OPEN_UNKNOWN = (fields.OPEN.index(each) for each in (False, True, None))
#: Slot of a row that was folded.
NO_SLOT = -1
#: At most so many keys of a map are retired in one tick: each costs 1 to 2 us.
RETIRE_MAX = 50_000
#: How many more names than twice the rows are kept, so that they are rarely sorted out.
_NAMES_SPARE: Final = 1024


@dataclass(frozen=True, slots=True)
class RowState:
    """Parallel arrays, one element a row; none is ever changed in place.

    ``deltas`` is (2, rows): bytes in and out since the tick before. Rows from ``read`` on were
    missing from the last reading.
    """

    keys: NDArray[np.void]
    counters: NDArray[np.void]
    slots: NDArray[np.int32]
    deltas: NDArray[np.uint64]
    last_ns: NDArray[np.uint64]
    open: NDArray[np.uint8]
    read: int

    def __len__(self) -> int:
        return len(self.slots)


@dataclass(frozen=True, slots=True)
class Moved:
    """Rows that moved: ``index`` into the state and (rows, len(VALUES)) ``deltas``."""

    index: NDArray[np.intp]
    deltas: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class RowView:
    """A row table as a snapshot holds it; ``names`` may gain rows later, and loses none."""

    state: RowState
    names: dict[int, Any]


#: In place of the device of a row: the inode number alone is compared.
ANY_DEVICE: Final = 0


@dataclass(frozen=True, slots=True)
class Opened:
    """What some processes have open: slot, inode number and device of each, as parallel arrays.

    ``listed`` are the slots of those processes, ``unlisted`` of others whose list is not known. The
    device is the one that stat shows, as the kernel numbers it.
    """

    listed: NDArray[np.int32]
    unlisted: NDArray[np.int32]
    slots: NDArray[np.int32]
    inodes: NDArray[np.uint64]
    devices: NDArray[np.uint32]

    def holds(
        self, slots: NDArray[np.int32], inodes: NDArray[np.uint64], devices: NDArray[np.uint32]
    ) -> NDArray[np.bool_]:
        """Return which of the (slot, inode, device) are open; a device may be ANY_DEVICE."""
        if not len(self.slots):
            return np.zeros(len(slots), np.bool_)
        theirs, mine = _codes((self.slots, self.inodes), (slots, inodes))
        found = np.isin(mine, theirs)
        theirs, mine = _codes((theirs, self.devices), (mine, devices))
        return np.asarray(found & ((devices == ANY_DEVICE) | np.isin(mine, theirs)))


def _codes(
    known: tuple[NDArray[Any], NDArray[Any]], asked: tuple[NDArray[Any], NDArray[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return a number for each pair of ``known``, and for each of ``asked``; -1: not known.

    The first of a pair is 0 or more, or -1.
    """
    seconds, codes = np.unique(known[1], return_inverse=True)
    places = np.searchsorted(seconds, asked[1])
    places[places == len(seconds)] = 0
    is_known = (asked[0] >= 0) & (seconds[places] == asked[1])
    asked_numbers = asked[0].astype(np.int64) * len(seconds) + places
    return known[0].astype(np.int64) * len(seconds) + codes, np.where(is_known, asked_numbers, -1)


@dataclass(slots=True)
class _Ids:
    """The ids of a state: as they stand, and sorted with the order that sorts them."""

    ids: NDArray[np.uint64]
    order: NDArray[np.intp]
    sorted: NDArray[np.uint64] = field(init=False)

    def __post_init__(self) -> None:
        self.sorted = self.ids[self.order]

    def find(self, ids: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return the index of each of ``ids``, or -1; fast if they are sorted."""
        if not len(self.sorted):
            return np.full(len(ids), -1, np.intp)
        place = np.searchsorted(self.sorted, ids)
        place[place == len(self.sorted)] = 0
        return np.where(self.sorted[place] == ids, self.order[place], -1)


def _ids_of(counters: NDArray[np.void]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(counters["id"])


@dataclass(frozen=True, slots=True)
class Leave:
    """Which rows of living processes leave: by the CLOCK_BOOTTIME ns of their last byte.

    Those whose descriptor is known to be closed; among more than ``calm`` rows, any idle one. When
    more than ``room`` rows would stay, also some that have been in a snapshot and moved nothing
    since: the closed ones first, and of those what has been quiet longest.
    """

    idle_before_ns: int
    closed_before_ns: int
    quiet_before_ns: int
    calm: int
    room: int


class RowTable:
    """One map's rows, matched by ``id``; a row leaves only by ``fold``."""

    def __init__(self, key: np.dtype[np.void]) -> None:
        self.state = RowState(
            np.zeros(0, key),
            np.zeros(0, COUNTER),
            np.zeros(0, np.int32),
            np.zeros((2, 0), np.uint64),
            np.zeros(0, np.uint64),
            np.zeros(0, np.uint8),
            0,
        )
        self._ids = _Ids(np.zeros(0, np.uint64), np.zeros(0, np.intp))
        self._retiring = np.zeros(0, np.intp)
        self.names: dict[int, Any] = {}
        self._names_before = 0  # how many of them are older than this tick

    # --- a tick -------------------------------------------------------------------------------

    def advance(self, rows: KernelRows, now_ns: int) -> tuple[NDArray[np.intp], Moved]:
        """Take a reading; return the indexes of rows whose slot is not known yet, and what moved.

        The reading's arrays are kept and must not be changed by the caller.
        """
        before = self.state
        ids = _ids_of(rows.counters)
        if np.array_equal(ids, self._ids.ids):
            deltas = values_of(rows.counters) - values_of(before.counters)
            slots, was_open = before.slots, before.open
            last_ns, read = before.last_ns, len(rows)
        else:
            match, rows, read = self._match(rows, ids)
            known = np.flatnonzero(match >= 0)
            old = match[known]
            deltas = values_of(rows.counters)
            deltas[:, known] -= values_of(before.counters)[:, old]
            slots = np.full(len(rows), NO_SLOT, np.int32)
            slots[known] = before.slots[old]
            was_open = np.full(len(rows), OPEN_UNKNOWN, np.uint8)
            was_open[known] = before.open[old]
            last_ns = np.full(len(rows), now_ns, np.uint64)
            last_ns[known] = before.last_ns[old]
        moved = np.flatnonzero(reduce(np.bitwise_or, deltas))
        last_ns = last_ns.copy()
        last_ns[moved] = now_ns
        self.state = RowState(
            rows.keys, rows.counters, slots, deltas[:2].copy(), last_ns, was_open, read
        )
        self._prune_names()
        return np.flatnonzero(slots == NO_SLOT), Moved(moved, deltas[:, moved].T)

    def _match(
        self, rows: KernelRows, ids: NDArray[np.uint64]
    ) -> tuple[NDArray[np.intp], KernelRows, int]:
        """Match a reading to the state: for each row its old index or -1; carry missing rows.

        A row that the reading left out is kept as it was, because it would otherwise count from
        zero when it comes back; one that the reading holds twice counts once.
        """
        before = self.state
        order = np.argsort(ids)
        sorted_ids = ids[order]
        if (sorted_ids[1:] == sorted_ids[:-1]).any():
            last = len(ids) - 1 - np.unique(ids[::-1], return_index=True)[1]
            rows = KernelRows(rows.keys[last], rows.counters[last])
            ids = sorted_ids = ids[last]
            order = np.arange(len(ids))
        match = np.empty(len(ids), np.intp)
        match[order] = self._ids.find(sorted_ids)
        missing = before.slots != NO_SLOT
        missing[match[match >= 0]] = False
        read = len(ids)
        if missing.any():
            lost = np.flatnonzero(missing)
            match = np.concatenate((match, lost))
            rows = KernelRows(
                np.concatenate((rows.keys, before.keys[lost])),
                np.concatenate((rows.counters, before.counters[lost])),
            )
            ids = _ids_of(rows.counters)
            order = np.argsort(ids)
        self._ids = _Ids(ids, order)
        return match, rows, read

    def assign(self, index: NDArray[np.intp], slots: NDArray[np.int32]) -> None:
        """Set the slots of the rows that ``advance`` did not know."""
        if len(index):
            everyone = self.state.slots.copy()
            everyone[index] = slots
            self.state = replace(self.state, slots=everyone)

    def renumber(self, places: NDArray[np.int32]) -> None:
        """Give each row the new place of its slot; the last of ``places`` is NO_SLOT."""
        self.state = replace(self.state, slots=places[self.state.slots])

    # --- retiring -----------------------------------------------------------------------------

    def retire(self, finished: NDArray[np.bool_], leave: Leave) -> NDArray[np.uint64]:
        """Return the ids of rows whose keys may go: of ``finished`` slots, or as ``leave`` says.

        While the kernel has not closed its TCP socket, a row leaves only if it is idle or the table
        is nearly full: what a process sent may be sent again after its end.
        """
        state = self.state
        last_ns = state.last_ns.astype(np.int64)
        live = state.slots != NO_SLOT
        over = finished[state.slots]
        closed = state.open == CLOSED
        idle = last_ns <= leave.idle_before_ns
        if np.count_nonzero(live) <= leave.calm:
            # A connection that is silent for long is still the same one when it wakes up.
            idle &= over | closed
        chosen = over | (closed & (last_ns <= leave.closed_before_ns))
        chosen &= (state.counters["flags"] & FLAG_OWNER) == 0
        chosen = (chosen | idle) & live
        excess = np.count_nonzero(live) - np.count_nonzero(chosen) - leave.room
        if excess > 0:
            quiet = np.flatnonzero(live & ~chosen & (last_ns <= leave.quiet_before_ns))
            order = np.lexsort((last_ns[quiet], state.open[quiet] != CLOSED))
            chosen[quiet[order[:excess]]] = True
        self._retiring = np.flatnonzero(chosen)[:RETIRE_MAX]
        return self._ids.ids[self._retiring]

    def fold(self, finals: NDArray[np.void]) -> tuple[NDArray[np.int32], Moved, NDArray[np.void]]:
        """Drop the rows of deleted keys; return their slots and what moved since the reading.

        The third value are those of ``finals`` that no reading has shown.
        """
        state = self.state
        retiring, self._retiring = self._retiring, self._retiring[:0]
        index = self._ids.find(_ids_of(finals))
        index[index >= 0] = np.where(
            state.slots[index[index >= 0]] == NO_SLOT, -1, index[index >= 0]
        )
        known = index >= 0
        old = index[known]
        moved = Moved(old, (values_of(finals[known]) - values_of(state.counters[old])).T)
        # A row that neither the reading nor the deleting call found has no key any more.
        vanished = retiring[retiring >= state.read]
        owners = state.slots[old]
        if len(old) or len(vanished):
            slots = state.slots.copy()
            slots[old] = NO_SLOT
            slots[vanished] = NO_SLOT
            self.state = replace(state, slots=slots)
        return owners, moved, finals[~known]

    # --- names and open descriptors -------------------------------------------------------------

    def _prune_names(self) -> None:
        """Forget names of rows that left, rarely, in a new dict: snapshots keep the old one."""
        if len(self.names) > 2 * len(self.state) + _NAMES_SPARE:
            ids = np.fromiter(self.names, np.uint64, len(self.names))
            keep = self._ids.find(ids) >= 0
            keep[self._names_before :] = True  # their rows may not have been read yet
            pairs = zip(self.names.items(), keep.tolist(), strict=True)
            self.names = dict(item for item, kept in pairs if kept)
        self._names_before = len(self.names)

    def set_open(
        self, inodes: NDArray[np.uint64], devices: NDArray[np.uint32], opened: Opened
    ) -> None:
        """Set ``open`` of every row of the processes that ``opened`` is about.

        ``inodes`` has each row's inode number (0: not known), ``devices`` its device.
        """
        state = self.state
        highest = max(each.max(initial=0) for each in (opened.listed, opened.unlisted, state.slots))
        lists = np.full(int(highest) + 2, -1, np.int8)  # the last one stays -1, for NO_SLOT
        lists[opened.listed], lists[opened.unlisted] = 1, 0
        index = np.flatnonzero((lists[state.slots] == 1) & (inodes != 0))
        unlisted = lists[state.slots] == 0
        if not len(index) and not unlisted.any():
            return
        is_open = state.open.copy()
        is_open[unlisted] = OPEN_UNKNOWN
        found = opened.holds(state.slots[index], inodes[index], devices[index])
        is_open[index] = np.where(found, OPEN, CLOSED)
        self.state = replace(state, open=is_open)

    def view(self) -> RowView:
        """Return the rows as they are now, for a snapshot."""
        return RowView(self.state, self.names)


def row_counts(state: RowState, slots: int) -> NDArray[np.uint32]:
    """Count the rows of each slot below ``slots``."""
    # Shifted by one so that folded rows fall into a bin of their own.
    return np.bincount(state.slots + 1, minlength=slots + 1)[1:].astype(np.uint32)
