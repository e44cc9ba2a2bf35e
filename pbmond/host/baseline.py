"""What processes and TCP connections had moved before counting began: one reading at the start."""

from __future__ import annotations

import ctypes
import logging
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import Final

import numpy as np

from pbmond.host import sockdiag
from pbmond.host.procfs import Procfs
from pbmond.kernel.records import BEFORE, START_TICK_NS, Baseline

#: The most connections whose bytes are kept; those of the others are not known.
MAX_CONNECTIONS: Final = 262_144

_CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
_libc: Final = ctypes.CDLL(None, use_errno=True)


def read(proc: Procfs, began_ns: int, log: logging.Logger) -> Baseline:
    """Read the baseline of everything that is older than ``began_ns`` (CLOCK_BOOTTIME).

    Counting must have begun: what is counted while this reads is subtracted by the store. Of a
    process /proc gives the tick in which it started, and that must have ended by then.
    """
    rows: list[tuple[int, ...]] = []
    for netns, namespace in _namespaces():
        try:
            rows += _connections(netns, namespace, MAX_CONNECTIONS - len(rows))
        except (OSError, ValueError) as error:
            log.warning("the baseline lacks connections of network namespace %d: %s", netns, error)
    processes = [each for each in proc.accounting() if each.start_ns + START_TICK_NS <= began_ns]
    return Baseline(tuple(processes), np.array(rows, BEFORE))


def _namespaces() -> Iterator[tuple[int, int]]:
    """Yield inode number and descriptor of every network namespace that a process is in.

    The descriptor is closed when the next one is asked for.
    """
    done: set[int] = set()
    for pid in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208 - a Path for each costs too much
        with suppress(OSError):
            link = f"/proc/{pid}/ns/net"
            if os.stat(link).st_ino in done:  # noqa: PTH116 - likewise
                continue
            namespace = os.open(link, os.O_RDONLY)
            try:
                netns = os.fstat(namespace).st_ino
                if netns not in done:
                    done.add(netns)
                    yield netns, namespace
            finally:
                os.close(namespace)


def _connections(netns: int, namespace: int, most: int) -> list[tuple[int, ...]]:
    """Return rows of BEFORE."""
    with _asking(namespace) as asking:
        return [
            (each.received, each.sent, netns, each.inode, each.local_port, each.remote_port)
            for each in islice(sockdiag.connections(asking), most)
        ]


def _asking(namespace: int) -> socket.socket:
    """Return a socket to ask by that belongs to another network namespace; OSError if refused."""
    if os.path.samestat(os.fstat(namespace), os.stat("/proc/self/ns/net")):  # noqa: PTH116
        return sockdiag.opened()
    # A namespace belongs to a thread: this one enters it, opens the socket, and ends.
    with ThreadPoolExecutor(1) as visitor:
        return visitor.submit(_enter_and_open, namespace).result()


def _enter_and_open(namespace: int) -> socket.socket:
    if _libc.setns(namespace, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return sockdiag.opened()
