"""The messages between the interface and the thread that prepares its snapshots."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from pbmon_client.data.model import Snapshot
from pbmon_client.present.arrange import Arranged, ViewQuery
from pbmon_client.tui.session.curves import CurvePoints
from pbmon_client.tui.session.past import PastCurves, PastRequest, PastShown, Timeline
from pbmon_client.tui.session.state import ProcessDetail


@dataclass(frozen=True, slots=True)
class FeedRequest:
    """What the screen needs: all connections and files or not, and those of one process.

    ``typed`` are the fields named in a filter while it is being typed.
    """

    flows: bool = False
    pid: int | None = None
    interval_s: float | None = None
    query: ViewQuery | None = None
    typed: frozenset[str] | None = None
    past: PastRequest | None = None


@dataclass(frozen=True, slots=True)
class SnapshotReady:
    """A snapshot, and the rows of ``query`` in it, arranged in advance."""

    snapshot: Snapshot
    query: ViewQuery | None = None
    rows: Arranged | None = None
    points: CurvePoints = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing arrives; ``words`` say why."""

    words: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing will ever arrive; ``words`` say why."""

    words: str


@dataclass(frozen=True, slots=True)
class Crashed:
    """The thread failed by a programming error, which the owner of the terminal raises."""

    error: Exception


@dataclass(frozen=True, slots=True)
class PastReady:
    """What moved at the time asked for, or, if ``moved``, at the nearest one that is kept."""

    request: PastRequest
    shown: PastShown
    query: ViewQuery | None
    rows: Arranged | None
    moved: bool


@dataclass(frozen=True, slots=True)
class TimelineReady:
    """The timeline asked for."""

    timeline: Timeline


@dataclass(frozen=True, slots=True)
class PastCurvesReady:
    """The curves around the cursor."""

    curves: PastCurves


@dataclass(frozen=True, slots=True)
class PastFailed:
    """The past cannot be read; ``words`` say why."""

    words: str


PastNews = PastReady | TimelineReady | PastCurvesReady | PastFailed
News = SnapshotReady | ProcessDetail | Silent | Failed | Crashed | PastNews


class SnapshotSource(Protocol):
    """Where snapshots come from: the daemon, or a recorded stream."""

    @property
    def fd(self) -> int:
        """The descriptor that becomes readable when there is news."""

    def news(self) -> list[News]:
        """Take the news, oldest first."""

    def request(self, request: FeedRequest) -> None:
        """Say what is needed from now on."""

    def wake(self) -> None:
        """Make ``fd`` readable; may be called from any thread."""

    def close(self) -> None:
        """End it."""


class Mailbox:
    """Passes the newest item of each kind of news to another thread; wakes it through ``fd``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._news: dict[str, News] = {}
        self._closed = False
        self.fd, self._wake = os.pipe()
        for fd in (self.fd, self._wake):
            os.set_blocking(fd, False)

    def put(self, news: News) -> None:
        """Add news as the newest; replaces an older item of the same kind."""
        with self._lock:
            kind = _kind(news)
            self._news.pop(kind, None)  # news is taken in the order of its arrival
            self._news[kind] = news
        self.wake()

    def wake(self) -> None:
        """Make ``fd`` readable; does nothing once the mailbox is closed."""
        with self._lock, suppress(BlockingIOError):
            if not self._closed:
                os.write(self._wake, b"!")

    def take(self) -> list[News]:
        """Take all news, oldest first."""
        with suppress(BlockingIOError):
            os.read(self.fd, 4096)
        with self._lock:
            news, self._news = list(self._news.values()), {}
        return news

    def close(self) -> None:
        """Close the descriptors; no other thread may read from ``fd`` any more."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self.fd)
                os.close(self._wake)


class MailboxSource:
    """The part of a SnapshotSource that the interface's thread uses: the end of a mailbox."""

    def __init__(self) -> None:
        self._mailbox: Final = Mailbox()

    @property
    def fd(self) -> int:
        """The descriptor that becomes readable when there is news."""
        return self._mailbox.fd

    def news(self) -> list[News]:
        """Take the news, oldest first."""
        return self._mailbox.take()

    def wake(self) -> None:
        """Make ``fd`` readable; may be called from any thread."""
        self._mailbox.wake()


def _kind(news: News) -> str:
    if isinstance(news, SnapshotReady):
        return "snapshot"
    return "detail" if isinstance(news, ProcessDetail) else "state"
