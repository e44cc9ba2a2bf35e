"""The publisher process: owns the ZeroMQ socket, decides who gets what, holds no privilege.

Anybody on the host may connect to it, so it is expendable: whatever goes wrong ends it, and the
collector starts another at once. It imports neither numpy nor the rest of the daemon.
Run as ``python -m pbmond.publisher FEED_FD LISTEN_FD UID GID GROUP``.
"""

from __future__ import annotations

import grp
import os
import pwd
import resource
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Final

import zmq

from pbmond.feed import FeedError, pack_demand, receive_frame
from pbmond.grants import Connection, Grants
from pbmond.privileges import become

#: Bounds on what viewers can cost. A frame of 100,000 flows and as many files has about 30 MB.
MEMORY_BYTES: Final = 512 << 20
DESCRIPTORS: Final = 4096
SUBSCRIPTION_BYTES: Final = 256
QUEUED_FRAMES: Final = 4
HANDSHAKE_MS: Final = 3000

#: How often vanished connections are looked for, memberships read anew, and demands sent.
_SWEEP_NS: Final = 1_000_000_000
_MEMBERSHIP_NS: Final = 10_000_000_000
_FLUSH_NS: Final = 20_000_000
_BATCH: Final = 1000

_SO_PEERCRED: Final = struct.Struct("=iII")  # struct ucred: pid, uid, gid


class HostilePeer(Exception):  # noqa: N818 - what it is, not an error of ours
    """A peer did what no viewer does, and libzmq's state can no longer be trusted."""


class Membership:
    """Says whether a user sees all processes: root, or a member of the access group."""

    def __init__(self, group: str, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._group = group
        self._now_ns = now_ns
        self._known: dict[int, tuple[int, bool]] = {}

    def __call__(self, uid: int) -> bool:
        """Return what the user and group databases say, read anew every ten seconds."""
        if uid == 0:
            return True
        now = self._now_ns()
        at, answer = self._known.get(uid, (now - _MEMBERSHIP_NS, False))
        if now - at >= _MEMBERSHIP_NS:
            answer = self._look_up(uid)
            self._known[uid] = (now, answer)
        return answer

    def _look_up(self, uid: int) -> bool:
        try:
            gid = grp.getgrnam(self._group).gr_gid
            user = pwd.getpwuid(uid)
            return gid in os.getgrouplist(user.pw_name, user.pw_gid)
        except (KeyError, OSError):
            return False


def peer_of(frame: zmq.Frame) -> tuple[int, Connection] | None:
    """Return uid and connection of a subscription's sender; None if they are not beyond doubt.

    libzmq's Peer-Address holds the kernel's credentials, but where it has none it takes one from
    the peer's own handshake; so they are read once more from the connection itself.
    """
    try:
        _, uid, _, pid = str(frame.get("Peer-Address")).rsplit(":", 3)
        fd = frame.get(zmq.SRCFD)
        inode = os.fstat(fd).st_ino
        borrowed = socket.socket(fileno=fd)
        try:
            found = borrowed.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _SO_PEERCRED.size)
        finally:
            borrowed.detach()
        if _SO_PEERCRED.unpack(found)[:2] != (int(pid), int(uid)):
            return None
        return int(uid), (fd, inode)
    except (zmq.ZMQError, OSError, ValueError, TypeError):
        return None


def _alive(connection: Connection) -> bool:
    fd, inode = connection
    try:
        return os.fstat(fd).st_ino == inode
    except OSError:
        return False


