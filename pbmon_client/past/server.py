"""The server of the past: one loop that takes queries, has them computed, and sends replies.

A connection has one query. Slow and hostile peers cost only themselves: what one user and what all
strangers together may have at a time is bounded, and so is the time that each step takes.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from pbmon_client.history.queries import LENGTH, QUERY_BYTES
from pbmon_client.history.replies import pack_refusal
from pbmon_client.past.budget import QueryBudget, QueryOutcome, RunningQuery, start

_CREDENTIALS: Final = struct.Struct("3i")
_TICK_S: Final = 0.5
_ACCEPTED: Final = 32  # at a time
_PIECE: Final = 1 << 20


class QueryAnswers(Protocol):
    """Computes replies."""

    def prepare(self) -> None:
        """Do in the server what a query's child would have to do otherwise."""

    def answer(self, uid: int, query: bytes) -> tuple[QueryOutcome, bytes]:
        """Return the reply to a user's query; called in a child."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Connections and queries at a time, in all and per user; strangers have half of all.

    A query counts until its answer is sent.
    """

    connections: int = 128
    connections_per_user: int = 16
    queries: int = 8
    queries_per_user: int = 2
    receive_s: float = 10.0
    send_s: float = 30.0


@dataclass(slots=True, eq=False)
class _Asker:
    """A connection: it sends its query, waits, has it computed, and is sent the reply."""

    sock: socket.socket
    uid: int
    deadline: float | None
    received: bytearray = field(default_factory=bytearray)
    query: bytes | None = None
    running: RunningQuery | None = None
    reply: int | None = None
    sent: int = 0
    gone: bool = False


