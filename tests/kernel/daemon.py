"""A real daemon of the tests' own: started in a run directory of its own, read by subscription."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

from pbmond import wire

_PATIENCE_S = 30.0
_CONFIG = """
interval = {interval_s}
sockets = "{sockets}"
reads = "{reads}"
files = "{files}"
run_dir = "{directory}"
publisher_user = "nobody"
[linger]
exited = 120.0
[maps]
flows = {capacity}
files = {capacity}
"""


def now_ns() -> int:
    """Return CLOCK_BOOTTIME, which snapshots are dated by."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Daemon:
    """One running pbmond; a context manager that ends it."""

    def __init__(
        self,
        directory: Path,
        *,
        sockets: str = "auto",
        files: str = "auto",
        reads: str = "auto",
        interval_s: float = 0.2,
        capacity: int = 131_072,
        topic: bytes = b"all/flows",
    ) -> None:
        """Start it and wait for its first snapshot; ``directory`` must be empty."""
        self.directory = directory
        self.log = directory / "log"
        self.address = f"ipc://{directory}/pbmond.sock"
        config = directory / "pbmond.toml"
        config.write_text(
            _CONFIG.format(
                interval_s=interval_s,
                sockets=sockets,
                files=files,
                reads=reads,
                directory=directory,
                capacity=capacity,
            )
        )
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [Path(sys.executable).with_name("pbmond"), "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.RCVHWM, 4)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self._socket.setsockopt(zmq.SUBSCRIBE, topic)
        self._socket.connect(self.address)
        try:
            self.snapshot()
        except BaseException:
            self.stop()
            raise

    def snapshot(self, after_ns: int | None = None) -> wire.Message:
        """Return the first snapshot of all flows read after ``after_ns`` (default: now)."""
        after_ns = now_ns() if after_ns is None else after_ns
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"pbmond ended: {self.log.read_text()}")
            if self._socket.poll(100):
                _, message = wire.decode(self._socket.recv())
                if message.now_ns > after_ns:
                    return message
        raise RuntimeError(f"no snapshot: {self.log.read_text()}")

    def publisher(self) -> int:
        """Return the process id of the publisher."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        (pid,) = children.read_text().split()
        return int(pid)

    def stop(self) -> int:
        """End it and return its exit status."""
        self._socket.close(0)
        self._context.term()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
