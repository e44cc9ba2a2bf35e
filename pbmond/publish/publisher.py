"""The publisher process: owns the ZeroMQ socket, decides who gets what, has no privileges.

Anybody on the host may connect to it, so it is expendable: any error ends it, and the collector
starts a new one at once. It imports neither numpy nor the rest of the daemon.
Run as ``python -m pbmond.publish.publisher FEED_FD LISTEN_FD UID GID GROUP``.
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
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import zmq

from pbmond.publish.channel import (
    CANNOT_BECOME,
    READY,
    FeedError,
    pack_demand,
    receive_frame,
)
from pbmond.publish.grants import Connection, Grants, Refusal
from pbmond.system.privileges import become, limit_resources
from pbmond.wire import Topic, refusal

#: The name that ps and pbmon show, instead of the interpreter's. The kernel keeps 15 bytes.
NAME: Final = b"pbmond-publish"

#: Limits on what viewers can cost. A frame with 100,000 flows and 100,000 files is about 30 MB.
MEMORY_BYTES: Final = 512 << 20
DESCRIPTORS: Final = 65_536
_LIMITS: Final = {
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_AS: MEMORY_BYTES,
    resource.RLIMIT_NOFILE: DESCRIPTORS,
}
SUBSCRIPTION_BYTES: Final = 256
QUEUED_FRAMES: Final = 4
QUEUED_SUBSCRIPTIONS: Final = 100
HANDSHAKE_MS: Final = 2000
#: libzmq stores every subscription, even refused ones, so a viewer with this many refusals is
#: disconnected.
REFUSALS: Final = 100

#: How often to look for closed connections, reread memberships, and send demands.
_SWEEP_NS: Final = 1_000_000_000
_MEMBERSHIP_NS: Final = 10_000_000_000
_FLUSH_NS: Final = 20_000_000
_BATCH: Final = 1000

_SO_PEERCRED: Final = struct.Struct("=iII")  # struct ucred: pid, uid, gid


class SenderUnknownError(Exception):
    """A hostile peer made libzmq lose track of who sent a subscription.

    The publisher must restart, so that all viewers subscribe again.
    """


class Membership:
    """Decides whether a user sees all processes: root, or a member of the access group."""

    def __init__(self, group: str, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._group = group
        self._now_ns = now_ns
        self._known: dict[int, tuple[int, bool]] = {}

    def __call__(self, uid: int) -> bool:
        """Return what the user and group databases say. They are reread every ten seconds."""
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
    """Return uid and connection of a subscription's sender, or None if they are not certain.

    libzmq's Peer-Address has the kernel's credentials. If there are none, libzmq takes the value
    from the peer's own handshake. So the credentials are read again from the connection.
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


def _hang_up(connection: Connection) -> None:
    """End a connection. To libzmq it looks as if the peer had closed it."""
    if _alive(connection):
        borrowed = socket.socket(fileno=connection[0])
        try:
            borrowed.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer has already closed it
        finally:
            borrowed.detach()