class Publisher:
    """Moves frames from the feed to viewers, and demands from viewers to the feed."""

    def __init__(self, xpub: zmq.Socket[bytes], feed: socket.socket, grants: Grants) -> None:
        self._xpub = xpub
        self._feed = feed
        self._grants = grants
        self._next_sweep_ns = 0
        self._next_flush_ns = 0
        self._unsaid = False

    def run(self) -> None:
        """Serve until the collector closes its end; raises HostilePeer and ZMQError."""
        poller = zmq.Poller()
        poller.register(self._xpub, zmq.POLLIN)
        poller.register(self._feed.fileno(), zmq.POLLIN)
        while True:
            ready = dict(poller.poll(self._timeout_ms(time.monotonic_ns())))
            if self._xpub in ready:
                self._subscriptions()
            if self._feed.fileno() in ready and not self._frames():
                return
            self._housekeeping(time.monotonic_ns())

    def _timeout_ms(self, now_ns: int) -> int | None:
        if not self._grants:
            return None
        due = min(self._next_sweep_ns, self._next_flush_ns) if self._unsaid else self._next_sweep_ns
        return max(0, -(-(due - now_ns) // 1_000_000))

    def _subscriptions(self) -> None:
        for _ in range(_BATCH):
            try:
                frame = self._xpub.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._subscription(frame)

    def _subscription(self, frame: zmq.Frame) -> None:
        verb, text = frame.bytes[:1], frame.bytes[1:]
        peer = peer_of(frame)
        if verb not in (b"\0", b"\1"):
            # Such a message makes libzmq hand the next grant to another peer than the one that
            # asked: it takes a place in the queue of messages but none in the queue of senders.
            user = "unknown" if peer is None else peer[0]
            raise HostilePeer(f"user {user} sent what is no subscription")
        if peer is None:  # also: libzmq's own word for a peer that vanished; the sweep finds it
            return
        uid, connection = peer
        if verb == b"\1":
            topic, option = self._grants.subscribe(text, uid, connection), zmq.SUBSCRIBE
        else:
            topic, option = self._grants.unsubscribe(text, connection), zmq.UNSUBSCRIBE
        if topic is not None:
            # With the NUL that ends a topic on the wire, or all/flows would match all/flows/1 too.
            self._xpub.setsockopt(option, str(topic).encode() + b"\0")
            self._unsaid = True

    def _frames(self) -> bool:
        """Publish what waits; False when the collector is gone."""
        for _ in range(_BATCH):
            try:
                frame = receive_frame(self._feed)
            except BlockingIOError:
                return True
            except FeedError:
                continue
            if frame is None:
                return False
            with frame:
                self._xpub.send(frame, zmq.NOBLOCK)
        return True

    def _housekeeping(self, now_ns: int) -> None:
        if now_ns >= self._next_sweep_ns:
            self._grants.sweep(_alive)
            self._next_sweep_ns = now_ns + _SWEEP_NS
            self._unsaid = True
        if self._unsaid and now_ns >= self._next_flush_ns:
            for demand in self._grants.demands():
                self._feed.send(pack_demand(demand))  # blocks, which the collector never does
            self._next_flush_ns = now_ns + _FLUSH_NS
            self._unsaid = False


def open_socket(context: zmq.Context[zmq.Socket[bytes]], listening: int) -> zmq.Socket[bytes]:
    """Return the XPUB socket over descriptor ``listening``, which libzmq owns from now on."""
    borrowed = socket.socket(fileno=listening)
    endpoint = f"ipc://{borrowed.getsockname()}"
    borrowed.detach()
    xpub = context.socket(zmq.XPUB)
    for option, value in (
        (zmq.XPUB_MANUAL, 1),
        (zmq.SNDHWM, QUEUED_FRAMES),
        (zmq.MAXMSGSIZE, SUBSCRIPTION_BYTES),
        (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
        (zmq.LINGER, 0),
        (zmq.USE_FD, listening),
    ):
        xpub.setsockopt(option, value)
    xpub.bind(endpoint)
    return xpub


def _limit() -> None:
    for what, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_NOFILE, DESCRIPTORS),
    ):
        _, hard = resource.getrlimit(what)
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (limit, limit))


def main(arguments: list[str]) -> int:
    """Run the process until the collector goes away (0) or something goes wrong (1)."""
    feed_fd, listen_fd, uid, gid = map(int, arguments[:4])
    _limit()
    become(uid, gid)
    xpub = open_socket(zmq.Context(), listen_fd)
    try:
        Publisher(xpub, socket.socket(fileno=feed_fd), Grants(Membership(arguments[4]))).run()
    except (BrokenPipeError, ConnectionResetError):
        return 0  # the collector closed its end while a demand was on its way
    except Exception as error:  # noqa: BLE001 - whatever it is, the answer is a fresh process
        sys.stderr.write(f"pbmond: publisher: {error or type(error).__name__}\n")
        return 1
    return 0


if __name__ == "__main__":
    # Without a last word to libzmq, which would wait for its threads and they for a peer.
    os._exit(main(sys.argv[1:]))
