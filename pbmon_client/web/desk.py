"""The desk: where rows are arranged, in one worker thread, each query once per snapshot."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from pbmon_client.data.model import Snapshot
from pbmon_client.present.arrange import Arranged, ViewQuery, arrange

Done = TypeVar("Done")
_Task = tuple[Callable[[], Any], Future[Any], object]
#: What was made of the last snapshots is kept for others who ask the same.
_SNAPSHOTS: Final = 2
_RESULTS: Final = 256
#: So much may wait for the thread; more would only wait for each other.
_MOST_WAITING: Final = 200
#: After a task of some length the event loop may run, which otherwise gets Python's lock for a
#: moment at a time only: a tick of thirty pages is a tenth of a second of work.
_BREATH_S: Final = 0.0005


class BusyError(Exception):
    """Too much is asked for at once."""


class WithdrawnError(Exception):
    """The work is not wanted any more, and was not done."""


class Desk:
    """Does work one after another, off the event loop; ``once`` and ``arranged`` are for it."""

    def __init__(self, most_waiting: int = _MOST_WAITING, *, one_clock: bool = True) -> None:
        """``one_clock``: a snapshot with a smaller number is older, and of no more use."""
        self._most_waiting = most_waiting
        self._one_clock = one_clock
        self._pool = ThreadPoolExecutor(1, "desk")
        self._first: deque[_Task] = deque()
        self._then: deque[_Task] = deque()
        self._lock = threading.Lock()  # of taking a task, or withdrawing it
        # The snapshots are kept with the results, so that their ids cannot be reused.
        self._kept: OrderedDict[int, tuple[Snapshot, OrderedDict[Hashable, object]]] = OrderedDict()

    async def do(
        self, work: Callable[[], Done], *, first: bool = False, owner: object = None
    ) -> Done:
        """Do some work when its turn comes; BusyError if too much waits already.

        ``first`` is for what somebody waits for; a tick of many pages may take a tenth of a second.
        WithdrawnError if the ``owner`` withdrew it before its turn came.
        """
        if len(self._first) + len(self._then) >= self._most_waiting:
            raise BusyError
        done: Future[Done] = Future()
        (self._first if first else self._then).append((work, done, owner))
        self._pool.submit(self._next)
        return await asyncio.wrap_future(done)

    def withdraw(self, owner: object) -> None:
        """Do not do what waits for an owner; whoever awaits it goes on at once."""
        with self._lock:
            for _work, done, whose in (*self._first, *self._then):
                if whose is owner and not done.done():
                    done.set_exception(WithdrawnError())

    def _next(self) -> None:
        with self._lock:
            work, done, _owner = (self._first or self._then).popleft()  # one for each call
            if done.done() or not done.set_running_or_notify_cancel():
                return
        began_s = time.monotonic()
        try:
            done.set_result(work())
        except Exception as error:  # noqa: BLE001 - for whoever awaits it
            done.set_exception(error)
        if time.monotonic() - began_s > _BREATH_S:
            time.sleep(_BREATH_S)

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def once(self, snapshot: Snapshot, key: Hashable, make: Callable[[], Done]) -> Done:
        """Return what is made of a snapshot, made only once for each key."""
        if id(snapshot) not in self._kept:
            if self._one_clock:
                self._forget_before(snapshot.message.seq)
            self._kept[id(snapshot)] = (snapshot, OrderedDict())
            while len(self._kept) > _SNAPSHOTS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(id(snapshot))  # of one process's topics, few stay; the main one does
        results = self._kept[id(snapshot)][1]
        if key not in results:
            results[key] = make()
            while len(results) > _RESULTS:
                results.popitem(last=False)
        result: Done = results[key]  # type: ignore[assignment]  # what make() made
        return result

    def _forget_before(self, seq: int) -> None:
        """Free older snapshots now: those of a large host are large."""
        for number, (snapshot, _results) in tuple(self._kept.items()):
            if snapshot.message.seq < seq:
                del self._kept[number]

    def arranged(self, snapshot: Snapshot, query: ViewQuery) -> Arranged | None:
        """Return the rows of a query, which equal queries share."""
        return self.once(snapshot, query, lambda: arrange(snapshot, query))
