"""The thread that receives: subscriptions, decoded into snapshots, and silence in words."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pbmon_client.data.model import Selection, Snapshot
from pbmon_client.data.stream import Stream
from pbmon_client.subscription import (
    Subscription,
    SubscriptionError,
    SubscriptionRefused,
    connect_problem,
    silence_words,
    wait,
    wrong_schema_words,
)
from pbmond.wire import WireError

#: Until the first message arrives, the socket is checked this often.
_FIRST_S: Final = 1.0
_JOIN_S: Final = 2.0
_EVERYTHING: Final = Selection(flows=True)


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """What to subscribe to: all connections and files or not, and the topics of processes."""

    flows: bool = False
    pids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Silence:
    """No daemon answers; ``since_ms`` is Unix time."""

    since_ms: int
    words: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """A snapshot: of the main topic, or of one process's."""

    pid: int | None
    snapshot: Snapshot


FeedNews = Arrived | Silence


class _TopicStream:
    """One subscription, and the stream of its messages."""

    def __init__(self, path: str, kind: str, pid: int | None = None) -> None:
        uid = os.geteuid()
        self.pid: Final = pid
        self.subscription: Final = Subscription(path, uid, kind, pid)
        self.stream: Final = Stream(_EVERYTHING, uid)

    def next(self) -> Snapshot | None:
        """Return the newest snapshot that waits, if there is one."""
        message = self.subscription.receive(0, newest=True)
        if message is None:
            return None
        return self.stream.take(message, self.subscription.scope, None)


class SnapshotReceiver:
    """Receives in a thread of its own; ``publish`` is called there with all news."""

    def __init__(self, path: str, publish: Callable[[FeedNews], object]) -> None:
        self._path = path
        self._publish = publish
        self._wanted = Subscriptions()
        self._stopped = False
        self._wake_fd, self._waker_fd = os.pipe()
        for fd in (self._wake_fd, self._waker_fd):
            os.set_blocking(fd, False)
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._flows = False
        self._processes: dict[int, _TopicStream] = {}
        self._heard_s = time.monotonic()
        self._heard_ms = round(time.time() * 1000)
        self._patience_s = _FIRST_S

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def want(self, demands: Subscriptions) -> None:
        """Change what is subscribed to; from any thread."""
        if demands != self._wanted:
            self._wanted = demands
            self._wake()

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._wake()
        self._thread.join(_JOIN_S)

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._waker_fd, b"!")

    def _run(self) -> None:
        try:
            main = _TopicStream(self._path, "processes")
        except SubscriptionError as error:
            self._publish(Silence(self._heard_ms, str(error)))
            return
        try:
            while not self._stopped:
                self._step(main)
        finally:
            for topic in (main, *self._processes.values()):
                topic.subscription.close()

    def _step(self, main: _TopicStream) -> None:
        topics = [main, *self._processes.values()]
        left_s = self._heard_s + self._patience_s - time.monotonic()
        wait([each.subscription for each in topics], self._wake_fd, left_s)
        with suppress(BlockingIOError):
            os.read(self._wake_fd, 4096)
        self._subscribe(main, self._wanted)
        for topic in [main, *self._processes.values()]:
            self._receive(topic)
        if time.monotonic() - self._heard_s >= self._patience_s:
            self._on_silence([main, *self._processes.values()])

    def _subscribe(self, main: _TopicStream, wanted: Subscriptions) -> None:
        if wanted.flows != self._flows:
            self._flows = wanted.flows
            main.subscription.retarget("flows" if wanted.flows else "processes")
            main.stream.forget()
        for pid in self._processes.keys() - wanted.pids:
            self._processes.pop(pid).subscription.close()
        for pid in wanted.pids - self._processes.keys():
            self._processes[pid] = _TopicStream(self._path, "flows", pid)

    def _receive(self, topic: _TopicStream) -> None:
        try:
            snapshot = topic.next()
        except WireError as error:
            self._on_words(wrong_schema_words(error))
            return
        except SubscriptionRefused as error:
            if topic.pid is None:
                self._on_words(str(error))
            return
        if snapshot is None:
            return
        if topic.pid is None:
            self._heard_s, self._heard_ms = time.monotonic(), round(time.time() * 1000)
            self._patience_s = topic.stream.patience_s
        self._publish(Arrived(topic.pid, snapshot))

    def _on_words(self, words: str) -> None:
        self._heard_s = time.monotonic()  # not silent, but no use either
        self._publish(Silence(self._heard_ms, words))

    def _on_silence(self, topics: list[_TopicStream]) -> None:
        self._heard_s = time.monotonic()
        breaks_off = topics[0].subscription.breaks_off
        problem = connect_problem(self._path)
        words = silence_words(self._path, problem, breaks_off=breaks_off)
        for topic in topics:
            topic.subscription.start_over()
        self._publish(Silence(self._heard_ms, words))
