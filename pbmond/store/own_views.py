"""What of each process its user may see: whose view is open since when, and without which bytes.

A view is open while the newest information says that the process is its user's alone, and shows
what moved in that time. A process that was its user's from its first byte on is shown whole. When
another's becomes a user's, its view opens after the first tick that began and ended with it being
the user's, and shows what moved since. When it stops being the user's, the view ends with the tick
before. While nothing is known for certain, nothing is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbmond.fields import NO_UID
from pbmond.store.process_counters import IN_PLACE, ProcessCounters, SlotOrder, reordered, resized
from pbmond.store.rows import RowState
from pbmond.store.values import VALUES, values_of

#: The columns of the views and their types; all have an element for each slot.
_VIEW = {
    "viewer": np.uint32,  # by the newest information
    "shown_to": np.uint32,  # whose view is open; NO_UID: nobody's
    "since": np.uint64,  # the first tick that the open view shows
    "doubtful": np.uint64,  # the last tick whose bytes may have moved under another user
    "confirmed": np.uint64,  # the tick in which /proc last said the same
    "known": np.bool_,  # there is information
    "announced": np.bool_,  # the kernel's, which comes with the first byte
    "partial": np.bool_,  # the view began after the process
}


@dataclass(frozen=True, slots=True)
class Word:
    """That user ``viewer`` may see a process; NO_UID: nobody but root.

    ``announced``: the kernel says so, else /proc. ``newest``: nothing newer has been said.
    ``ahead``: it was said after the reading of this tick.
    """

    viewer: int
    announced: bool
    newest: bool = True
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class RowsBefore:
    """Rows of one table as they were when the views of their slots opened, sorted by id.

    ``values`` is (len(VALUES), rows). Never changed in place.
    """

    ids: NDArray[np.uint64]
    slots: NDArray[np.int32]
    values: NDArray[np.uint64]

    @classmethod
    def none(cls) -> RowsBefore:
        """Return that no row was there before."""
        empty = np.zeros(0, np.uint64)
        return cls(empty, np.zeros(0, np.int32), np.zeros((len(VALUES), 0), np.uint64))

    def replaced(self, slots: NDArray[np.intp], state: RowState | None) -> RowsBefore:
        """Return this with the rows that ``slots`` have in ``state``, or none, for theirs."""
        kept = ~np.isin(self.slots, slots)
        ids, owners, values = self.ids[kept], self.slots[kept], self.values[:, kept]
        if state is not None:
            index = np.flatnonzero(np.isin(state.slots, slots))
            ids = np.append(ids, state.counters["id"][index])
            owners = np.append(owners, state.slots[index])
            values = np.concatenate((values, values_of(state.counters[index])), axis=1)
        order = np.argsort(ids)
        return RowsBefore(ids[order], owners[order], values[:, order])

    def of(self, counters: NDArray[np.void]) -> NDArray[np.uint64]:
        """Return (len(VALUES), rows): what each row had counted before its view opened."""
        found = np.zeros((len(VALUES), len(counters)), np.uint64)
        if len(self.ids) and len(counters):
            place = np.searchsorted(self.ids, counters["id"])
            place[place == len(self.ids)] = 0
            same = self.ids[place] == counters["id"]
            found[:, same] = self.values[:, place[same]]
        return found

    def without(self, state: RowState, index: NDArray[np.intp]) -> RowState:
        """Return the rows ``index`` of a state less this, without those that did not move since."""
        counters, before = state.counters[index], self.of(state.counters[index])
        shown = (values_of(counters) != before).any(axis=0) | ~np.isin(counters["id"], self.ids)
        counters, before, index = counters[shown], before[:, shown], index[shown]
        for name, values in zip(VALUES, before, strict=True):
            counters[name] -= values.astype(counters.dtype[name])
        return RowState(
            state.keys[index],
            counters,
            state.slots[index],
            state.deltas[:, index],
            state.last_ns[index],
            state.open[index],
            len(index),
        )

    def unmoved(self, state: RowState) -> NDArray[np.bool_]:
        """Return which of these rows are in a state and have not moved since."""
        index = np.flatnonzero(np.isin(state.counters["id"], self.ids) & (state.slots >= 0))
        counters = state.counters[index]
        same = (values_of(counters) == self.of(counters)).all(axis=0)
        return np.isin(self.ids, counters["id"][same])


@dataclass(frozen=True, slots=True)
class OwnRows:
    """The views at one moment; the arrays are by slot.

    ``before`` has the counters of the processes whose view is ``partial``, when it opened;
    ``flows`` and ``files`` those of their rows.
    """

    shown_to: NDArray[np.uint32]
    since: NDArray[np.uint64]
    partial: NDArray[np.bool_]
    before: dict[int, NDArray[np.uint64]]
    flows: RowsBefore
    files: RowsBefore

    def subtract(self, counters: NDArray[np.uint64], mine: NDArray[np.bool_]) -> NDArray[np.uint64]:
        """Return ``counters`` (len(COUNTERS), slots) as the views of slots ``mine`` have them."""
        begun = np.flatnonzero(mine & self.partial).tolist()
        if not begun:
            return counters
        own = counters.copy()
        for slot in begun:
            own[:, slot] -= self.before[slot]
        return own


class OwnViews:
    """``begin`` a tick, ``tell`` what is known of slots, ``settle`` at its end."""

    def __init__(self, capacity: int) -> None:
        self._views: dict[str, NDArray[Any]] = {
            name: np.zeros(capacity, kind) for name, kind in _VIEW.items()
        }
        self._before: dict[int, NDArray[np.uint64]] = {}
        self._flows, self._files = RowsBefore.none(), RowsBefore.none()
        self._tick = 0
        self._sure = 0  # of processes since this tick, the kernel's first word may be lost

    def resize(self, capacity: int, order: SlotOrder = IN_PLACE) -> None:
        """Make room for ``capacity`` slots: those of ``order``, and free ones."""
        self._views = {name: resized(each, capacity, order) for name, each in self._views.items()}

    def reorder(self, order: NDArray[np.intp], places: NDArray[np.int32]) -> None:
        """Keep what was before the views of slots ``order``; ``places`` are their new numbers."""
        self._before = reordered(self._before, order.tolist())
        self._flows = replace(self._flows, slots=places[self._flows.slots])
        self._files = replace(self._files, slots=places[self._files.slots])

    def begin(self, tick: int) -> None:
        """Start a tick."""
        self._tick = tick

    def add(self, slot: int) -> None:
        """Prepare a free slot for a new process, of which nothing is known."""
        for column in self._views.values():
            column[slot] = 0
        self._views["viewer"][slot] = self._views["shown_to"][slot] = NO_UID

    def uids(self, slots: NDArray[np.int32]) -> NDArray[np.uint32]:
        """Return whose view of each slot is open and shows this tick; NO_UID: nobody's."""
        views = self._views
        shows = views["since"][slots] <= self._tick
        return np.where(shows, views["shown_to"][slots], np.uint32(NO_UID))

    def shown_to(self, slot: int) -> int:
        """Return ``uids`` of one slot."""
        views = self._views
        return int(views["shown_to"][slot]) if views["since"][slot] <= self._tick else NO_UID

    def is_known(self, slot: int) -> bool:
        """Return whether anything has been said about a process."""
        return bool(self._views["known"][slot])

    def is_partial(self, slot: int) -> bool:
        """Return whether the view of a slot began after its process."""
        return bool(self._views["partial"][slot])

    def awaiting(self, slots: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which of ``slots`` may be shown to a user as soon as /proc has confirmed that."""
        views = self._views
        return np.asarray((views["viewer"][slots] != NO_UID) & (views["shown_to"][slots] == NO_UID))

    def contradicts(self, slot: int, word: Word) -> bool:
        """Return whether the view of a slot is open to somebody else than ``word`` allows."""
        return int(self._views["shown_to"][slot]) not in (NO_UID, word.viewer)

    def tell(self, slot: int, word: Word, born: int, *, moved: bool) -> None:
        """Take what is said about a process; a view that it contradicts has been closed.

        ``born`` is the tick in which the slot got it; ``moved``: of the first word, it has
        counted bytes; if ``announced``, before this tick.
        """
        views = self._views
        first, viewer = not views["known"][slot], int(views["viewer"][slot])
        if first or word.announced:
            views["known"][slot] = True
            views["announced"][slot] |= word.announced
        # Root may see everything.
        if word.viewer == 0 or (first and self._is_whole(word, born, moved=moved)):
            views["viewer"][slot] = views["shown_to"][slot] = word.viewer
            views["since"][slot], views["partial"][slot] = born, False
        elif first or viewer != word.viewer:
            if first or word.newest:
                views["viewer"][slot] = word.viewer
            views["doubtful"][slot] = self._tick + word.ahead

    def _is_whole(self, word: Word, born: int, *, moved: bool) -> bool:
        """Return whether the first word about a process is about all of its bytes.

        The kernel's comes with the first byte, at the latest when that was read, if none has been
        lost since before the process.
        """
        return not moved and (born > self._sure or not word.announced)

    def confirm(self, slot: int) -> None:
        """Note that /proc has said in this tick who may see a process, and gave its counters."""
        self._views["confirmed"][slot] = self._tick

    def lose(self, running: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Note that words of the kernel were lost in this tick: also some of the next, perhaps.

        Returns the slots whose views must be closed, until /proc has confirmed them.
        """
        self._sure = self._tick + 1
        return self._doubt(running)

    def unannounced(self, active: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return the slots whose views must be closed since only /proc has spoken for them.

        They are ``active``: they moved bytes that the kernel has not announced, so it is not known
        who did.
        """
        return self._doubt(active & ~self._views["announced"] & ~self._views["partial"])

    def _doubt(self, which: NDArray[np.bool_]) -> NDArray[np.intp]:
        shown_to = self._views["shown_to"]
        slots = np.flatnonzero(
            which & self._views["known"] & (shown_to != NO_UID) & (shown_to != 0)
        )
        self._views["doubtful"][slots] = self._tick
        return slots

    def close(self, slot: int) -> None:
        """End the view of a slot."""
        self._views["shown_to"][slot] = NO_UID
        if self._views["partial"][slot]:
            self._forget(slot)
        self._views["partial"][slot] = False

    def clear(self, slot: int) -> None:
        """Forget the process of a slot."""
        self.close(slot)
        self.add(slot)

    def _forget(self, slot: int) -> None:
        del self._before[slot]
        slots = np.array([slot])
        self._flows = self._flows.replaced(slots, None)
        self._files = self._files.replaced(slots, None)

    def before(self, slot: int) -> NDArray[np.uint64] | np.uint64:
        """Return what the process had counted when its view opened."""
        return self._before.get(slot, np.uint64(0))

    def settle(self, counters: ProcessCounters, flows: RowState, files: RowState) -> None:
        """Open the views of what was confirmed in this tick, and beyond doubt when it was read.

        They show what moves from the next tick on.
        """
        views = self._views
        found = views["known"] & (views["viewer"] != NO_UID) & (views["shown_to"] == NO_UID)
        found &= (views["confirmed"] == self._tick) & (views["doubtful"] <= self._tick)
        slots = np.flatnonzero(found)
        if not len(slots):
            return
        views["shown_to"][slots] = views["viewer"][slots]
        views["since"][slots] = self._tick + 1
        views["partial"][slots] = True
        for slot in slots.tolist():
            self._before[slot] = counters.now(slot)
        self._flows = self._flows.replaced(slots, flows)
        self._files = self._files.replaced(slots, files)

    def freeze(self, high: int) -> OwnRows:
        """Copy everything that a snapshot needs."""
        since = self._views["since"][:high].copy()
        shown_to = self._views["shown_to"][:high]
        return OwnRows(
            shown_to=np.where(since <= self._tick, shown_to, np.uint32(NO_UID)),
            since=since,
            partial=self._views["partial"][:high].copy(),
            before=self._before.copy(),
            flows=self._flows,
            files=self._files,
        )
