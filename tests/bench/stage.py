"""Where the paths of other_tools.py run: processes that wait, move bytes, wait; and their peers.

Each is forked from the bench, so nothing but what it is told to move is on its account; it is told
by signals and answers through shared memory, which move no bytes.
"""

from __future__ import annotations

import json
import mmap
import os
import selectors
import signal
import socket
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from paths import CHUNK, NEAR, NEWNET, PATHS, STEPS, Forked, Stage, Work, fork

from pbmond.patience import patient
from pbmond.selftest.workloads.programs import kernel

INTERFACE = "pbmbench0"
_FAR_INTERFACE, _FAR = "pbmbench1", "198.51.100.2"
_HUNG_AFTER_S = patient(60)


class Mover:
    """One path in a process of its own, which waits for run() and lives until end()."""

    def __init__(self, work: Work, stage: Stage) -> None:
        """Fork it; SIGUSR1 must be blocked."""
        self.rows = PATHS[work]
        self._name, self._ended = work.__name__, False
        self._memory = mmap.mmap(-1, 1 << 16)  # its answer; the first byte says that it is there
        self.process = fork()
        if self.process.pid == 0:
            self._live(work, stage)

    def _live(self, work: Work, stage: Stage) -> None:
        try:
            signal.sigwait([signal.SIGUSR1])
            answer = {"moved": work(stage), "children": stage.children}
            text = json.dumps(answer).encode()
            self._memory[1 : 1 + len(text)] = text
            self._memory[0] = 1
            signal.sigwait([signal.SIGUSR1])
        except BaseException:  # noqa: BLE001 - nothing may return into the parent's code
            traceback.print_exc()
        finally:
            os._exit(1)

    def run(self, watch: Callable[[], None]) -> tuple[list[int], list[Forked]]:
        """Let it move its bytes: how many of each row, and the processes that moved them.

        ``watch`` is called again and again until it has.
        """
        os.kill(self.process.pid, signal.SIGUSR1)
        deadline = time.monotonic() + _HUNG_AFTER_S
        while not self._memory[0]:
            ended = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended or time.monotonic() > deadline:
                raise SystemExit(f"{self._name}: it failed or hangs")
            watch()
        watch()
        answer = json.loads(self._memory[1:].rstrip(b"\0"))
        children = [Forked(*child) for child in answer["children"]]
        return answer["moved"], children or [self.process]

    def end(self) -> None:
        """End it, once."""
        if not self._ended:
            self._ended = True
            os.kill(self.process.pid, signal.SIGKILL)
            os.waitpid(self.process.pid, 0)


@contextmanager
def stage(scratch: Path) -> Iterator[Stage]:
    """Make the source file, the sink, and the namespace with its veth pair."""
    source = scratch / "source"
    with source.open("wb") as file:
        for _ in range(STEPS):
            file.write(CHUNK)
        file.flush()
        os.fsync(file.fileno())
    listener = socket.create_server(("0.0.0.0", 0))
    with listener, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", listener.getsockname()[1]))
        pids = [_fork_sink(listener, datagrams), _fork_holder()]
        try:
            yield Stage(scratch, source, datagrams.getsockname(), pids[1])
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _fork_sink(listener: socket.socket, datagrams: socket.socket) -> int:
    """Fork a process that takes whatever comes."""
    pid = kernel.fork_bound()
    if pid:
        return pid
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(datagrams, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            if sock is listener:
                selector.register(sock.accept()[0], selectors.EVENT_READ)
            elif not sock.recv(len(CHUNK)):
                selector.unregister(sock)
                sock.close()


def _fork_holder() -> int:
    """Fork a process in a network namespace of its own, with a veth pair to this one."""
    # A pipe says when it is in: the holder itself is not judged.
    read_end, write_end = os.pipe()
    pid = kernel.fork_bound()
    if pid == 0:
        kernel.unshare(NEWNET)
        os.write(write_end, b"\n")
        while True:
            signal.pause()
    os.read(read_end, 1)
    inside = ["nsenter", "-t", str(pid), "-n"]
    for command in (
        ["ip", "link", "add", INTERFACE, "type", "veth", "peer", "name", _FAR_INTERFACE,
         "netns", str(pid)],
        ["ip", "address", "add", f"{NEAR}/24", "dev", INTERFACE],
        ["ip", "link", "set", INTERFACE, "up"],
        [*inside, "ip", "address", "add", f"{_FAR}/24", "dev", _FAR_INTERFACE],
        [*inside, "ip", "link", "set", _FAR_INTERFACE, "up"],
    ):  # fmt: skip
        subprocess.run(command, check=True)
    return pid
