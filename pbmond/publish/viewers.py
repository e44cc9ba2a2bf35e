"""All viewers: lets them in, hears what they ask for, and sends them what they were granted.

Each call does a bounded amount of work and never waits. An error of one viewer ends that viewer's
connection. Times are CLOCK_MONOTONIC ns.
"""

from __future__ import annotations

import errno
import mmap
import select
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import takewhile
from typing import Final

from pbmond.publish.admission import IN_ALL, FullError, Peers
from pbmond.publish.complaints import Complaints
from pbmond.publish.grants import Grants, Refusal
from pbmond.publish.membership import Membership
from pbmond.publish.peers import Holding, Outgoing, Peer, uid_of
from pbmond.publish.zmtp import (
    GREETING,
    READY,
    Greeted,
    PeerEvent,
    Ping,
    ProtocolError,
    Ready,
    SubscriptionChange,
    error,
    pong,
)
from pbmond.wire import Topic, parse_topic, refusal, topic_of

#: Frames that some viewer has not read yet may take so much. Beyond that, the connections end that
#: have been in the middle of a message for longest: their viewers do not read.
HELD_BYTES: Final = 96 << 20
HANDSHAKE_NS: Final = 5_000_000_000
#: How long a user's first viewer waits for the directory service, before it counts as a stranger.
MEMBERSHIP_NS: Final = 2_000_000_000
#: A viewer with this many refusals is disconnected.
REFUSALS: Final = 100

# The work of one call.
_ACCEPTED: Final = 128
_SERVED: Final = 64

_PAUSE_NS: Final = 100_000_000  # without accepting, once descriptors or memory have run out
_ABORTED: Final = (errno.ECONNABORTED, errno.EINTR, errno.EPROTO)


