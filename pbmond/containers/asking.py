"""The collector's end: which containers to ask the helper about, and what it said. Nothing blocks.

A container is asked about when its first process is seen, because it may not live long; again after
a second, for its runtime may not have written everything yet, then after twice as long, and so on
up to a minute, because people rename containers. What is known stays known after its end.

Names belong to a container and a user. Whoever may make cgroups can give one the id of somebody
else's container, and would see its names in their own rows, living or retired.
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from pbmond.containers.names import (
    PACKET_BYTES,
    PATH_BYTES,
    AnswerError,
    ContainerNames,
    Owner,
    pack_question,
    unpack_answer,
)
from pbmond.host.cgroup import container_of, holder_of, machine_of
from pbmond.patience import patient

#: How many containers are remembered; the ones that were seen longest ago are forgotten first.
MAX_CONTAINERS: Final = 4096
#: Of how many users a container's processes may be and have its names.
MAX_USERS: Final = 256
#: How many questions are under way at a time.
MAX_ASKED: Final = 16
FIRST_WAIT_NS: Final = 1_000_000_000
LAST_WAIT_NS: Final = 60_000_000_000
#: A helper that has not answered for this long is replaced.
HUNG_NS: Final = 10_000_000_000
#: The least time between two starts, in case it keeps ending at once.
RESTART_EVERY_NS: Final = 5_000_000_000


class HelperProcess(Protocol):
    """What is needed of the helper's process; pbmond.children.starter.ForkedProcess has it."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""

    def kill(self) -> None:
        """Send SIGKILL."""


#: A cgroup, None if it is not known, and the user of a process in it.
CgroupOfUser = tuple[bytes | None, int]

#: Starts a helper that answers on a socket; raises OSError.
SpawnHelper = Callable[[socket.socket], HelperProcess]


class _Box(NamedTuple):
    """A container in a cgroup. Only that in which root made it is the real one.

    ``holder`` is the cgroup around its own; None: there is nothing to ask about it.
    """

    container: bytes
    holder: bytes | None


@lru_cache(maxsize=16_384)  # each cgroup comes in every tick
def _box_of(cgroup: bytes) -> _Box | None:
    container = container_of(cgroup)
    if container is None:
        return None
    asks = machine_of(container) is None and len(cgroup) <= PATH_BYTES
    return _Box(container, holder_of(cgroup) if asks else None)


@dataclass(slots=True)
class _Known:
    names: ContainerNames
    next_ns: int  # when to ask
    wait_ns: int = FIRST_WAIT_NS
    uids: set[int] = field(default_factory=set)  # whose processes are in it


@dataclass(frozen=True, slots=True)
class _Asked:
    number: int
    box: _Box
    since_ns: int


