"""One query in a process of its own, within a budget: what it costs ends with it."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NoReturn

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class QueryBudget:
    """What one query may cost: processor time, time, bytes of address space and of answer."""

    cpu_s: int = 10
    wall_s: int = 20
    memory: int = 3 << 29
    answer: int = 129 << 20


class QueryOutcome(IntEnum):
    """How a query ended: with an answer to somebody who sees their own or all, or without."""

    OWN = 0
    ALL = 3
    TOO_LONG = 4
    FAILED = 5


@dataclass(frozen=True, slots=True)
class RunningQuery:
    """A process, a descriptor that is readable at its end, and one of what it has answered."""

    pid: int
    pidfd: int
    answer: int

    def kill(self) -> None:
        """Let it end soon."""
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def ended(self) -> QueryOutcome:
        """Return how it ended, once ``pidfd`` is readable; ``answer`` is the caller's to close."""
        _pid, status = os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        code = os.waitstatus_to_exitcode(status)
        if code in (-signal.SIGXCPU, -signal.SIGKILL, -signal.SIGALRM):
            return QueryOutcome.TOO_LONG
        return (
            QueryOutcome(code)
            if code in (QueryOutcome.OWN, QueryOutcome.ALL)
            else QueryOutcome.FAILED
        )


def start(compute: Callable[[], tuple[QueryOutcome, bytes]], budget: QueryBudget) -> RunningQuery:
    """Run ``compute`` in a child that has no other descriptor of ours. OSError if there is none."""
    answer = os.memfd_create("answer", os.MFD_CLOEXEC)
    # A handler of the parent's must not run in the child.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            _run(compute, budget, answer)
        try:
            return RunningQuery(pid, os.pidfd_open(pid), answer)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
    except OSError:
        os.close(answer)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(
    compute: Callable[[], tuple[QueryOutcome, bytes]], budget: QueryBudget, answer: int
) -> NoReturn:
    outcome = QueryOutcome.FAILED
    try:
        _confine(budget, answer)
        ended, data = compute()
        left = memoryview(data)
        while left:
            left = left[os.write(answer, left) :]
        outcome = ended
    finally:
        # No clean-up of the parent's may run here, nor a traceback be printed.
        os._exit(outcome)


def _confine(budget: QueryBudget, answer: int) -> None:
    for number in (*_SIGNALS, signal.SIGALRM, signal.SIGXCPU):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.alarm(budget.wall_s)
    os.closerange(3, answer)
    os.closerange(answer + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    for limit, most in (
        (resource.RLIMIT_CPU, budget.cpu_s),
        (resource.RLIMIT_AS, budget.memory),
        (resource.RLIMIT_FSIZE, budget.answer),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limit, (most, most))
