"""The feed: the newest snapshots of what is wanted, and whether the daemon answers.

Its thread subscribes and decodes; everything else here belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pbmon_client.data.model import Snapshot
from pbmon_client.web.receiver import FeedNews, Silence, SnapshotReceiver, Subscriptions

#: A topic stays subscribed to for a while after it was wanted last.
_LINGER_S: Final = 5.0
#: So many processes have topics of their own at a time.
MOST_PROCESSES: Final = 24


@dataclass(frozen=True, slots=True)
class FeedDemand:
    """What somebody needs: connections and files of all processes, or the topic of one."""

    flows: bool = False
    pid: int | None = None


class SnapshotFeed:
    """Holds the newest snapshots. ``newest`` has connections and files while those are wanted."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._demands: Counter[FeedDemand] = Counter()
        self._listeners: dict[object, Callable[[], None]] = {}
        self._receiver: SnapshotReceiver | None = None
        self.newest: Snapshot | None = None
        self.processes: dict[int, Snapshot] = {}
        self.silence: Silence | None = None

    def start(self) -> None:
        """Begin to receive, within a running event loop."""
        loop = asyncio.get_running_loop()
        self._receiver = SnapshotReceiver(
            self._path, lambda news: loop.call_soon_threadsafe(self.take, news)
        )
        self._receiver.start()

    def stop(self) -> None:
        """End the thread."""
        if self._receiver is not None:
            self._receiver.stop()

    def take(self, news: FeedNews) -> None:
        """Keep what arrived, and tell everybody who listens."""
        if isinstance(news, Silence):
            self.silence = news
        elif news.pid is None:
            self.newest = news.snapshot
            self.silence = None
        elif news.pid in self._wanted().pids:
            self.processes[news.pid] = news.snapshot
        for tell in tuple(self._listeners.values()):
            tell()

    @contextmanager
    def listening(self, tell: Callable[[], None]) -> Iterator[None]:
        """Call ``tell`` whenever something arrived."""
        mark = object()
        self._listeners[mark] = tell
        try:
            yield
        finally:
            del self._listeners[mark]

    def want(self, demand: FeedDemand) -> None:
        """Say that something is needed from now on."""
        self._demands[demand] += 1
        self._on_demand()

    def unwant(self, demand: FeedDemand) -> None:
        """Say that it is needed no more; it goes on for a while, as somebody may return."""
        asyncio.get_running_loop().call_later(_LINGER_S, self._forget, demand)

    def _forget(self, demand: FeedDemand) -> None:
        self._demands[demand] -= 1
        if self._demands[demand] <= 0:
            del self._demands[demand]
        self._on_demand()

    def _wanted(self) -> Subscriptions:
        pids = dict.fromkeys(each.pid for each in self._demands if each.pid is not None)
        return Subscriptions(
            flows=any(each.flows for each in self._demands),
            pids=frozenset(list(pids)[-MOST_PROCESSES:]),  # the newest
        )

    def _on_demand(self) -> None:
        wanted = self._wanted()
        for pid in self.processes.keys() - wanted.pids:
            del self.processes[pid]
        if self._receiver is not None:
            self._receiver.want(wanted)

    async def has(self, ready: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until something is there; False after ``timeout_s`` without it."""
        changed = asyncio.Event()
        with self.listening(changed.set):
            deadline = time.monotonic() + timeout_s
            while not ready():
                changed.clear()
                left_s = deadline - time.monotonic()
                try:
                    await asyncio.wait_for(changed.wait(), max(0.0, left_s))
                except TimeoutError:
                    return ready()
        return True
