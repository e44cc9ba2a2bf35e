"""What the routes are served from: the feed, the past, a desk for each, and seats."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from starlette.responses import Response

from pbmon_client.data.model import Snapshot
from pbmon_client.data.text import safe_text
from pbmon_client.history.errors import PastError
from pbmon_client.web.desk import BusyError, Desk
from pbmon_client.web.feed import FeedDemand, SnapshotFeed
from pbmon_client.web.past import PastReader, When
from pbmon_client.web.pauses import Pauses
from pbmon_client.web.problems import ProblemError

#: Pages and streams that are open at a time.
MOST_SEATS: Final = 100
#: How long a request waits for a snapshot that nobody wanted until now.
_PATIENCE_S: Final = 5.0
Worked = TypeVar("Worked")


class House:
    """The parts that all routes share, for as long as the server runs."""

    def __init__(self, feed: SnapshotFeed, history: Path | None = None) -> None:
        """``history`` is where the past is read from; None is the host's own."""
        self.feed: Final = feed
        self.desk: Final = Desk()
        self.past: Final = PastReader(history)
        self.pauses: Final = Pauses()
        self._seats = 0

    @contextmanager
    def seat(self) -> Iterator[bool]:
        """Take a seat for a page or a stream; False if there is none."""
        free = self._seats < MOST_SEATS
        self._seats += free
        try:
            yield free
        finally:
            self._seats -= free

    async def do(
        self, work: Callable[[], Worked], desk: Desk | None = None, *, first: bool = False
    ) -> Worked:
        """Do some work at a desk; ProblemError 503 if too much waits there.

        ``first`` is for little work, which otherwise waits for a tick of all pages.
        """
        try:
            return await (desk or self.desk).do(work, first=first)
        except BusyError:
            raise _too_many() from None

    async def json(self, work: Callable[[], str], desk: Desk | None = None) -> Response:
        """Answer with JSON that is written at a desk."""
        body = await self.do(lambda: work().encode(), desk)
        return Response(body, media_type="application/json")

    async def shown(self, when: When | None, *, flows: bool = False) -> tuple[Snapshot, Desk]:
        """Return the newest snapshot, or one of the past, and the desk for it."""
        if when is None:
            return await self.snapshot(flows=flows), self.desk
        return await self.of_past(self.past.snapshot(when, flows=flows)), self.past.desk

    async def of_past(self, answer: Awaitable[Worked]) -> Worked:
        """Return what the past says; ProblemError 503 where there is none."""
        try:
            return await answer
        except PastError as error:
            raise ProblemError(503, safe_text(str(error))) from None
        except BusyError:
            raise _too_many() from None

    async def snapshot(self, *, flows: bool = False) -> Snapshot:
        """Return the newest snapshot; ProblemError 503 while no daemon answers."""
        feed = self.feed

        def ready() -> bool:
            newest = feed.newest
            return newest is not None and not (flows and newest.connections is None)

        await self._wait(FeedDemand(flows=flows), ready)
        if feed.newest is None:
            raise ProblemError(503, "no snapshot has arrived yet")
        return feed.newest

    async def process(self, pid: int) -> Snapshot:
        """Return the newest snapshot of a process's own topic; ProblemError 503 without one."""
        feed = self.feed
        await self._wait(FeedDemand(pid=pid), lambda: pid in feed.processes)
        return feed.processes[pid]

    async def _wait(self, demand: FeedDemand, ready: Callable[[], bool]) -> None:
        feed = self.feed
        feed.want(demand)
        try:
            arrived = await feed.has(lambda: feed.silence is not None or ready(), _PATIENCE_S)
        finally:
            feed.unwant(demand)
        if feed.silence is not None:
            raise ProblemError(503, feed.silence.words)
        if not arrived:
            raise ProblemError(503, "pbmond has not sent this yet")


def _too_many() -> ProblemError:
    return ProblemError(503, "too many requests at once")
