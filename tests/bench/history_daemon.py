"""Publishes what moves on a made-up host as ``all/moved``, in place of the daemon.

``history_daemon.py SOCKET TICKS`` sends so many ticks as fast as a viewer may be sent them, and
says after each ``--say`` of them how many it sent; it goes on at the next line of its input.
``--build`` is a build server.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from itertools import count
from typing import Any

import numpy as np
import zmq
from history_host import SECOND, Host

from pbmon_client.history.buckets import RowsMoved, Tick
from pbmon_client.history.layout import LAYOUTS, PROCESSES, KeptRow
from pbmond.fields import COUNTERS
from pbmond.moved_wire import (
    MOVED,
    RETIRED,
    TICKS,
    TOLD,
    TOPIC,
    MovedMessage,
    MovedTable,
    MovedTick,
    encode_moved,
    encode_tick,
)
from pbmond.publish.moved_log import OLDER_BYTES
from pbmond.wire import Table
from tests import past_host

#: A viewer takes 250 messages a second for a flood.
LEAST_S = 1 / 200
_DTYPES = {"u1": np.uint8, "u2": np.uint16, "u4": np.uint32, "u8": np.uint64}


class Published:
    """The messages of a host: rows get ids, and are described once in the ticks of a message."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._ids: dict[str, dict[KeptRow, int]] = {table: {} for table in LAYOUTS}
        self._next = count(1)
        self._described: dict[str, dict[KeptRow, int]] = {table: {} for table in LAYOUTS}
        self._totals = np.zeros(len(COUNTERS), np.uint64)
        self._ticks: deque[bytes] = deque()
        self.seq = 0

    def frame(self) -> bytes:
        """Return the message of the next second."""
        self.seq += 1
        tick = self._host.tick(1, past_host.MONDAY + self.seq)
        ticks = self._ticks
        while len(ticks) >= TICKS or (len(ticks) > 1 and sum(map(len, ticks)) > OLDER_BYTES):
            ticks.popleft()
        self._ticks.append(encode_tick(self._moved(tick)))
        return encode_moved(
            MovedMessage("host", "boot", "epoch", SECOND, self.seq, list(self._ticks))
        )

    def _moved(self, tick: Tick) -> MovedTick:
        self._totals += tick.totals.astype(np.uint64)
        nothing = {name: _column([], kind) for name, kind in RETIRED.items()}
        return MovedTick(
            seq=self.seq,
            time_ns=tick.time_ns,
            now_ns=(self.seq + 1) * SECOND,
            interval_ns=tick.interval_ns,
            lost={},
            totals=self._totals,
            retired=Table(0, nothing),
            tables={table: self._table(table, moved) for table, moved in tick.tables.items()},
        )

    def _table(self, table: str, moved: RowsMoved) -> MovedTable:
        if self.seq % 60 == 0:  # what ended long ago
            recent = self._described[table].items()
            self._described[table] = {r: seq for r, seq in recent if seq > self.seq - TICKS}
            if table != PROCESSES:
                self._ids[table] = {r: self._ids[table][r] for r in self._described[table]}
        kept = past_host.rows_of(moved, LAYOUTS[table].columns)
        ids, described = self._ids[table], self._described[table]
        first = self.seq - len(self._ticks)  # of the message
        grown = moved.deltas != 0
        bits = np.uint64(1) << np.arange(grown.shape[1], dtype=np.uint64)
        numbers = [ids.setdefault(row, next(self._next)) for row in kept]
        new = [p for p, r in enumerate(kept) if described.get(r, 0) < first]
        described |= {kept[place]: self.seq for place in new}
        values: dict[str, Any] = {"id": numbers, "mask": (grown * bits).sum(axis=1)}
        rows = {name: values.get(name, [0] * len(numbers)) for name in MOVED[table]}
        told = {"id": [numbers[place] for place in new]}
        for name, place in LAYOUTS[table].place.items():
            if name in TOLD[table]:
                told[name] = [kept[row][place] for row in new]
        return MovedTable(
            Table(len(numbers), {n: _column(v, MOVED[table][n]) for n, v in rows.items()}),
            moved.deltas[grown].astype(np.uint64),
            Table(len(new), {n: _column(v, TOLD[table][n]) for n, v in told.items()}),
        )


def _column(values: Any, kind: str) -> Any:
    if kind == "text":
        return values
    if kind == "16s":
        return np.frombuffer(b"".join(values), np.uint8)
    return np.asarray(values, np.uint64).astype(_DTYPES[kind])


def main() -> None:
    """Publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("socket")
    parser.add_argument("ticks", type=int)
    parser.add_argument("--build", action="store_true")
    parser.add_argument("--every", type=float, default=LEAST_S, metavar="SECONDS")
    parser.add_argument("--say", type=int, default=600, metavar="TICKS")
    given = parser.parse_args()
    publisher = zmq.Context().socket(zmq.XPUB)
    publisher.setsockopt(zmq.SNDHWM, 4)
    publisher.setsockopt(zmq.XPUB_NODROP, 1)
    publisher.bind(f"ipc://{given.socket}")
    published = Published(Host(build=given.build))
    print("ready", flush=True)
    while publisher.recv() != b"\1" + str(TOPIC).encode():
        pass
    due = time.monotonic()
    for number in range(1, given.ticks + 1):
        frame = published.frame()
        time.sleep(max(0, due - time.monotonic()))
        due = time.monotonic() + given.every
        publisher.send(frame)
        if number % given.say == 0:
            print(number, flush=True)
            sys.stdin.readline()
            due = time.monotonic()
    time.sleep(1 << 20)  # a recorder that is measured must not see its daemon end


if __name__ == "__main__":
    main()
