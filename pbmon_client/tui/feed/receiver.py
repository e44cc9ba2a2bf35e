"""The thread that receives snapshots and prepares them, so that no key press waits for one."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Final

from pbmon_client.data import model
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
from pbmon_client.tui.feed import prefetch
from pbmon_client.tui.feed.messages import (
    Crashed,
    Failed,
    FeedRequest,
    Mailbox,
    MailboxSource,
    Silent,
)
from pbmon_client.tui.feed.render_priority import RenderPriority
from pbmon_client.tui.session.state import ProcessDetail
from pbmond.wire import WireError

#: Until the first message arrives, the socket is checked this often.
_FIRST_S: Final = 1.0
_JOIN_S: Final = 2.0


class DaemonFeed(MailboxSource):
    """Subscribes to what the screen requests, and puts news into a mailbox."""

    def __init__(
        self, path: str, selection: model.Selection, priority: RenderPriority | None = None
    ) -> None:
        super().__init__()
        self._priority = priority or RenderPriority()
        self._path = path
        self._selection = selection
        self._request = FeedRequest()
        self._requested = Mailbox()  # only its descriptor is used, to wake the thread
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    def request(self, request: FeedRequest) -> None:
        """Change what is subscribed to."""
        if request != self._request:
            self._request = request
            self._requested.wake()

    def close(self) -> None:
        """End the thread, and close the descriptors unless the thread is stuck."""
        self._stopped = True
        self._requested.wake()
        self._thread.join(timeout=_JOIN_S)
        if not self._thread.is_alive():
            self._mailbox.close()
            self._requested.close()

    def _run(self) -> None:
        try:
            receiver = _Receiver(self._path, self._selection, self._mailbox, self._priority)
            receiver.run(self._requested, lambda: None if self._stopped else self._request)
        except SubscriptionError as error:
            self._mailbox.put(Failed(f"{error}; name another with --socket"))
        except Exception as error:  # noqa: BLE001 - raised again where the terminal is restored
            self._mailbox.put(Crashed(error))


class _TopicSnapshots:
    """One subscription, and the stream of its messages."""

    def __init__(
        self, path: str, selection: model.Selection, kind: str, pid: int | None = None
    ) -> None:
        uid = os.geteuid()
        self.pid = pid
        self.subscription = Subscription(path, uid, kind, pid)
        self.stream = Stream(selection, uid)

    def retarget(self, kind: str, pid: int | None = None) -> None:
        """Ask for other snapshots from now on."""
        self.pid = pid
        self.subscription.retarget(kind, pid)
        self.stream.forget()


class _Receiver:
    """The state and the loop of the thread."""

    def __init__(
        self, path: str, selection: model.Selection, mailbox: Mailbox, priority: RenderPriority
    ) -> None:
        self._path = path
        self._mailbox = mailbox
        self._priority = priority
        self._request = FeedRequest()
        self._main = _TopicSnapshots(path, selection, "processes")
        self._detail: _TopicSnapshots | None = None
        # The last two: the older one is freed by this thread, where no key press waits for it.
        self._recent: deque[model.Snapshot] = deque(maxlen=2)
        self._prefetched: Hashable = None  # what was prepared for the newest one
        self._quiet_since = time.monotonic()
        self._patience_s = _FIRST_S

    def run(self, requested: Mailbox, request: Callable[[], FeedRequest | None]) -> None:
        """Receive until there is no request any more."""
        try:
            while True:
                left_s = self._quiet_since + self._patience_s - time.monotonic()
                wait([each.subscription for each in self._topics()], requested.fd, left_s)
                requested.take()
                # Read only now: it may have changed during the wait.
                if (wanted := request()) is None:
                    return
                self._retarget(wanted)
                self._receive()
                self._prefetch()
                if time.monotonic() - self._quiet_since >= self._patience_s:
                    self._on_silence()
        finally:
            for topic in self._topics():
                topic.subscription.close()

    def _topics(self) -> list[_TopicSnapshots]:
        return [self._main] if self._detail is None else [self._main, self._detail]

    def _retarget(self, request: FeedRequest) -> None:
        if request.flows != self._request.flows:
            self._main.retarget("flows" if request.flows else "processes")
        pid = request.pid
        if pid != self._request.pid:
            if pid is not None and self._detail is not None:
                self._detail.retarget("flows", pid)
            elif self._detail is not None:
                self._detail.subscription.close()
                self._detail = None
            elif pid is not None:
                everybody = model.Selection(flows=True)
                self._detail = _TopicSnapshots(self._path, everybody, "flows", pid)
        self._request = request

    def _receive(self) -> None:
        snapshot = self._next(self._main)
        if snapshot is not None:
            ready = prefetch.prepared(snapshot, self._request, self._priority.yield_to_screen)
            self._keep(snapshot)
            self._prefetch()
            self._mailbox.put(ready)
        if self._detail is not None and self._detail.pid is not None:
            snapshot = self._next(self._detail)
            if snapshot is not None:
                self._mailbox.put(ProcessDetail(self._detail.pid, snapshot))

    def _next(self, topic: _TopicSnapshots) -> model.Snapshot | None:
        """Return the snapshot of a topic that is to be shown now, if any."""
        pause = self._priority.yield_to_screen
        pause()
        try:
            message = topic.subscription.receive(0, newest=True, pause=pause)
        except WireError as error:
            self._quiet_since = time.monotonic()
            self._mailbox.put(Silent(wrong_schema_words(error)))
            return None
        except SubscriptionRefused as error:
            self._quiet_since = time.monotonic()
            self._mailbox.put(Silent(str(error)))
            return None
        if message is None:
            return None
        scope = topic.subscription.scope
        snapshot = topic.stream.take(message, scope, self._request.interval_s)
        if topic is self._main:
            self._quiet_since = time.monotonic()
            self._patience_s = topic.stream.patience_s
        return snapshot

    def _keep(self, snapshot: model.Snapshot) -> None:
        if len(self._recent) == self._recent.maxlen:
            old = self._recent[0]
            for rows in (old.processes, old.connections, old.files):
                for _ in () if rows is None else rows.forget():
                    self._priority.yield_to_screen()
        self._recent.append(snapshot)
        self._prefetched = None

    def _prefetch(self) -> None:
        """Prepare what the next key press may need, once per snapshot and relevant request."""
        request = self._request
        if request.query is None or not self._recent or not self._priority.user_active:
            return
        todo = (request.query.hidden, request.query.totals, request.typed)
        if todo != self._prefetched:
            self._prefetched = todo
            pause = self._priority.yield_to_screen
            prefetch.prepare_other_views(self._recent[-1], request.query, pause)
            if request.typed is not None:
                prefetch.prepare_search(self._recent[-1], request.typed, pause)

    def _on_silence(self) -> None:
        self._quiet_since = time.monotonic()
        problem = connect_problem(self._path)
        for topic in self._topics():
            topic.subscription.start_over()
        breaks_off = self._main.subscription.breaks_off
        self._mailbox.put(Silent(silence_words(self._path, problem, breaks_off=breaks_off)))
