"""The made-up host of the demonstration, alive, and with names that mean harm."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Final

import zmq

from pbmond import wire

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))  # the made-up host of the unit tests

import demo_world
from client_messages import message, process
from demo_world import Process, Wave, stored

#: Snapshots before the world begins anew.
_LENGTH: Final = 90
_TICK_S: Final = 0.5
SECOND: Final = 10**9
#: Names of the made-up host's users.
USERS: Final = demo_world.USERS
#: What a kernel accepts as a name or a path, and a page must never take for anything but text.
HOSTILE: Final = (
    "<img src=x onerror=alert(1)>",
    "</span><script>alert(2)</script>",
    "javascript:alert(3)",
    "&lt;b&gt;{{7*7}}${7*7}",
)


def hostile() -> list[Process]:
    """Processes with such names, which move enough to be seen."""
    return [
        Process(50_000 + at, 1, name, 1000, f"{name} --title={name}", f"{name}.service", 100,
                f"/tmp/{name}", files=[stored(f"/tmp/{name}/{name}", 99_000 + at,
                                              out=Wave(700_000 - at))])
        for at, name in enumerate(HOSTILE)
    ]  # fmt: skip


def crowd(count: int) -> wire.Message:
    """One snapshot of many processes."""
    return message(
        [
            process(
                100 + at, f"worker-{at}".encode(), net_rx_bytes=at, net_rx_bytes_per_s=float(at)
            )
            for at in range(count)
        ],
        seq=5,
    )


class World:
    """Publishes on a socket, as the daemon does, until it is closed."""

    def __init__(
        self,
        path: Path,
        still: wire.Message | None = None,
        *,
        age: int = 0,
        more: Sequence[Process] | None = None,
    ) -> None:
        """``age``: of how many snapshots it knows the history; ``more``: processes beside the
        demonstration's, by default those with hostile names."""
        self._path = path
        self._still = still
        self._age = age
        self._more = hostile() if more is None else more
        self._streams: dict[wire.Topic, Iterator[wire.Message]] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        context = zmq.Context()
        publisher = context.socket(zmq.XPUB)
        publisher.setsockopt(zmq.LINGER, 0)
        publisher.bind(f"ipc://{self._path}")
        due, seq = 0.0, 100
        while not self._end.is_set():
            if publisher.poll(20):
                frame = bytes(publisher.recv())
                topic = wire.parse_topic(frame[1:])
                if frame[0]:
                    self._streams[topic] = self._stream(topic)
                    self._send(publisher, topic, seq)
                else:
                    self._streams.pop(topic, None)
            if time.monotonic() >= due:
                due, seq = time.monotonic() + _TICK_S, seq + 1
                for topic in tuple(self._streams):
                    self._send(publisher, topic, seq)
        publisher.close()
        context.term()

    def _send(self, publisher: zmq.Socket[bytes], topic: wire.Topic, seq: int) -> None:
        now = replace(
            next(self._streams[topic]),
            seq=seq,
            time_ns=time.time_ns(),
            now_ns=demo_world.BOOT_NS + int(seq * _TICK_S * SECOND),
            interval_ns=int(_TICK_S * SECOND),
        )
        publisher.send(wire.encode(topic, now))

    def _stream(self, topic: wire.Topic) -> Iterator[wire.Message]:
        if self._still is not None:
            return cycle([self._still])
        flows = topic.kind == "flows"
        return cycle(
            demo_world.messages(
                _LENGTH, flows=flows, more=self._more, pid=topic.pid, begin=self._age
            )
        )
