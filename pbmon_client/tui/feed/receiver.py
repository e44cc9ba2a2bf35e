"""The thread that receives, decodes and times snapshots, so that no key press waits for one."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from pbmon_client.data import model, rates
from pbmon_client.data.columns import UserName
from pbmon_client.data.users import user_name
from pbmon_client.present.arrange import Arranged, Wish, arrange
from pbmon_client.subscription import Subscription, SubscriptionError, connect_problem, wait
from pbmon_client.tui.feed import prefetch
from pbmon_client.tui.feed.curves import Planes, planes_of
from pbmon_client.tui.feed.render_priority import Turn
from pbmond.wire import Message, WireError

MAIN: Final = "main"
DETAIL: Final = "detail"
#: Silence is worth a look after this many of the daemon's intervals and these seconds more.
_SILENT_INTERVALS: Final = 3
_SILENT_S: Final = 1.0
_FIRST_S: Final = 1.0
#: A screen need not wait long for the wider scope: it shows that as soon as it comes.
_SETTLE_S: Final = 0.05
_JOIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Came:
    """A snapshot, for the whole (MAIN) or of one process (DETAIL).

    ``rows`` are those of ``wish``, arranged while nobody waited for them.
    """

    part: str
    snapshot: model.View
    wish: Wish | None = None
    rows: Arranged | None = None
    planes: Planes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing comes; ``words`` say why, ``path`` is the socket that was tried."""

    words: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing will ever come."""

    words: str


@dataclass(frozen=True, slots=True)
class Crashed:
    """The thread met a mistake of the program; whoever owns the terminal raises it."""

    error: Exception


News = Came | Silent | Failed | Crashed


@dataclass(frozen=True, slots=True)
class Want:
    """What is needed: all connections and files or not, and one process's flows."""

    flows: bool = False
    pid: int | None = None
    interval_s: float | None = None
    wish: Wish | None = None  # what is on the screen
    typed: frozenset[str] | None = None  # the fields named in a filter while it is typed


def narrowing(selection: model.Selection) -> model.Selection:
    """Return the part of a selection that chooses processes; views do the rest themselves."""
    return model.Selection(
        pids=selection.pids, uids=selection.uids, names=selection.names, flows=True
    )


class Source(Protocol):
    """Where snapshots come from: the daemon, or a recorded stream."""

    @property
    def fd(self) -> int:
        """The descriptor that becomes readable when there are news."""

    def news(self) -> list[News]:
        """Take the news."""

    def want(self, want: Want) -> None:
        """Say what is needed from now on."""

    def wake(self) -> None:
        """Make ``fd`` readable; may be called from any thread."""

    def close(self) -> None:
        """End it."""


