"""A real publisher with its supervisor, ticking, and viewers of several users."""

from __future__ import annotations

import logging
import os
import pwd
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

import zmq

from pbmond.children.starter import Starter
from pbmond.patience import patient
from pbmond.publish.supervisor import Process, Supervisor
from pbmond.system.rundir import hold
from pbmond.wire import Topic

NOBODY: Final = pwd.getpwnam("nobody")
HERE: Final = Path(__file__).parent
PATIENCE_S: Final = patient(60.0)
TICK_S: Final = 0.1


class Stage:
    """Sends ``TOPIC NUL number`` for each wanted topic at each tick, as a daemon would."""

    def __init__(self, directory: Path, descriptors: int | None) -> None:
        self.starts = 0
        self.wanted: dict[Topic, None] = {}  # the one that has waited longest comes first
        self.padding = b""
        self._held = ExitStack()
        listener = self._held.enter_context(hold(directory))
        self.path = directory / "pbmond.sock"
        log = logging.getLogger("test")
        starter = self._held.enter_context(
            Starter(listener, NOBODY.pw_uid, NOBODY.pw_gid, "pbmon", log)
        )

        def limited(feed: socket.socket) -> Process:
            process = starter.publisher(feed)
            if descriptors is not None:  # long before it has loaded its code, and is not root
                limits = (descriptors, descriptors)
                resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
            return process

        self.supervisor = Supervisor(limited, log)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._children: list[subprocess.Popen[str]] = []
        self.context = zmq.Context()
        self._sockets: list[zmq.Socket[bytes]] = []
        self._thread.start()

    def _run(self) -> None:
        number = 0
        due = time.monotonic()
        while not self._ending.wait(0.01):
            if self.supervisor.ensure(time.monotonic_ns()):
                self.starts += 1
                self.wanted.clear()
            for demand in self.supervisor.receive():
                self.wanted.pop(demand.topic, None)
                if demand.wanted:
                    self.wanted[demand.topic] = None
            if time.monotonic() >= due:
                due = max(due + TICK_S, time.monotonic())
                number += 1
                self._tick(number, due)
        self.supervisor.close()

    def _tick(self, number: int, due: float) -> None:
        for topic in tuple(self.wanted):
            while not self.supervisor.has_room(time.monotonic_ns()):
                if time.monotonic() > due or self.supervisor.fd is None:
                    return
                time.sleep(0.0005)
            self.supervisor.send(b"%s\0%d\0" % (str(topic).encode(), number) + self.padding)
            self.wanted[topic] = self.wanted.pop(topic)

    def subscriber(self, topic: Topic) -> zmq.Socket[bytes]:
        """Return root's viewer of a topic."""
        sock = self.context.socket(zmq.SUB)
        self._sockets.append(sock)
        sock.setsockopt(zmq.LINGER, 0)
        sock.setsockopt(zmq.RCVTIMEO, int(PATIENCE_S * 1000))
        sock.setsockopt(zmq.RECONNECT_IVL, 50)
        sock.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        sock.connect(f"ipc://{self.path}")
        sock.subscribe(str(topic).encode())
        return sock

    def attack(self, uid: int, seconds: float, kind: str) -> subprocess.Popen[str]:
        """Start an attack of user ``uid``."""
        command = [str(HERE / "hostile_viewer.py"), str(self.path), str(uid), str(seconds), kind]
        return self._start(command)

    def viewer(self, uid: int, *commands: str) -> subprocess.Popen[str]:
        """Start a viewer of user ``uid``, as the unit tests' ``viewer.py`` describes."""
        script = HERE.parent / "unit/viewer.py"
        return self._start([str(script), str(self.path), str(uid), *commands])

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._children.append(child)
        return child

    def publisher_kb(self) -> int:
        """Return the publisher's greatest resident memory in kB."""
        lines = Path(f"/proc/{self.supervisor.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

    def close(self) -> None:
        """End everything."""
        self._ending.set()
        self._thread.join()
        for child in self._children:
            child.kill()
            child.communicate()
        for sock in self._sockets:
            sock.close()
        self.context.term()
        self._held.close()


def number_of(frame: bytes) -> int:
    """Return the tick of a frame that the stage sent."""
    return int(frame.split(b"\0", 2)[1])


def gaps_while(sock: zmq.Socket[bytes], *children: subprocess.Popen[str]) -> list[int]:
    """Receive until the children have ended and nothing waits; return the steps between ticks."""
    numbers = [number_of(sock.recv()), number_of(sock.recv())]
    while any(child.poll() is None for child in children) or sock.poll(0):
        numbers.append(number_of(sock.recv()))
    return [later - earlier for earlier, later in pairwise(numbers)]


@contextmanager
def stage(descriptors: int | None = None) -> Iterator[Stage]:
    """Yield a stage in a run directory that any user may enter."""
    assert os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        made = Stage(directory, descriptors)
        try:
            yield made
        finally:
            made.close()
