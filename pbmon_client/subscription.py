"""The subscription: the daemon's frames, decoded, in the widest scope that it grants."""

from __future__ import annotations

import math
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Self

from pbmon_client.connection import ServerConnection
from pbmond.wire import (
    FRAME_BYTES,
    NOT_YOURS,
    TOO_MANY,
    Message,
    Topic,
    WireError,
    decode,
    refused,
    topic_of,
)

#: Messages in a second that no daemon sends: ten, and what waited while this process was stopped.
_FLOOD: Final = 250
_FLOOD_PAUSE_S: Final = 0.05


class SubscriptionError(Exception):
    """The socket cannot be used at all; the message says why."""


class SubscriptionRefused(Exception):  # noqa: N818 - an answer, not an error
    """The daemon does not grant what was asked for; the message says why and what to do."""


class OutputClosed(Exception):  # noqa: N818 - an end, not an error
    """The reader of the output has gone away."""


class Subscription:
    """Messages of one kind, from ``all`` if the daemon grants it, else from ``uid/UID``.

    The client asks for ``all`` first, and for its own if the daemon refuses that. ``output_fd`` is
    watched for a reader that goes away, ``signal_fd`` (of ``woken_by_signals``) for Ctrl-C.
    """

    def __init__(
        self,
        path: str,
        uid: int,
        kind: str,
        pid: int | None = None,
        output_fd: int | None = None,
        *,
        signal_fd: int | None = None,
    ) -> None:
        self._uid: Final = uid
        self._name_topics(kind, pid)
        self._scope = "all"  # granted, or asked for
        self._output_fd = output_fd
        self._signal_fd = signal_fd
        self._flood = _Flood()
        try:
            self._connection = ServerConnection(path)
        except OSError as error:
            raise SubscriptionError(f"cannot use {path!r} as a socket: {error.strerror}") from None
        self._ask(self._all)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection at once."""
        self._connection.close()

    @property
    def scope(self) -> str:
        """The scope of the messages received: "all" or "own"."""
        return self._scope

    def receive(
        self,
        timeout_s: float | None,
        *,
        newest: bool = False,
        pause: Callable[[], None] = lambda: None,
    ) -> Message | None:
        """Return the next message, or None after ``timeout_s``.

        ``pause`` is passed to decode(); the rest is as of ``receive_frame``.
        """
        frame = self.receive_frame(timeout_s, newest=newest)
        return None if frame is None else decode(frame, pause)[1]

    def receive_frame(self, timeout_s: float | None, *, newest: bool = False) -> memoryview | None:
        """Return the next message as it came, or None after ``timeout_s``.

        ``newest`` skips to the last message that is waiting.
        WireError if the daemon uses another schema, or sends more messages than any daemon does;
        SubscriptionRefused if it grants neither scope;
        OutputClosed if the reader of the output went away meanwhile.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        held: memoryview | None = None
        while (frame := self._frame(deadline)) is not None:
            self._flood.take()
            if (answer := refused(frame)) is not None:
                self._on_refusal(*answer)
            elif self._is_wanted(topic_of(frame)):
                held = frame
                if not newest:
                    break
                deadline = time.monotonic()
        return held

    def _is_wanted(self, topic: bytes) -> bool:
        """Whether a message of that topic is to be shown; others begin alike, or are left over."""
        if topic == self._all and self._scope == "own":  # granted after all
            self._scope = "all"
            self._connection.unsubscribe(self._own)
        return topic == (self._all if self._scope == "all" else self._own)

    def _on_refusal(self, topic: bytes, why: str) -> None:
        if topic not in (self._all, self._own):
            return  # no longer asked for
        self._connection.unsubscribe(topic)
        if topic == self._all and self._scope == "own":
            return  # a second try
        if topic == self._all != self._own and why == NOT_YOURS:
            self._scope = "own"
            self._ask(self._own)
        elif why == TOO_MANY:
            raise SubscriptionRefused(
                "pbmond refuses another viewer: those of this user watch as much as one user may; "
                "end some of them"
            )
        else:
            raise SubscriptionRefused(f"pbmond shows user {self._uid} nothing ({why})")

    def _name_topics(self, kind: str, pid: int | None) -> None:
        self._all = str(Topic(None, kind, pid)).encode()
        # What moved is told of all only.
        uid = None if kind == "moved" else self._uid
        self._own = str(Topic(uid, kind, pid)).encode()

    def retarget(self, kind: str, pid: int | None = None) -> None:
        """Ask for other snapshots from now on; messages of the old topic are dropped."""
        for topic in (self._all, self._own):
            self._connection.unsubscribe(topic)
        self._name_topics(kind, pid)
        self._ask(self._all if self._scope == "all" else self._own)

    def start_over(self) -> None:
        """Ask for the widest scope again: a restarted daemon may grant another one."""
        self._connection.again()
        self._ask(self._all)

    def _ask(self, topic: bytes) -> None:
        # Even if it is asked for: the daemon answers each time.
        self._connection.unsubscribe(topic)
        self._connection.subscribe(topic)

    @property
    def breaks_off(self) -> bool:
        """Whether the connection has broken off since the last message."""
        return self._connection.broke_off

    def join(self, poller: select.poll) -> float:
        """Register with a poller, which then wakes when there is something to receive.

        Return after how many seconds ``receive`` is due although it did not wake.
        """
        if self._connection.fd is not None:
            poller.register(self._connection.fd, select.POLLIN)
        return self._connection.wait_s

    def _frame(self, deadline: float | None) -> memoryview | None:
        while True:
            self._wait(deadline)
            if (frame := self._connection.take()) is not None:
                return frame
            if deadline is not None and time.monotonic() >= deadline:
                self._flood.over()
                return None

    def _wait(self, deadline: float | None) -> None:
        poller = select.poll()
        left_s = math.inf if deadline is None else deadline - time.monotonic()
        left_s = min(left_s, self.join(poller))
        if self._output_fd is not None:
            poller.register(self._output_fd, 0)  # errors are always reported
        if self._signal_fd is not None:
            poller.register(self._signal_fd, select.POLLIN)
        ready = dict(poller.poll(_milliseconds(left_s)))
        if self._signal_fd is not None and self._signal_fd in ready:
            os.read(self._signal_fd, 64)
        if self._output_fd in ready:
            raise OutputClosed


