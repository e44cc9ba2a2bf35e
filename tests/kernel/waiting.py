"""Waits that end: each says what is still missing when its time is over."""

from __future__ import annotations

import time
from collections.abc import Callable

from pbmond import wire
from pbmond.patience import patient
from pbmond.selftest.private_daemon import Daemon

_LIMIT_S = 60.0
_PAUSE_S = 0.005


class Deadline:
    """The end of a wait."""

    def __init__(self, limit_s: float = _LIMIT_S) -> None:
        self._limit_s = patient(limit_s)
        self._end_s = time.monotonic() + self._limit_s

    def check(self, missing: object) -> None:
        """Fail, with what is ``missing``, if the time is over."""
        assert time.monotonic() < self._end_s, f"missing after {self._limit_s:g} s: {missing}"


def wait_until(missing: Callable[[], object]) -> None:
    """Ask again and again what is ``missing``, until nothing is."""
    deadline = Deadline()
    while what := missing():
        deadline.check(what)
        time.sleep(_PAUSE_S)


def snapshot_when(daemon: Daemon, missing: Callable[[wire.Message], object]) -> wire.Message:
    """Return the first snapshot, read from now on, in which nothing is ``missing``."""
    deadline = Deadline()
    while what := missing(message := daemon.snapshot()):
        deadline.check(what)
    return message
