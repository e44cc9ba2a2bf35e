"""What the tests of the daemon's memory share: its parts, and viewers that come and go."""

from __future__ import annotations

import time
from pathlib import Path

import zmq

from pbmond.selftest.private_daemon import Daemon

#: How many viewers are there at once; the oldest leaves when another comes.
_AT_ONCE = 25


def memory_mb(pid: int) -> dict[str, float]:
    """Return the resident memory of a process in MB: all, and what it consists of.

    "own" is anonymous: what the process allocated. "files" is code, mostly shared. "tables" are the
    mapped part of the kernel's tables: it is there whether a process maps it or not.
    """
    found, place = dict.fromkeys(("rss", "own", "tables"), 0.0), ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, _, value = line.partition(":")
        if "-" in name:
            place = line
        elif name == "Rss":
            found["rss"] += int(value.split()[0]) * 1024 / 1e6
            found["tables"] += int(value.split()[0]) * 1024 / 1e6 * ("bpf" in place)
        elif name == "Anonymous":
            found["own"] += int(value.split()[0]) * 1024 / 1e6
    return {**found, "files": found["rss"] - found["own"] - found["tables"]}


class Visitors:
    """Viewers that come, ask for everything, and go."""

    def __init__(self, daemon: Daemon) -> None:
        self._address = daemon.address
        self._context = zmq.Context()
        self._here: list[zmq.Socket[bytes]] = []

    def come_and_go(self, seconds: float, per_second: float) -> None:
        """Spend so much time with ``per_second`` viewers coming."""
        began = time.monotonic()
        for number in range(round(seconds * per_second)):
            time.sleep(max(0.0, began + number / per_second - time.monotonic()))
            one = self._context.socket(zmq.SUB)
            one.setsockopt(zmq.RCVHWM, 2)
            one.setsockopt(zmq.SUBSCRIBE, (b"all/processes", b"all/flows")[number % 2])
            one.connect(self._address)
            self._here.append(one)
            if len(self._here) > _AT_ONCE:
                self._here.pop(0).close(0)

    def leave(self) -> None:
        """End them all."""
        while self._here:
            self._here.pop().close(0)
        self._context.term()