class Viewers:
    """The viewers' side of the publisher. ``changed``: a grant was given or taken back."""

    def __init__(
        self,
        listening: socket.socket,
        membership: Membership,
        complaints: Complaints,
        places: int = IN_ALL,
        account: Callable[[int], int] = lambda uid: uid,
    ) -> None:
        """``account``: as whose a uid is counted."""
        listening.settimeout(0)
        self.grants = Grants(membership, account)
        self.changed = False
        self._listening = listening
        self._membership = membership
        self._complaints = complaints
        self._peers = Peers(places, account)
        self._epoll = select.epoll()
        self._holding = Holding()
        self._shaking: dict[int, int] = {}  # descriptor -> when the handshake must be complete
        self._unknown: dict[int, int] = {}  # descriptor -> when its look-up has taken too long
        self._accept_ns = 0  # nobody is let in before that

    @property
    def fd(self) -> int:
        """Readable when ``serve`` has something to do."""
        return self._epoll.fileno()

    def door(self, now_ns: int) -> int | None:
        """Return what is readable when ``accept`` has something to do; None: not now."""
        return self._listening.fileno() if now_ns >= self._accept_ns else None

    def due_ns(self, now_ns: int) -> list[int]:
        """Return when ``expire`` is due, and when the door opens again."""
        firsts = [next(iter(times.values())) for times in (self._shaking, self._unknown) if times]
        return [*firsts, self._accept_ns] if self._accept_ns > now_ns else firsts

    def accept(self, now_ns: int) -> None:
        """Let in some of those who wait at the door."""
        for _ in range(_ACCEPTED):
            try:
                sock, _ = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as problem:
                if problem.errno not in _ABORTED:
                    self._complaints.add(None, f"nobody can be let in: {problem.strerror}")
                    self._accept_ns = now_ns + _PAUSE_NS
                    return
                continue
            try:
                self._admit(sock, now_ns)
            except OSError:  # it is gone already, or epoll lacks memory
                sock.close()

    def serve(self, now_ns: int) -> None:
        """Give some of the connections that are ready one turn each."""
        for fd, mask in self._epoll.poll(0, _SERVED):
            peer = self._peers.get(fd)
            if peer is not None:  # else it was ended meanwhile
                self._turn(peer, mask, now_ns)

    def publish(self, mapped: mmap.mmap, now_ns: int) -> None:
        """Send a frame to all who were granted its topic."""
        body = memoryview(mapped)
        key = topic_of(body)
        frame = Outgoing.message(body, self._holding)
        for fd in self.grants.holders(parse_topic(key)):
            self._send(fd, key, frame, now_ns)
        del frame  # it counts only as long as somebody has not read it
        self._shed()

    def hear(self) -> None:
        """Take the answers about users that have come; their viewers are heard from now on."""
        self._membership.take()
        for fd in tuple(self._unknown):
            peer = self._peers.get(fd)
            if peer is not None and self._membership.ask(peer.uid) is not None:
                self._listen_to(peer)

    def expire(self, now_ns: int) -> None:
        """End handshakes that take too long, and waits for the directory service."""
        for peer in self._late(self._shaking, now_ns):
            self._end(peer, "no handshake")
        for peer in self._late(self._unknown, now_ns):
            self._listen_to(peer)

    def close(self) -> None:
        """End all connections."""
        for peer in tuple(self._peers):
            self._end(peer, None)
        self._epoll.close()

    def _admit(self, sock: socket.socket, now_ns: int) -> None:
        """Make a viewer of a new connection, or close it. Raises OSError if it is gone."""
        uid = uid_of(sock)
        known = self._membership.ask(uid)
        shares = self._peers.shares(trusted=bool(known))
        try:
            while (victim := self._peers.victim(uid, shares)) is not None:
                self._end(victim, "ended for newer ones")
        except FullError as full:
            self._complaints.add(uid, str(full))
            sock.close()
            return
        peer = Peer(sock, uid, shares)
        self._epoll.register(peer.fd, 0)
        self._peers.add(peer)
        self._shaking[peer.fd] = now_ns + HANDSHAKE_NS
        peer.put(b"greeting", self._small(GREETING))
        if known is None:
            self._unknown[peer.fd] = now_ns + MEMBERSHIP_NS
        else:
            peer.heard = True
        self._turn(peer, 0, now_ns)

    def _late(self, due: dict[int, int], now_ns: int) -> list[Peer]:
        """Return the connections whose time, in a dict that is ordered by time, is over."""
        late = list(takewhile(lambda item: item[1] <= now_ns, due.items()))
        return [peer for fd, _ in late if (peer := self._peers.get(fd)) is not None]

    def _listen_to(self, peer: Peer) -> None:
        del self._unknown[peer.fd]
        peer.heard = True
        self._watch(peer)

    def _turn(self, peer: Peer, mask: int, now_ns: int) -> None:
        try:
            if mask & select.EPOLLIN:
                events = peer.receive()
                if events is None:
                    self._end(peer, None)
                    return
                self._hear_events(peer, events, now_ns)
            elif mask & (select.EPOLLHUP | select.EPOLLERR):
                self._end(peer, None)
                return
            peer.flush(now_ns)
            self._watch(peer)
        except ProtocolError as problem:
            self._refuse_handshake(peer, str(problem))
            self._end(peer, str(problem))
        except OSError:
            self._end(peer, None)
        except Exception as bug:  # noqa: BLE001 - it must cost nobody but this viewer
            self._end(peer, f"an error of ours: {type(bug).__name__}")

    def _hear_events(self, peer: Peer, events: Iterable[PeerEvent], now_ns: int) -> None:
        for event in events:
            if isinstance(event, SubscriptionChange):
                self._subscription(peer, event, now_ns)
            elif isinstance(event, Greeted):
                peer.put(b"ready", self._small(READY))
            elif isinstance(event, Ready):
                self._shaking.pop(peer.fd, None)
            elif isinstance(event, Ping):
                peer.put(b"pong", self._small(pong(event.context)))

    def _subscription(self, peer: Peer, wish: SubscriptionChange, now_ns: int) -> None:
        answer = (self.grants.subscribe(wish.text, peer.uid, peer.fd) if wish.on
                  else self.grants.unsubscribe(wish.text, peer.fd))  # fmt: skip
        if isinstance(answer, Topic):
            self.changed = True
            if not wish.on:
                peer.forget(wish.text)
        elif answer is not None:
            self._refuse(peer, answer)
        for fd, withdrawal in self.grants.withdrawn():
            other = self._peers.get(fd)
            if other is not None and withdrawal.topic is not None:
                other.forget(str(withdrawal.topic).encode())
                self._send(fd, *self._told(withdrawal.topic, withdrawal.why), now_ns)

    def _refuse(self, peer: Peer, answer: Refusal) -> None:
        """Tell a viewer, and nobody else, that it does not get what it asked for last."""
        peer.refusals += 1
        if peer.refusals >= REFUSALS:
            raise ProtocolError("asked without end for what it may not see")
        if answer.topic is not None:
            peer.put(*self._told(answer.topic, answer.why))

    def _told(self, topic: Topic, why: str) -> tuple[bytes, Outgoing]:
        told = refusal(topic, why)
        return topic_of(told), Outgoing.message(memoryview(told), self._holding)

    def _refuse_handshake(self, peer: Peer, why: str) -> None:
        if not peer.ready:
            peer.put(b"error", self._small(error(why)))
            with suppress(OSError):  # it is ended anyhow
                peer.flush(0)

    def _small(self, data: bytes) -> Outgoing:
        return Outgoing(data, memoryview(b""), self._holding)

    def _send(self, fd: int, key: bytes, frame: Outgoing, now_ns: int) -> None:
        peer = self._peers.get(fd)
        if peer is not None:
            peer.put(key, frame)
            self._turn(peer, 0, now_ns)

    def _watch(self, peer: Peer) -> None:
        interest = peer.interest
        if interest != peer.watched:
            self._epoll.modify(peer.fd, interest)
            peer.watched = interest

    def _shed(self) -> None:
        while self._holding.held_bytes > HELD_BYTES:
            stuck = [peer for peer in self._peers if peer.flight_since_ns is not None]
            if not stuck:
                return
            self._end(min(stuck, key=lambda peer: peer.flight_since_ns or 0), "does not read")

    def _end(self, peer: Peer, why: str | None) -> None:
        """End a connection; ``why`` if the log should know."""
        if why is not None:
            self._complaints.add(peer.uid, why)
        self.grants.leave(peer.fd)
        self.changed = True
        self._shaking.pop(peer.fd, None)
        self._unknown.pop(peer.fd, None)
        self._peers.remove(peer)
        self._epoll.unregister(peer.fd)
        peer.close()
