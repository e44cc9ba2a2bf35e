"""The subscription: the daemon's frames (zmq), decoded, in the widest scope that it grants."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from math import ceil
from typing import Final, Self

import zmq

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

_QUEUE: Final = 4  # messages; a viewer that falls behind needs only the newest
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
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._output_fd = output_fd
        self._signal_fd = signal_fd
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        if output_fd is not None:
            self._poller.register(output_fd, zmq.POLLERR)
        if signal_fd is not None:
            self._poller.register(signal_fd, zmq.POLLIN)
        self._watch: zmq.Socket[bytes] = self._socket.get_monitor_socket(
            zmq.EVENT_DISCONNECTED
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
        )
        self._broke_off = False
        self._flood = _Flood()
        self._socket.setsockopt(zmq.LINGER, 0)
        # libzmq ends the connection before it takes memory for a larger message.
        self._socket.setsockopt(zmq.MAXMSGSIZE, FRAME_BYTES)
        self._socket.setsockopt(zmq.RCVHWM, _QUEUE)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        self._ask(self._all)
        self._endpoint = os.fsencode(f"ipc://{path}")
        try:
            # pyzmq accepts bytes, although its types say otherwise; a path need not be UTF-8.
            self._socket.connect(self._endpoint)  # type: ignore[arg-type]
        except zmq.ZMQError as error:
            self.close()
            raise SubscriptionError(
                f"cannot use {path!r} as a socket: {os.strerror(error.errno or 0)}"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection at once."""
        self._socket.disable_monitor()
        self._watch.close(0)
        self._socket.close()
        self._context.term()

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
            self._broke_off = False
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
            self._socket.unsubscribe(self._own)
        return topic == (self._all if self._scope == "all" else self._own)

    def _on_refusal(self, topic: bytes, why: str) -> None:
        if topic not in (self._all, self._own):
            return  # no longer asked for
        self._socket.unsubscribe(topic)
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
            self._socket.unsubscribe(topic)
        self._name_topics(kind, pid)
        self._ask(self._all if self._scope == "all" else self._own)

    def start_over(self) -> None:
        """Ask for the widest scope again: a restarted daemon may grant another one."""
        if self.breaks_off:
            # libzmq does not try again where a server did not keep to the protocol.
            with suppress(zmq.ZMQError):
                self._socket.disconnect(self._endpoint)
            self._socket.connect(self._endpoint)  # type: ignore[arg-type]
        self._ask(self._all)

    def _ask(self, topic: bytes) -> None:
        # Once each: libzmq counts subscriptions, and only the last unsubscription counts.
        self._socket.unsubscribe(topic)
        self._socket.subscribe(topic)

    @property
    def breaks_off(self) -> bool:
        """Whether the connection has broken off since the last message."""
        while self._watch.poll(0):
            self._watch.recv_multipart()
            self._broke_off = True
        return self._broke_off

    def join(self, poller: zmq.Poller) -> None:
        """Register with a poller, which then wakes when there is something to receive."""
        poller.register(self._socket, zmq.POLLIN)

    def _frame(self, deadline: float | None) -> memoryview | None:
        while True:
            left = None if deadline is None else ceil(max(0.0, deadline - time.monotonic()) * 1000)
            ready = dict(self._poller.poll(left))
            if self._signal_fd not in ready:
                break
            os.read(self._signal_fd, 64)  # type: ignore[arg-type]  # what is ready is not None
        if self._output_fd in ready:
            raise OutputClosed
        if self._socket not in ready:
            self._flood.over()
            return None
        # Without a copy: copying the frame of a large host would block every Python thread.
        frame = self._socket.recv(copy=False)
        if frame.more:
            raise WireError("a message of several parts")
        return frame.buffer


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

    Without it a signal may go unnoticed until something else arrives: when a thread of libzmq
    takes it (those threads block signals, but not from their very start), or when it arrives
    just before the wait.
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
    poller = zmq.Poller()
    poller.register(wake_fd, zmq.POLLIN)
    for subscription in subscriptions:
        subscription.join(poller)
    poller.poll(ceil(max(0.0, timeout_s) * 1000))


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