class HistoryServer:
    """Serves who connects to a socket, until an exception, such as SystemExit of a handler."""

    def __init__(
        self,
        listener: socket.socket,
        answers: QueryAnswers,
        limits: ServerLimits | None = None,
        budget: QueryBudget | None = None,
    ) -> None:
        self._listener = listener
        self._answers = answers
        self._limits = ServerLimits() if limits is None else limits
        self._budget = QueryBudget() if budget is None else budget
        self._selector = selectors.DefaultSelector()
        #: In the order in which they came.
        self._askers: dict[_Asker, None] = {}
        #: Who saw all when they last asked; all others are strangers.
        self._known = {0, os.getuid()}

    def run(self) -> None:
        """Serve. Queries that still run at the end are killed."""
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        try:
            while True:
                for key, _events in self._selector.select(_TICK_S if self._askers else None):
                    key.data()
                self._expire()
                self._start_queries()
        finally:
            for each in self._askers:
                if each.running is not None:
                    each.running.kill()

    # --- connections ------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(_ACCEPTED):
            try:
                sock, _address = self._listener.accept()
            except OSError:  # nobody, or gone again
                return
            sock.settimeout(0)
            said = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            uid = _CREDENTIALS.unpack(said)[1] % (1 << 32)
            if self._is_full(uid):
                _refuse(sock, "too many connections: try again later")
                continue
            asker = _Asker(sock, uid, time.monotonic() + self._limits.receive_s)
            self._askers[asker] = None
            self._selector.register(sock, selectors.EVENT_READ, lambda each=asker: self._read(each))

    def _is_full(self, uid: int) -> bool:
        theirs = Counter(each.uid for each in self._askers)
        if theirs[uid] >= self._limits.connections_per_user:
            return True
        return self._has_no_room(theirs, uid, self._limits.connections)

    def _has_no_room(self, theirs: Counter[int], uid: int, most: int) -> bool:
        strangers = sum(count for each, count in theirs.items() if each not in self._known)
        return theirs.total() >= most or (uid not in self._known and strangers >= most // 2)

    def _read(self, asker: _Asker) -> None:
        if asker.gone:
            return
        try:
            data = asker.sock.recv(LENGTH.size + QUERY_BYTES + 1)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        # After its query, a peer has nothing to say; that it closes means that it does not wait.
        if not data or asker.query is not None:
            self._drop(asker)
            return
        asker.received += data
        if len(asker.received) < LENGTH.size:
            return
        (size,) = LENGTH.unpack_from(asker.received)
        left = LENGTH.size + size - len(asker.received)
        if size > QUERY_BYTES or left < 0:
            self._reply(asker, pack_refusal("not a query: it is too long"))
        elif not left:
            asker.query = bytes(asker.received[LENGTH.size :])
            asker.deadline = None

    def _drop(self, asker: _Asker) -> None:
        """Close a connection; a query that runs keeps its place until it has ended."""
        if not asker.gone:
            self._selector.unregister(asker.sock)
            asker.sock.close()
            asker.gone = True
        if asker.running is not None:
            asker.running.kill()
            return
        if asker.reply is not None:
            os.close(asker.reply)
        self._askers.pop(asker, None)

    def _expire(self) -> None:
        now = time.monotonic()
        for each in [*self._askers]:
            if each.deadline is not None and now > each.deadline and not each.gone:
                self._drop(each)

    # --- queries ----------------------------------------------------------------------------------

    def _start_queries(self) -> None:
        """Start those that have a place: first of users with the fewest, then in their order."""
        busy = Counter(
            each.uid for each in self._askers if each.running is not None or each.reply is not None
        )
        waiting = [
            each
            for each in self._askers
            if each.query is not None and each.running is None and each.reply is None
        ]
        while waiting:
            asker = min(waiting, key=lambda each: busy[each.uid])
            waiting.remove(asker)
            if busy[asker.uid] >= self._limits.queries_per_user:
                return
            if not self._has_no_room(busy, asker.uid, self._limits.queries):
                self._start(asker)
                busy[asker.uid] += 1

    def _start(self, asker: _Asker) -> None:
        uid, query = asker.uid, asker.query or b""
        self._answers.prepare()
        try:
            asker.running = start(lambda: self._answers.answer(uid, query), self._budget)
        except OSError:
            self._reply(asker, pack_refusal("the server is too busy: try again later"))
            return
        self._selector.register(
            asker.running.pidfd, selectors.EVENT_READ, lambda: self._computed(asker)
        )

    def _computed(self, asker: _Asker) -> None:
        running = asker.running
        if running is None:
            return
        self._selector.unregister(running.pidfd)
        outcome = running.ended()
        asker.running = None
        if asker.gone:
            os.close(running.answer)
            self._drop(asker)
        elif outcome in (QueryOutcome.ALL, QueryOutcome.OWN):
            (self._known.add if outcome is QueryOutcome.ALL else self._known.discard)(asker.uid)
            self._send_later(asker, running.answer)
        else:
            os.close(running.answer)
            why = "that took too long: ask for a shorter range"
            if outcome is QueryOutcome.FAILED:
                why = "the server failed at that question"
            self._reply(asker, pack_refusal(why))

    # --- replies ----------------------------------------------------------------------------------

    def _reply(self, asker: _Asker, reply: bytes) -> None:
        """Send a short reply if there is room for it at once, and close."""
        with suppress(OSError):  # it does not read
            asker.sock.send(reply)
        self._drop(asker)

    def _send_later(self, asker: _Asker, reply: int) -> None:
        asker.reply = reply
        asker.deadline = time.monotonic() + self._limits.send_s
        self._selector.modify(asker.sock, selectors.EVENT_WRITE, lambda: self._send(asker))

    def _send(self, asker: _Asker) -> None:
        if asker.gone or asker.reply is None:
            return
        try:
            sent = os.sendfile(asker.sock.fileno(), asker.reply, asker.sent, _PIECE)
        except BlockingIOError:
            return
        except OSError:
            sent = 0
        asker.sent += sent
        if not sent:  # all of it, or the peer is gone
            self._drop(asker)


def _refuse(sock: socket.socket, why: str) -> None:
    with suppress(OSError):
        sock.send(pack_refusal(why))
    sock.close()