class NameLookup:
    """What the containers that have been seen are called. Times are CLOCK_MONOTONIC ns."""

    def __init__(self, spawn: SpawnHelper | None, log: logging.Logger) -> None:
        """``spawn`` None: nothing is looked up, and only machines have a name, their own."""
        self._spawn = spawn
        self._log = log
        self._known: dict[_Box, _Known] = {}  # the one seen longest ago comes first
        self._view: Mapping[Owner, ContainerNames] = MappingProxyType({})
        self._changed = False
        self._process: HelperProcess | None = None
        self._ended: list[HelperProcess] = []  # killed, and not reaped yet
        self._sock: socket.socket | None = None
        self._due: dict[_Box, bytes] = {}  # with the cgroup to ask about next
        self._asked: deque[_Asked] = deque()
        self._number = 0
        self._started_ns = -RESTART_EVERY_NS

    @property
    def pid(self) -> int | None:
        """The helper's process id, or None while none runs."""
        return self._process.pid if self._process else None

    @property
    def fd(self) -> int | None:
        """The descriptor to poll for answers, or None while no helper runs."""
        return self._sock.fileno() if self._sock else None

    def see(self, places: Iterable[CgroupOfUser], now_ns: int) -> None:
        """Ask about the containers of ``places`` that are due."""
        for cgroup, uid in places:
            box = None if cgroup is None else _box_of(cgroup)
            if box is not None and cgroup is not None:
                self._see(box, cgroup, uid, now_ns)
        if len(self._known) > MAX_CONTAINERS:
            self._forget(len(self._known) - MAX_CONTAINERS)
        self._ask(now_ns)

    def _see(self, box: _Box, cgroup: bytes, uid: int, now_ns: int) -> None:
        known = self._known.pop(box, None)
        if known is None:
            known = _Known(ContainerNames(container_name=machine_of(box.container)), now_ns)
        self._known[box] = known
        if uid not in known.uids and len(known.uids) < MAX_USERS:
            known.uids.add(uid)
            self._changed |= bool(known.names)
        if self._spawn is not None and box.holder is not None and now_ns >= known.next_ns:
            self._due[box] = cgroup
            known.next_ns = now_ns + known.wait_ns
            known.wait_ns = min(2 * known.wait_ns, LAST_WAIT_NS)

    def _forget(self, count: int) -> None:
        """Forget the oldest. Those without a name, which users can make, get half of the room."""
        unnamed = [box for box, known in self._known.items() if not known.names]
        named = [box for box, known in self._known.items() if known.names]
        for box in (unnamed if 2 * len(unnamed) > MAX_CONTAINERS else named)[:count]:
            del self._known[box]
            self._changed = True

    def take(self, now_ns: int) -> None:
        """Take the answers that have come, and ask what is due."""
        self._receive()
        if self._asked and now_ns - self._asked[0].since_ns > patient(HUNG_NS):
            self._end("does not answer")
        self._ended = [each for each in self._ended if each.poll() is None]
        self._ask(now_ns)

    def names(self) -> Mapping[Owner, ContainerNames]:
        """Return all that is known, by container and user."""
        if self._changed:
            self._changed = False
            named = {
                (box.container, uid): known.names
                for box, known in self._known.items()
                if known.names
                for uid in known.uids
            }
            self._view = MappingProxyType(named)
        return self._view

    def close(self) -> None:
        """End the helper."""
        self._end(None)

    # --- the helper -------------------------------------------------------------------------------

    def _ask(self, now_ns: int) -> None:
        """Send as many questions as the helper takes now."""
        while self._due and len(self._asked) < MAX_ASKED:
            sock, box = self._started(now_ns), next(iter(self._due))
            if sock is None:
                return
            number = (self._number + 1) % (1 << 32)
            try:
                sock.send(pack_question(number, self._due[box]))
            except BlockingIOError:
                return
            except OSError as error:
                self._end(f"has ended: {error.strerror}")
                return
            self._number = number
            self._asked.append(_Asked(number, box, now_ns))
            del self._due[box]

    def _started(self, now_ns: int) -> socket.socket | None:
        """Return the helper's socket, starting one if none runs; None: there is none yet."""
        if self._sock is not None:
            return self._sock
        if self._spawn is None or now_ns - self._started_ns < RESTART_EVERY_NS:
            return None
        self._started_ns = now_ns
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        try:
            with theirs:
                self._process = self._spawn(theirs)
        except OSError as error:
            ours.close()
            self._log.error("names of containers cannot be read: %s", error)
            return None
        self._sock = ours
        return ours

    def _receive(self) -> None:
        while self._sock is not None:
            try:
                packet = self._sock.recv(PACKET_BYTES + 1)
                if not packet:
                    self._end("has ended")
                    return
                number, names = unpack_answer(packet)
                if not self._asked or number != self._asked[0].number:
                    raise AnswerError("an answer to what was not asked")
            except BlockingIOError:
                return
            except (AnswerError, OSError) as error:
                self._end(f"is replaced: {error}")
                return
            self._take(self._asked.popleft().box, names)

    def _take(self, box: _Box, names: ContainerNames) -> None:
        known = self._known.get(box)
        if known is not None and names and names != known.names:
            known.names = names.or_else(known.names)  # its files may be gone by now
            self._changed = True

    def _end(self, why: str | None) -> None:
        """Forget the helper. It is not waited for: it may hang in a file system that does."""
        if self._sock is not None:
            self._sock.close()
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            self._ended.append(self._process)
            if why is not None:
                self._log.warning("the reader of container names %s", why)
        self._sock = self._process = None
        self._asked.clear()