class _Flood:
    """Notices a server that sends without a pause, and then reads slowly until it has one."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._count = 0
        self._on = False

    def take(self) -> None:
        """Count a message; WireError in a flood, after a pause that leaves others the processor."""
        now_s = time.monotonic()
        if now_s - self._began_s >= 1:
            self._began_s, self._count = now_s, 0
        self._count += 1
        self._on = self._on or self._count > _FLOOD
        if self._on:
            time.sleep(_FLOOD_PAUSE_S)
            raise WireError(f"it sends more than {_FLOOD} messages a second")

    def over(self) -> None:
        """Nothing waits any more."""
        self._on = False


@contextmanager
def woken_by_signals() -> Iterator[int]:
    """Yield a descriptor that becomes readable when a signal comes.

    Without it a signal that arrives just before the wait goes unnoticed until something else does.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)


def wait(subscriptions: Iterable[Subscription], wake_fd: int, timeout_s: float) -> None:
    """Wait until one of them has something to receive or a descriptor can be read."""
    poller = select.poll()
    poller.register(wake_fd, select.POLLIN)
    dues_s = [each.join(poller) for each in subscriptions]
    poller.poll(_milliseconds(min([timeout_s, *dues_s])))


def _milliseconds(seconds: float) -> int | None:
    """Return a time to wait as poll() wants it: None for ever."""
    return None if math.isinf(seconds) else math.ceil(max(0.0, seconds) * 1000)


def silence_words(path: str, problem: OSError | None, *, breaks_off: bool = False) -> str:
    """Say why nothing arrives, given ``connect_problem`` and a subscription's ``breaks_off``."""
    if problem is None and breaks_off:
        return (
            f"the connection to {path} broke off: what listens there does not speak this "
            f"language, or sends more than {FRAME_BYTES >> 20} MiB at once"
        )
    if problem is None:
        return f"pbmond is silent (on {path})"
    if isinstance(problem, FileNotFoundError):
        return f"pbmond is not running (there is no socket {path})"
    if isinstance(problem, ConnectionRefusedError):
        return f"pbmond is not running (nobody listens on {path})"
    return f"cannot connect to {path} ({problem.strerror or problem})"


def wrong_schema_words(error: WireError) -> str:
    """Say that the daemon's messages cannot be read."""
    return (
        f"pbmond uses another version of the protocol, or it is not pbmond ({error}); "
        "install the same version of both and restart pbmond"
    )


def connect_problem(path: str) -> OSError | None:
    """Try to connect once; return the error, or None if a daemon is listening."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except OSError as error:
            return error
    return None
