"""Signals: two end the daemon, and SIGHUP has it reopen its log."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator

import pytest

from pbmond.system.signals import Signals

ENDING = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (*ENDING, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Log:
    def __init__(self) -> None:
        self.reopened = 0

    def reopen(self) -> None:
        self.reopened += 1


def is_readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


@pytest.mark.parametrize("number", ENDING)
def test_while_starting_it_ends_at_once(number: int) -> None:
    with Signals(Log().reopen, hangup_ends=False), pytest.raises(SystemExit) as ended:
        signal.raise_signal(number)
    assert ended.value.code == 0


@pytest.mark.parametrize("number", ENDING)
def test_while_serving_it_waits_until_it_is_asked_for(number: int) -> None:
    with Signals(Log().reopen, hangup_ends=False) as signals:
        signals.serve()
        assert not signals.ending()
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        assert is_readable(signals.fd)
        assert signals.ending()


def test_a_hangup_reopens_the_log_and_ends_nothing() -> None:
    log = Log()
    with Signals(log.reopen, hangup_ends=False) as signals:
        signal.raise_signal(signal.SIGHUP)  # while starting: it waits, too
        signals.serve()
        assert is_readable(signals.fd)
        assert (signals.ending(), log.reopened) == (False, 1)
        assert not is_readable(signals.fd)
        assert (signals.ending(), log.reopened) == (False, 1)


def test_no_number_of_hangups_hides_the_signal_that_ends() -> None:
    with Signals(Log().reopen, hangup_ends=False) as signals:
        signals.serve()
        for _ in range(3000):
            signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
        assert signals.ending()


def test_a_hangup_ends_a_daemon_whose_log_is_the_terminal() -> None:
    log = Log()
    with Signals(log.reopen, hangup_ends=True) as signals:
        signals.serve()
        signal.raise_signal(signal.SIGHUP)
        assert (signals.ending(), log.reopened) == (True, 0)
