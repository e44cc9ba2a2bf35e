"""A publisher on a real socket, in place of the daemon, for tests of the client."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import zmq

from pbmond import wire
from pbmond.patience import patient

PATIENCE_S = patient(60.0)  # for what must happen; a loaded machine is no failure


class Publisher:
    """Publishes what a test hands it, as the daemon does: the last message again to a newcomer."""

    def __init__(self, path: Path) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(f"ipc://{path}")
        self.wanted: set[str] = set()

    def hear(self, done: Callable[[set[str]], bool]) -> None:
        """Wait until the topics that are wanted are as told."""
        deadline = time.monotonic() + PATIENCE_S
        while not done(self.wanted):
            assert time.monotonic() < deadline, f"wanted are only {self.wanted}"
            if self._socket.poll(50):
                frame = bytes(self._socket.recv())
                change = self.wanted.add if frame[0] else self.wanted.discard
                change(frame[1:].decode())

    def expect(self, *topics: wire.Topic) -> None:
        self.hear(lambda wanted: {str(topic) for topic in topics} <= wanted)

    def send(self, topic: wire.Topic, sent: wire.Message) -> None:
        self._socket.send(wire.encode(topic, sent))

    def refuse(self, topic: wire.Topic, why: str = wire.NOT_YOURS) -> None:
        """Wait until ``topic`` is wanted, and refuse it."""
        self.expect(topic)
        self._socket.send(wire.refusal(topic, why))

    def send_raw(self, frame: bytes) -> None:
        self._socket.send(frame)

    def close(self) -> None:
        self._socket.close()
        self._context.term()