class Mailbox:
    """Hands the newest news of each kind to another thread, which sees ``fd`` become readable."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._news: dict[str, News] = {}
        self._closed = False
        self.fd, self._wake = os.pipe()
        for fd in (self.fd, self._wake):
            os.set_blocking(fd, False)

    def put(self, news: News) -> None:
        """Leave news as the last of all; what is still there of its kind is dropped."""
        kind = news.part if isinstance(news, Came) else ""
        with self._lock:
            self._news.pop(kind, None)  # the order of news is the order in which it came
            self._news[kind] = news
        self.wake()

    def wake(self) -> None:
        """Make ``fd`` readable; does nothing once the mailbox is closed."""
        with self._lock, suppress(BlockingIOError):
            if not self._closed:
                os.write(self._wake, b"!")

    def take(self) -> list[News]:
        """Take what is there, oldest first."""
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


def prepared(
    part: str,
    snapshot: model.View,
    want: Want,
    give_way: Callable[[], None] = lambda: None,
) -> Came:
    """Do for a snapshot what a screen with these rows will need of it."""
    wish = want.wish
    if part != MAIN or wish is None:
        return Came(part, snapshot)
    prefetch.work(snapshot, wish, want.typed, give_way)
    rows = arrange(snapshot, wish)
    return Came(part, snapshot, wish, rows, planes_of(snapshot, wish.view, give_way))


class Stream:
    """Turns messages into snapshots at the interval of display."""

    def __init__(self, selection: model.Selection, uid: int, user: UserName = user_name) -> None:
        self._selection = selection
        self._uid = uid
        self._user = user
        self._scope = ""
        self._last: Message | None = None
        self._shown: Message | None = None

    @property
    def last(self) -> Message | None:
        """The last message that came."""
        return self._last

    def take(self, message: Message, scope: str, interval_s: float | None) -> model.View | None:
        """Return the snapshot to show now, if any."""
        if scope != self._scope:  # the wider one came after all, with the same number
            self.forget()
            self._scope = scope
        if not rates.newer(message, self._last):
            return None
        self._last = message
        if interval_s is not None:
            if not rates.due(message, self._shown, round(interval_s * 1e9)):
                return None
            timed = rates.over(message, self._shown, scope)
        else:
            timed = message
        self._shown = message
        return model.view(timed, self._selection, self._uid, scope, self._user)

    def forget(self) -> None:
        """Begin anew, with other tables."""
        self._last = self._shown = None


class Feed:
    """Subscribes to what is wanted, and leaves news in a mailbox."""

    def __init__(self, path: str, selection: model.Selection, turn: Turn | None = None) -> None:
        self.mailbox: Final = Mailbox()
        self._turn = turn or Turn()
        self._path = path
        self._selection = narrowing(selection)
        self._want = Want()
        self._orders = Mailbox()  # only its descriptor is used, to wake the thread
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    @property
    def fd(self) -> int:
        """The descriptor that becomes readable when there are news."""
        return self.mailbox.fd

    def news(self) -> list[News]:
        """Take the news."""
        return self.mailbox.take()

    def wake(self) -> None:
        """Make ``fd`` readable; may be called from any thread."""
        self.mailbox.wake()

    def want(self, want: Want) -> None:
        """Change what is subscribed to."""
        if want != self._want:
            self._want = want
            self._orders.wake()

    def close(self) -> None:
        """End the thread, and close the descriptors unless the thread is stuck."""
        self._stopped = True
        self._orders.wake()
        self._thread.join(timeout=_JOIN_S)
        if not self._thread.is_alive():
            self.mailbox.close()
            self._orders.close()

    def _run(self) -> None:
        uid = os.geteuid()
        try:
            with Subscription(self._path, uid, "processes", settle_s=_SETTLE_S) as main:
                receiver = _Receiver(self._path, main, self._selection, self.mailbox, self._turn)
                receiver.run(self._orders, lambda: None if self._stopped else self._want)
        except SubscriptionError as error:
            self.mailbox.put(Failed(f"{error}; name another with --socket"))
        except Exception as error:  # noqa: BLE001 - raised again where the terminal is restored
            self.mailbox.put(Crashed(error))


class _Receiver:
    """The thread's own state."""

    def __init__(
        self,
        path: str,
        main: Subscription,
        selection: model.Selection,
        mailbox: Mailbox,
        turn: Turn,
    ) -> None:
        self._turn = turn
        self._path = path
        self._uid = uid = os.geteuid()
        self._mailbox = mailbox
        self._have = Want()
        # The last two: the older one is freed here, not where a key press would wait for it.
        self._shown: deque[model.View] = deque(maxlen=2)
        self._ahead: Hashable = None  # what was made ahead for the last one
        self._parts: dict[str, Subscription] = {MAIN: main}
        whole = model.Selection(flows=True)
        self._streams = {MAIN: Stream(selection, uid), DETAIL: Stream(whole, uid)}
        self._quiet_since = time.monotonic()
        self._patience_s = _FIRST_S

    def run(self, orders: Mailbox, want: Callable[[], Want | None]) -> None:
        """Receive until nothing is wanted any more."""
        try:
            while True:
                left = self._quiet_since + self._patience_s - time.monotonic()
                wait(self._parts.values(), orders.fd, left)
                orders.take()
                # Only now: what is wanted may have changed during the wait.
                if (wanted := want()) is None:
                    return
                self._retarget(wanted)
                self._receive()
                self._work_ahead()
                if time.monotonic() - self._quiet_since >= self._patience_s:
                    self._on_silence()
        finally:
            if DETAIL in self._parts:
                self._parts[DETAIL].close()

    def _retarget(self, want: Want) -> None:
        if want.flows != self._have.flows:
            self._parts[MAIN].retarget("flows" if want.flows else "processes")
            self._streams[MAIN].forget()
        if want.pid != self._have.pid:
            self._streams[DETAIL].forget()
            if want.pid is None:
                self._parts.pop(DETAIL).close()
            elif DETAIL in self._parts:
                self._parts[DETAIL].retarget("flows", want.pid)
            else:
                self._parts[DETAIL] = Subscription(
                    self._path, self._uid, "flows", want.pid, settle_s=_SETTLE_S
                )
        self._have = want

    def _receive(self) -> None:
        for part, subscription in self._parts.items():
            self._turn.give_way()
            try:
                message = subscription.receive(0, newest=True, pause=self._turn.give_way)
            except WireError as error:
                self._quiet_since = time.monotonic()
                self._mailbox.put(
                    Silent(
                        f"pbmond does not speak this client's language ({error}); "
                        "install the same version of both and restart pbmond"
                    )
                )
                continue
            if message is None:
                continue
            if part == MAIN:
                self._quiet_since = time.monotonic()
                self._patience_s = (
                    _SILENT_S + _SILENT_INTERVALS * (message.interval_ns or 10**9) / 1e9
                )
            snapshot = self._streams[part].take(message, subscription.scope, self._have.interval_s)
            if snapshot is not None:
                came = prepared(part, snapshot, self._have, self._turn.give_way)
                if part == MAIN:
                    self._keep(snapshot)
                    self._work_ahead()
                self._mailbox.put(came)

    def _keep(self, snapshot: model.View) -> None:
        if len(self._shown) == self._shown.maxlen:
            old = self._shown[0]
            for rows in (old.processes, old.connections, old.files):
                for _ in () if rows is None else rows.forget():
                    self._turn.give_way()
        self._shown.append(snapshot)
        self._ahead = None

    def _work_ahead(self) -> None:
        """Make what the next key press may ask for, once for each thing that is wanted."""
        have = self._have
        if have.wish is None or not self._shown or not self._turn.awake:
            return
        todo = (have.wish.hidden, have.wish.totals, have.typed)
        if todo != self._ahead:
            self._ahead = todo
            prefetch.look(self._shown[-1], have.wish, self._turn.give_way)
            if have.typed is not None:
                prefetch.find(self._shown[-1], have.typed, self._turn.give_way)

    def _on_silence(self) -> None:
        self._quiet_since = time.monotonic()
        problem = connect_problem(self._path)
        for subscription in self._parts.values():
            subscription.start_over()
        self._mailbox.put(Silent(silence_words(self._path, problem)))


def silence_words(path: str, problem: OSError | None) -> str:
    """Say why nothing comes."""
    if problem is None:
        return f"pbmond is silent (on {path})"
    if isinstance(problem, FileNotFoundError):
        return f"pbmond is not running (there is no socket {path})"
    if isinstance(problem, ConnectionRefusedError):
        return f"pbmond is not running (nobody listens on {path})"
    return f"cannot connect to {path} ({problem.strerror or problem})"