class Publisher:
    """Moves frames from the feed to viewers, and demands from viewers to the feed."""

    def __init__(self, xpub: zmq.Socket[bytes], feed: socket.socket, grants: Grants) -> None:
        self._xpub = xpub
        self._feed = feed
        self._grants = grants
        self._next_sweep_ns = 0
        self._next_flush_ns = 0
        self._dirty = False
        self._refusals: Counter[Connection] = Counter()
        self._intruders: set[int | None] = set()  # users; None: unknown

    def run(self) -> None:
        """Serve until the collector closes its end. Raises SenderUnknownError and ZMQError."""
        poller = zmq.Poller()
        poller.register(self._xpub, zmq.POLLIN)
        poller.register(self._feed.fileno(), zmq.POLLIN)
        while True:
            ready = dict(poller.poll(self._timeout_ms(time.monotonic_ns())))
            if self._xpub in ready:
                self.subscriptions()
            if self._feed.fileno() in ready and not self._frames():
                return
            self._housekeeping(time.monotonic_ns())

    def _timeout_ms(self, now_ns: int) -> int | None:
        if not self._grants and not self._refusals:
            return None
        due = min(self._next_sweep_ns, self._next_flush_ns) if self._dirty else self._next_sweep_ns
        return max(0, -(-(due - now_ns) // 1_000_000))

    def subscriptions(self) -> None:
        """Handle what viewers sent, without waiting. Raises SenderUnknownError."""
        for _ in range(_BATCH):
            try:
                frame = self._xpub.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                self._intruders.clear()
                return
            verb, text = frame.bytes[:1], frame.bytes[1:]
            peer = peer_of(frame)
            if verb not in (b"\0", b"\1"):
                self._reject(peer)
            elif peer is not None:
                # Without a peer, libzmq reports a closed connection, which the sweep will find.
                self._subscription(verb == b"\1", text, *peer)

    def _reject(self, peer: tuple[int, Connection] | None) -> None:
        """Hang up on the sender of a message that is not a subscription. No viewer sends these.

        libzmq queues the message, but not its sender. Until the queue is empty, setsockopt would
        act on a different peer than the sender of the current message.
        """
        self._intruders.add(peer and peer[0])
        if peer is not None:
            _hang_up(peer[1])

    def _subscription(self, on: bool, text: bytes, uid: int, connection: Connection) -> None:  # noqa: FBT001 - the flag on the wire
        if self._intruders:
            if on and uid not in self._intruders:
                raise SenderUnknownError(
                    f"users {self._intruders} sent messages that are not subscriptions"
                )
            return
        answer = (self._grants.subscribe(text, uid, connection) if on
                  else self._grants.unsubscribe(text, connection))  # fmt: skip
        if isinstance(answer, Topic):
            # With the NUL that ends a topic on the wire, or all/flows would match all/flows/1 too.
            option = zmq.SUBSCRIBE if on else zmq.UNSUBSCRIBE
            self._xpub.setsockopt(option, str(answer).encode() + b"\0")
            self._dirty = True
        elif answer is not None:
            self._refuse(answer, connection)

    def _refuse(self, answer: Refusal, connection: Connection) -> None:
        """Tell a viewer, and nobody else, that it does not get what it asked for last."""
        self._refusals[connection] += 1
        if self._refusals[connection] >= REFUSALS:
            _hang_up(connection)
        elif answer.topic is not None:
            frame = refusal(answer.topic, answer.why)
            topic = frame[: frame.index(b"\0") + 1]
            self._xpub.setsockopt(zmq.SUBSCRIBE, topic)
            self._xpub.send(frame, zmq.NOBLOCK)
            self._xpub.setsockopt(zmq.UNSUBSCRIBE, topic)

    def _frames(self) -> bool:
        """Publish the waiting frames. Returns False if the collector is gone."""
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
            self._refusals = Counter({c: n for c, n in self._refusals.items() if _alive(c)})
            self._next_sweep_ns = now_ns + _SWEEP_NS
            self._dirty = True
        if self._dirty and now_ns >= self._next_flush_ns:
            for demand in self._grants.demands():
                self._feed.send(pack_demand(demand))  # blocks, which the collector never does
            self._next_flush_ns = now_ns + _FLUSH_NS
            self._dirty = False


def open_socket(context: zmq.Context[zmq.Socket[bytes]], listening: int) -> zmq.Socket[bytes]:
    """Return an XPUB socket for descriptor ``listening``, which libzmq owns from now on."""
    borrowed = socket.socket(fileno=listening)
    endpoint = f"ipc://{borrowed.getsockname()}"
    borrowed.detach()
    xpub = context.socket(zmq.XPUB)
    for option, value in (
        (zmq.XPUB_MANUAL, 1),
        (zmq.SNDHWM, QUEUED_FRAMES),
        (zmq.RCVHWM, QUEUED_SUBSCRIPTIONS),
        (zmq.MAXMSGSIZE, SUBSCRIPTION_BYTES),
        (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
        (zmq.LINGER, 0),
        (zmq.USE_FD, listening),
    ):
        xpub.setsockopt(option, value)
    xpub.bind(endpoint)
    return xpub


def main(arguments: list[str]) -> int:
    """Run until the collector closes its end (return 0) or an error occurs (return 1).

    Returns CANNOT_BECOME if the privileges are missing that it takes to give up all.
    """
    feed_fd, listen_fd, uid, gid = map(int, arguments[:4])
    Path("/proc/self/comm").write_bytes(NAME)
    limit_resources(_LIMITS)
    try:
        become(uid, gid)
    except OSError:
        return CANNOT_BECOME
    try:
        feed = socket.socket(fileno=feed_fd)
        xpub = open_socket(zmq.Context(), listen_fd)
        feed.send(READY)
        Publisher(xpub, feed, Grants(Membership(arguments[4]))).run()
    except (BrokenPipeError, ConnectionResetError):
        return 0  # the collector closed its end while a demand was on its way
    except Exception as error:  # noqa: BLE001 - any error means a new process
        sys.stderr.write(f"pbmond: publisher: {error or type(error).__name__}\n")
        return 1
    return 0


if __name__ == "__main__":
    # A normal exit would make libzmq wait for its threads, and those wait for peers.
    os._exit(main(sys.argv[1:]))
