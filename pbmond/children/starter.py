"""The collector's side of the forker: asks for children, hears of their ends, ends them."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pbmond.children.forker import ENDED, FAILED, NAMES, PUBLISHER, REPLY, STARTED, receive
from pbmond.children.stderr import Budget, ErrorPipe
from pbmond.patience import patient

_PACKAGE_ROOT: Final = Path(__file__).resolve().parents[2]
_ANSWER_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class _ChildKind:
    """A kind of child: the ``role`` that its cost is published under, and its name in the log."""

    role: str
    name: str


_KINDS: Final = {
    PUBLISHER: _ChildKind("publisher", "publisher"),
    NAMES: _ChildKind("names", "reader of container names"),
}


class ForkerError(Exception):
    """No child can be started any more; the message is one line."""


class ForkedProcess:
    """A process that the forker started. It has what the daemon needs of subprocess.Popen."""

    def __init__(self, starter: Starter, role: str, pid: int, pidfd: int, words: ErrorPipe) -> None:
        self.pid = pid
        self.role = role
        self.words = words
        self._starter = starter
        self._pidfd = pidfd
        self._status: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs; negative: the signal that ended it."""
        while self._status is None and self._starter.hear(0):
            pass
        return self._status

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end. Raises ForkerError if it does not come."""
        end = time.monotonic() + (patient(_ANSWER_S) if timeout is None else timeout)
        while self._status is None:
            left_s = end - time.monotonic()
            if left_s <= 0:
                raise ForkerError(f"process {self.pid} does not end")
            self._starter.hear(left_s)
        return self._status

    def ended(self, status: int) -> None:
        """Take note of its end."""
        self._status = status
        os.close(self._pidfd)
        self.words.close(time.monotonic_ns())


class Starter:
    """Starts children through the forker; a context manager that ends it, and them."""

    def __init__(
        self, listener: socket.socket, uid: int, gid: int, access_group: str, log: logging.Logger
    ) -> None:
        """Start the forker. Children become ``uid`` and ``gid``; publishers accept at ``listener``.

        Raises OSError.
        """
        self._log = log
        self._children: dict[int, ForkedProcess] = {}
        self._started: tuple[int, int] | None = None  # pid and pidfd of a child just asked for
        self._budgets = {kind: Budget() for kind in _KINDS}
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fds = (theirs.fileno(), listener.fileno())
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, numbers, a checked name
                [
                    *(sys.executable, "-s", "-P", "-m", "pbmond.children.forker"),
                    *map(str, (*fds, uid, gid, access_group)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=fds,
                cwd="/",
                start_new_session=True,  # only the collector handles Ctrl-C
                env={
                    "PYTHONPATH": str(_PACKAGE_ROOT),
                    "LC_ALL": "C.UTF-8",
                    "MALLOC_ARENA_MAX": "1",  # one heap for all threads halves the address space
                },
            )

        self._pidfd = os.pidfd_open(self._process.pid)

    def __enter__(self) -> Starter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The forker's process id."""
        return self._process.pid

    def processes(self) -> list[tuple[str, int]]:
        """Return role and process id of the forker and of each child; a role may come twice."""
        return [("forker", self.pid), *((each.role, each.pid) for each in self._children.values())]

    def publisher(self, feed: socket.socket) -> ForkedProcess:
        """Start a publisher of the frames from ``feed``. Raises OSError and ForkerError."""
        return self._start(PUBLISHER, feed)

    def names_reader(self, asked: socket.socket) -> ForkedProcess:
        """Start a reader of container names that answers on ``asked``; raises as ``publisher``."""
        return self._start(NAMES, asked)

    def take_words(self, now_ns: int) -> None:
        """Log what children have said. Times are CLOCK_MONOTONIC ns."""
        for child in self._children.values():
            child.words.take(now_ns)

    def close(self) -> None:
        """End the forker, and with it all children."""
        self._channel.close()
        # Not Popen.kill: kill(2) is not among the calls of the collector's filter.
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self._process.wait()
        os.close(self._pidfd)
        for child in self._children.values():
            child.ended(-signal.SIGKILL)
        self._children.clear()

    def hear(self, wait_s: float) -> bool:
        """Take one thing that the forker says, waiting so long for it; False: it said nothing.

        Raises ForkerError if the forker is gone, and OSError if a child could not be started.
        """
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        if not poll.poll(wait_s * 1000):
            return False
        said, fds = receive(self._channel, REPLY.size, 1)
        if not said:
            raise _gone()
        kind, pid, number = REPLY.unpack(said)
        if kind == ENDED:
            self._children.pop(pid).ended(number)
        elif kind == FAILED:
            raise OSError(number, os.strerror(number))
        elif kind == STARTED:
            self._started = pid, fds[0]
        return True

    def _start(self, kind: bytes, sock: socket.socket) -> ForkedProcess:
        words = ErrorPipe(_KINDS[kind].name, self._log, self._budgets[kind])
        try:
            pid, pidfd = self._ask(kind, sock, words)
        except BaseException:
            words.close(time.monotonic_ns())
            raise
        child = self._children[pid] = ForkedProcess(self, _KINDS[kind].role, pid, pidfd, words)
        return child

    def _ask(self, kind: bytes, sock: socket.socket, words: ErrorPipe) -> tuple[int, int]:
        """Return pid and pidfd of a new child."""
        try:
            socket.send_fds(self._channel, [kind], [sock.fileno(), words.childs])
        except (BrokenPipeError, ConnectionResetError):
            raise _gone() from None
        finally:
            words.given()
        self._started = None
        end = time.monotonic() + patient(_ANSWER_S)
        while self._started is None and self.hear(max(0, end - time.monotonic())):
            pass
        if self._started is None:
            raise ForkerError("the process that starts others does not answer: start pbmond again")
        return self._started


def _gone() -> ForkerError:
    return ForkerError("the process that starts others has ended: start pbmond again")
