"""The publisher process: serves viewers, decides who gets what, has no privileges.

Anybody on the host may connect to it. It is a small XPUB socket of ZeroMQ's protocol that knows
from the kernel whose each connection is. One loop serves all: each turn takes a bounded amount of
work from each of its sources, so that nobody can keep it from the others. It imports neither numpy
nor the rest of the daemon.
Run as ``python -m pbmond.publish.publisher FEED_FD LISTEN_FD UID GID GROUP``.
"""

from __future__ import annotations

import os
import resource
import select
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

from pbmond.publish.admission import IN_ALL
from pbmond.publish.channel import (
    BEAT,
    CANNOT_BECOME,
    READY,
    FeedError,
    pack_demand,
    receive_frame,
)
from pbmond.publish.complaints import Complaints
from pbmond.publish.membership import LOOKUPS, Membership
from pbmond.publish.viewers import Viewers
from pbmond.system.privileges import become, limit_resources
from pbmond.system.rights import PUBLISHER_RIGHTS
from pbmond.system.subordinates import Subordinates

#: The name that ps and pbmon show, instead of the interpreter's. The kernel keeps 15 bytes.
NAME: Final = b"pbmond-publish"

#: Limits on what viewers can cost. A frame with 100,000 flows and 100,000 files is about 30 MB.
MEMORY_BYTES: Final = 512 << 20
DESCRIPTORS: Final = 4096
_LIMITS: Final = {
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_FSIZE: 0,  # else whoever took it over could let the frames grow, and not unmap
    resource.RLIMIT_AS: MEMORY_BYTES,
    resource.RLIMIT_NOFILE: DESCRIPTORS,
}
#: Descriptors that are no connections: the standard ones, our own, frames, those of look-ups.
_OTHER_DESCRIPTORS: Final = 24 + 2 * LOOKUPS
#: How often the collector hears that the publisher is alive.
BEAT_NS: Final = 1_000_000_000

_FRAMES: Final = 16  # in one turn
#: The least time between two flushes of records, and for each record besides: viewers who come and
#: go cannot keep the collector busy.
_FLUSH_NS: Final = 20_000_000
_RECORD_NS: Final = 500_000


class Publisher:
    """Moves frames from the feed to viewers, and demands from viewers to the feed."""

    def __init__(
        self, viewers: Viewers, feed: socket.socket, membership: Membership, complaints: Complaints
    ) -> None:
        self._viewers = viewers
        self._feed = feed
        self._membership = membership
        self._complaints = complaints
        self._records: deque[bytes] = deque()  # for the collector
        self._next_flush_ns = 0
        self._next_beat_ns = 0

    def run(self) -> None:
        """Serve until the collector closes its end."""
        while self.turn():
            pass

    def turn(self) -> bool:
        """Wait for something to do, and do some of it. Returns False if the collector is gone."""
        now = time.monotonic_ns()
        poll = select.poll()
        for fd in (self._feed.fileno(), self._membership.fd, self._viewers.fd):
            poll.register(fd, select.POLLIN)
        door = self._viewers.door(now)
        if door is not None:
            poll.register(door, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(self._timeout_ms(now))}
        now = time.monotonic_ns()
        if self._feed.fileno() in ready and not self._frames(now):
            return False
        if self._membership.fd in ready:
            self._viewers.hear()
        if self._viewers.fd in ready:
            self._viewers.serve(now)
        if door in ready:
            self._viewers.accept(now)
        self._viewers.expire(now)
        self._complaints.report(now)
        return self._tell_collector(now)

    def _timeout_ms(self, now_ns: int) -> int:
        due = [self._next_beat_ns, *self._viewers.due_ns(now_ns)]
        if self._viewers.changed or self._records:
            due.append(self._next_flush_ns)
        return max(0, -(-(min(due) - now_ns) // 1_000_000))

    def _frames(self, now_ns: int) -> bool:
        """Publish waiting frames. Returns False if the collector is gone."""
        for _ in range(_FRAMES):
            try:
                frame = receive_frame(self._feed)
            except BlockingIOError:
                return True
            except FeedError as error:
                self._complaints.add(None, f"a snapshot was lost: {error}")
                continue
            if frame is None:
                return False
            self._viewers.publish(frame, now_ns)
        return True

    def _tell_collector(self, now_ns: int) -> bool:
        """Send what has changed, and a sign of life. Returns False if the collector is gone."""
        if now_ns >= self._next_beat_ns:
            self._next_beat_ns = now_ns + BEAT_NS
            if not self._records:
                self._records.append(BEAT)
        # While the collector takes nothing, changes are kept in the grants, which are bounded.
        if self._viewers.changed and not self._records and now_ns >= self._next_flush_ns:
            self._viewers.changed = False
            self._records.extend(map(pack_demand, self._viewers.grants.demands()))
        if self._records and now_ns >= self._next_flush_ns:
            self._next_flush_ns = now_ns + _FLUSH_NS + len(self._records) * _RECORD_NS
            try:
                while self._records:
                    self._feed.send(self._records[0], socket.MSG_DONTWAIT)
                    self._records.popleft()
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                return False
        return True


def _say(text: str) -> None:
    with suppress(OSError):
        sys.stderr.write(f"pbmond: publisher: {text}\n")
        sys.stderr.flush()


def main(arguments: list[str]) -> int:
    """Run until the collector closes its end (return 0) or an error occurs (return 1).

    Returns CANNOT_BECOME if the privileges are missing that it takes to give up all.
    """
    feed_fd, listen_fd, uid, gid = map(int, arguments[:4])
    Path("/proc/self/comm").write_bytes(NAME)
    limit_resources(_LIMITS)
    listening = socket.socket(fileno=listen_fd)
    try:
        become(uid, gid, PUBLISHER_RIGHTS)
    except OSError:
        return CANNOT_BECOME
    try:
        feed = socket.socket(fileno=feed_fd)
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        places = max(1, min(IN_ALL, descriptors - _OTHER_DESCRIPTORS))
        complaints, membership = Complaints(_say), Membership(arguments[4])
        account = Subordinates().account
        viewers = Viewers(listening, membership, complaints, places, account)
        feed.send(READY)
        Publisher(viewers, feed, membership, complaints).run()
    except (BrokenPipeError, ConnectionResetError):
        return 0  # the collector ended
    except Exception as error:  # noqa: BLE001 - any error means a new process
        _say(str(error) or type(error).__name__)
        return 1
    return 0


if __name__ == "__main__":
    # A normal exit would wait for look-ups that hang.
    os._exit(main(sys.argv[1:]))
