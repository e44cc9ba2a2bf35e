"""The collector's end: which containers to ask the helper about, and what it said. Nothing blocks.

A container is asked about when its first process is seen, because it may not live long; again after
a second, for its runtime may not have written everything yet, then after twice as long, and so on
up to a minute, because people rename containers. What is known stays known after its end.
"""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from pbmond.containers.names import (
    PACKET_BYTES,
    PATH_BYTES,
    AnswerError,
    ContainerNames,
    pack_question,
    unpack_answer,
)
from pbmond.host.cgroup import container_of, holder_of, machine_of
from pbmond.patience import patient

#: How many containers are remembered; the ones that were seen longest ago are forgotten first.
MAX_CONTAINERS: Final = 4096
#: How many questions are under way at a time.
MAX_ASKED: Final = 16
FIRST_WAIT_NS: Final = 1_000_000_000
LAST_WAIT_NS: Final = 60_000_000_000
#: A helper that has not answered for this long is replaced.
HUNG_NS: Final = 10_000_000_000
#: The least time between two starts, in case it keeps ending at once.
RESTART_EVERY_NS: Final = 5_000_000_000

_PACKAGE_ROOT: Final = Path(__file__).resolve().parents[2]


class HelperProcess(Protocol):
    """What is needed of the helper's process; subprocess.Popen has it."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""

    def kill(self) -> None:
        """Send SIGKILL."""


#: Starts a helper that answers on a socket; raises OSError.
SpawnHelper = Callable[[socket.socket], HelperProcess]


def spawn_helper(uid: int, gid: int) -> SpawnHelper:
    """Return a function that starts helpers as ``uid`` and ``gid``."""

    def spawn(theirs: socket.socket) -> HelperProcess:
        return subprocess.Popen(  # noqa: S603 - this interpreter, and numbers
            [
                *(sys.executable, "-s", "-P", "-m", "pbmond.containers.helper"),
                *map(str, (theirs.fileno(), uid, gid)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            cwd="/",
            start_new_session=True,
            env={"PYTHONPATH": str(_PACKAGE_ROOT), "LC_ALL": "C.UTF-8"},
        )

    return spawn


@lru_cache(maxsize=16_384)  # each cgroup comes in every tick
def _place(cgroup: bytes) -> tuple[bytes | None, bool]:
    """Return the container of a cgroup, and whether the helper may know more about it."""
    container = container_of(cgroup)
    asks = container is not None and machine_of(container) is None
    return container, asks and holder_of(cgroup) is not None and len(cgroup) <= PATH_BYTES


@dataclass(slots=True)
class _Known:
    names: ContainerNames
    next_ns: int  # when to ask
    wait_ns: int = FIRST_WAIT_NS


@dataclass(frozen=True, slots=True)
class _Asked:
    number: int
    container: bytes
    since_ns: int


class NameLookup:
    """What the containers that have been seen are called. Times are CLOCK_MONOTONIC ns."""

    def __init__(self, spawn: SpawnHelper | None, log: logging.Logger) -> None:
        """``spawn`` None: nothing is looked up, and only machines have a name, their own."""
        self._spawn = spawn
        self._log = log
        self._known: dict[bytes, _Known] = {}  # the one seen longest ago comes first
        self._view: Mapping[bytes, ContainerNames] = MappingProxyType({})
        self._changed = False
        self._process: HelperProcess | None = None
        self._ended: list[HelperProcess] = []  # killed, and not reaped yet
        self._sock: socket.socket | None = None
        self._due: dict[bytes, bytes] = {}  # container and cgroup, to ask about next
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

    def see(self, cgroups: Iterable[bytes | None], now_ns: int) -> None:
        """Ask about the containers of ``cgroups`` that are due."""
        for cgroup in cgroups:
            container, asks = (None, False) if cgroup is None else _place(cgroup)
            if container is not None:
                self._see(container, cgroup if asks else None, now_ns)
        while len(self._known) > MAX_CONTAINERS:
            del self._known[next(iter(self._known))]
        self._ask(now_ns)

    def _see(self, container: bytes, cgroup: bytes | None, now_ns: int) -> None:
        known = self._known.pop(container, None)
        if known is None:
            known = _Known(ContainerNames(container_name=machine_of(container)), now_ns)
            self._changed |= bool(known.names)
        self._known[container] = known
        if self._spawn is not None and cgroup is not None and now_ns >= known.next_ns:
            self._due[container] = cgroup
            known.next_ns = now_ns + known.wait_ns
            known.wait_ns = min(2 * known.wait_ns, LAST_WAIT_NS)

    def take(self, now_ns: int) -> None:
        """Take the answers that have come, and ask what is due."""
        self._receive()
        if self._asked and now_ns - self._asked[0].since_ns > patient(HUNG_NS):
            self._end("does not answer")
        self._ended = [each for each in self._ended if each.poll() is None]
        self._ask(now_ns)

    def names(self) -> Mapping[bytes, ContainerNames]:
        """Return all that is known, by container."""
        if self._changed:
            self._changed = False
            named = {each: known.names for each, known in self._known.items() if known.names}
            self._view = MappingProxyType(named)
        return self._view

    def close(self) -> None:
        """End the helper."""
        self._end(None)

    # --- the helper -------------------------------------------------------------------------------

    def _ask(self, now_ns: int) -> None:
        """Send as many questions as the helper takes now."""
        while self._due and len(self._asked) < MAX_ASKED:
            sock, container = self._started(now_ns), next(iter(self._due))
            if sock is None:
                return
            number = (self._number + 1) % (1 << 32)
            try:
                sock.send(pack_question(number, self._due[container]))
            except BlockingIOError:
                return
            except OSError as error:
                self._end(f"has ended: {error.strerror}")
                return
            self._number = number
            self._asked.append(_Asked(number, container, now_ns))
            del self._due[container]

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
            self._take(self._asked.popleft().container, names)

    def _take(self, container: bytes, names: ContainerNames) -> None:
        known = self._known.get(container)
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
