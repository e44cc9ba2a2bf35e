"""Starts the publisher process, feeds it, and replaces it when it ends or hangs."""

from __future__ import annotations

import logging
import select
import socket
from typing import Final, Protocol

from pbmond.patience import patient
from pbmond.publish.channel import (
    BEAT,
    CANNOT_BECOME,
    MAX_TOPICS,
    READY,
    RECORD,
    Demand,
    FeedError,
    FrameError,
    pair,
    send_frame,
    unpack_demand,
)

#: The least time between two starts, in case the publisher keeps ending at once.
RESTART_EVERY_NS: Final = 500_000_000
#: A publisher that says nothing, or does not accept a waiting frame, for this long is replaced.
HUNG_NS: Final = 10_000_000_000

#: A publisher says at most half of this in a second, whatever viewers do (give up all topics and
#: ask for as many others). One that says more is not what was started, and would keep us busy.
RECORDS_PER_S: Final = 4 * MAX_TOPICS
_SECOND_NS: Final = 1_000_000_000

#: So many publishers in a row may end before they serve, until the daemon gives up.
ATTEMPTS: Final = 10
#: What goes wrong again and again is logged once in this time.
_LOG_EVERY_NS: Final = 60_000_000_000


class PublisherError(Exception):
    """No publisher has ever served, and none will; the message is one line."""


class Process(Protocol):
    """What the supervisor needs of a child; pbmond.children.starter.ForkedProcess has it."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""

    def kill(self) -> None:
        """Send SIGKILL."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end."""


class Spawn(Protocol):
    """Starts a publisher that serves the frames from ``feed``."""

    def __call__(self, feed: socket.socket) -> Process:
        """Return the new process; raises OSError."""


class Supervisor:
    """The collector's side of the feed. Nothing in it blocks. Times are CLOCK_MONOTONIC ns.

    A publisher that ends is replaced for ever, once one has served. Until then, ``ensure`` and
    ``receive`` raise PublisherError when it is clear that none will.
    """

    def __init__(self, spawn: Spawn, log: logging.Logger) -> None:
        self._spawn = spawn
        self._log = log
        self._process: Process | None = None
        self._sock: socket.socket | None = None
        self._started_ns = -RESTART_EVERY_NS
        self._stuck_since_ns: int | None = None
        self._heard_ns = 0  # when it was known to be alive
        self._heard = False  # since then
        self._said = 0  # records in the second that began then:
        self._second_ns = 0
        self._dropping = False  # the newest frame was dropped, and the log says so
        self._served = False  # a publisher has served since the daemon's start
        self._failures = 0  # of starts, until then
        self._now_ns = 0
        self._said_ns = -_LOG_EVERY_NS
        self._unsaid = 0  # complaints since then

    @property
    def fd(self) -> int | None:
        """The descriptor to poll, or None while no publisher runs."""
        return self._sock.fileno() if self._sock else None

    @property
    def pid(self) -> int | None:
        """The publisher's process id, or None while none runs."""
        return self._process.pid if self._process else None

    def ensure(self, now_ns: int) -> bool:
        """Start a publisher if none runs, but not too often. Returns True if one started.

        One that has been silent for too long is ended first.
        """
        self._now_ns = now_ns
        self._check_alive(now_ns)
        if now_ns - self._second_ns >= _SECOND_NS:
            self._said, self._second_ns = 0, now_ns
        if self._process is not None or now_ns - self._started_ns < RESTART_EVERY_NS:
            return False
        self._started_ns = now_ns
        try:
            ours, theirs = pair()
            with theirs:
                try:
                    self._process = self._spawn(theirs)
                except OSError:
                    ours.close()
                    raise
        except OSError as error:
            self._failed(f"cannot be started: {error.strerror or error}")
            self._complain(f"the publisher cannot be started: {error.strerror or error}")
            return False
        self._sock = ours
        self._stuck_since_ns = None
        self._heard_ns = now_ns
        self._heard = False
        self._said, self._second_ns = 0, now_ns
        self._dropping = False
        self._log.debug("publisher started as pid %d", self._process.pid)
        return True

    def _check_alive(self, now_ns: int) -> None:
        if self._sock is None:
            return
        if self._heard:
            self._heard, self._heard_ns = False, now_ns
        elif now_ns - self._heard_ns > patient(HUNG_NS) and not _ready(self._sock, select.POLLIN):
            # If something waits, it is this process that has not listened.
            self._end("is replaced: it gives no sign of life")

    def receive(self) -> list[Demand]:
        """Return the waiting demands. Afterwards ``fd`` is None if the publisher is gone."""
        demands: list[Demand] = []
        for _ in range(MAX_TOPICS):
            if self._sock is None:
                break
            try:
                record = self._sock.recv(RECORD.size + 1)
                if not record:
                    self._end("ended")
                    break
                if record not in (READY, BEAT):
                    demands.append(unpack_demand(record))
                self._said += 1
                if self._said > RECORDS_PER_S:
                    raise FeedError("it says more than viewers can make it say")
                self._served = self._heard = True
            except BlockingIOError:
                break
            except (FeedError, OSError) as error:
                self._end(f"is replaced: {error}")
        return demands

    def has_room(self, now_ns: int) -> bool:
        """Return whether the publisher can accept a frame now. One that hangs is killed."""
        if self._sock is None:
            return False
        if _ready(self._sock, select.POLLOUT):
            self._stuck_since_ns = None
            return True
        if self._stuck_since_ns is None:
            self._stuck_since_ns = now_ns
        elif now_ns - self._stuck_since_ns > patient(HUNG_NS):
            self._end("is replaced: it accepts no frames")
        return False

    def send(self, frame: bytes) -> bool:
        """Send a frame. Returns False if there is no room for it, or no publisher.

        If this process lacks memory or a descriptor, the frame is dropped: the publisher is fine,
        and the next snapshot replaces the frame.
        """
        if self._sock is None:
            return False
        try:
            sent = send_frame(self._sock, frame)
            self._dropping = False
            return sent
        except FrameError as error:
            if not self._dropping:
                self._log.warning("snapshots are dropped: no memory file: %s", error.strerror)
            self._dropping = True
            return True
        except OSError as error:
            self._end(f"is replaced: {error}")
            return False

    def close(self) -> None:
        """End the publisher."""
        self._end(None)

    def _end(self, why: str | None) -> None:
        if self._sock is not None:
            self._sock.close()
        process, self._sock, self._process = self._process, None, None
        if process is None:
            return
        status = process.poll()
        if status is None:
            process.kill()
            status = process.wait()
        if why is None:
            return
        if status == CANNOT_BECOME:
            why = "cannot become its user: it needs CAP_SETUID and CAP_SETGID"
            self._failures = ATTEMPTS  # another one could not do so either
        self._failed(f"{why} (status {status})")
        self._complain(f"publisher {process.pid} {why} (status {status})")

    def _failed(self, how: str) -> None:
        self._failures += 1
        if not self._served and self._failures >= ATTEMPTS:
            raise PublisherError(f"the publisher {how}")

    def _complain(self, text: str) -> None:
        """Log the first of many complaints, and how many more came in the next minute."""
        if self._now_ns - self._said_ns < _LOG_EVERY_NS:
            self._unsaid += 1
            return
        more = f"; and {self._unsaid} more times before" if self._unsaid else ""
        self._log.warning("%s%s", text, more)
        self._said_ns, self._unsaid = self._now_ns, 0


def _ready(sock: socket.socket, what: int) -> bool:
    poll = select.poll()
    poll.register(sock, what)
    return bool(poll.poll(0))
