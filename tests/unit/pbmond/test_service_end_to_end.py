"""From a fake kernel through store, wire, a real publisher process and libzmq to a subscriber."""

from __future__ import annotations

import logging
import os
import pwd
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq

from pbmond import wire
from pbmond.children.starter import Starter
from pbmond.collector import Clock, Collector, RunIdentity
from pbmond.containers.asking import NameLookup
from pbmond.patience import patient
from pbmond.publish.supervisor import Supervisor
from pbmond.service import Service
from pbmond.store.store import Store, StoreOptions
from pbmond.system.rundir import hold
from pbmond.wire import Message, Topic
from tests import factories
from tests.fake_kernel import FakeHost, FakeKernel, FakeProc, FakeSignals

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up being root")

SECOND = 1_000_000_000
PATIENCE_MS = round(patient(60_000))


class Running:
    """The service in a thread of its own, ten ticks a second."""

    def __init__(self, directory: Path) -> None:
        nobody = pwd.getpwnam("nobody")
        self.path = directory / "pbmond.sock"
        self.kernel = FakeKernel()
        self.kernel.events = [factories.seen()]
        self.move(10)
        clock, log = Clock(), logging.getLogger("test")
        store = Store(StoreOptions(SECOND, SECOND, 60, lambda *_: True), clock.boot())
        identity = RunIdentity("host", "boot", "epoch", os.getpid(), 0)
        collector = Collector(
            *(self.kernel, FakeProc(), store, identity, clock),
            host=FakeHost(),
            containers=NameLookup(None, log),
        )
        self.held = ExitStack()
        listener = self.held.enter_context(hold(directory))
        starter = self.held.enter_context(
            Starter(listener, nobody.pw_uid, nobody.pw_gid, "pbmon", log)
        )
        self.supervisor = Supervisor(starter.publisher, log)
        service = Service(collector, self.supervisor, SECOND // 10, clock, log)
        self.signals = FakeSignals()
        self.thread = threading.Thread(
            target=service.run, args=(self.kernel.events_fd, self.signals)
        )
        self.thread.start()
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.SUB)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
        self.socket.connect(f"ipc://{self.path}")

    def move(self, rx_bytes: int) -> None:
        values = (rx_bytes, 0, 1, 0)
        self.kernel.flows = [(factories.flow_key(), factories.counter(1, "net", values))]

    def receive(self) -> tuple[Topic, Message]:
        return wire.decode(self.socket.recv())

    def stop(self) -> None:
        self.signals.send(b"E")
        self.thread.join(PATIENCE_MS / 1000)
        assert not self.thread.is_alive()

    def close(self) -> None:
        if self.thread.is_alive():
            self.stop()
        self.supervisor.close()
        self.held.close()
        self.socket.close()
        self.context.term()
        self.kernel.close()
        self.signals.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_bytes_in_the_kernel_are_bytes_at_the_subscriber(running: Running) -> None:
    running.socket.subscribe(b"all/flows/7")
    topic, message = running.receive()
    assert topic == Topic(None, "flows", 7)
    assert message.totals["net_rx_bytes"] == 10
    running.move(1010)
    while message.totals["net_rx_bytes"] == 10:
        before, (_, message) = message, running.receive()
    assert message.connections is not None
    (connection,) = message.connections.rows()
    assert connection["rx_bytes"] == message.totals["net_rx_bytes"] == 1010
    assert connection["rx_bytes_per_s"] == pytest.approx(1000 * SECOND / message.interval_ns)
    assert (message.epoch, message.seq > before.seq) == ("epoch", True)


def test_a_publisher_that_dies_loses_frames_and_no_bytes(running: Running) -> None:
    running.socket.subscribe(b"all/processes")
    _, first = running.receive()
    running.move(5000)
    for _ in range(2):
        pid = running.supervisor.pid
        assert pid is not None
        os.kill(pid, 9)
        while running.supervisor.pid in (pid, None):
            running.socket.poll(10)
        while running.socket.poll(0):
            running.socket.recv()
        _, message = running.receive()
    assert message.epoch == first.epoch
    assert message.totals["net_rx_bytes"] == 5000


def test_it_stops_with_a_subscriber_attached(running: Running) -> None:
    running.socket.subscribe(b"all/processes")
    running.receive()
    running.stop()
