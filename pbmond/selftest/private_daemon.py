"""A private daemon: started in its own run directory, read by subscription."""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, Self

import zmq

from pbmond import wire
from pbmond.loader import ownership
from pbmond.patience import handed_down, patient

_PR_SET_PDEATHSIG: Final = 1
_SNAPSHOT_TIMEOUT_S: Final = 30.0
_END_S: Final = 10.0
_PUBLISHER: Final = "pbmond-publish\n"  # its comm
_KEPT_S: Final = 600.0  # keep the rows of exited processes for the last snapshot
_KEPT_MOST_S: Final = 86_400.0  # the most that the configuration allows
_PACKAGE_ROOT: Final = Path(__file__).resolve().parents[2]
_PBMOND: Final = (sys.executable, "-s", "-P", "-m", "pbmond")
#: Its strings are given as JSON, which TOML takes, too.
_CONFIG: Final = """
interval = {interval_s}
sockets = "{sockets}"
reads = "{reads}"
files = "{files}"
baseline = {baseline}
run_dir = {directory}
publisher_user = {publisher_user}
bcc_python = {bcc_python}
[linger]
exited = {exited_linger_s}
idle = {kept_s}
[maps]
flows = {capacity}
files = {capacity}
"""


class DaemonError(Exception):
    """The daemon did not start, ended early, or did not end. The message is one line."""


@cache
def switches(*, allowed: bool = False) -> list[str]:
    """Return the options that let a daemon start whose code is this process's.

    If others may change that, this process runs it already: the daemon adds nothing to it.
    """
    return [ownership.SWITCH] if allowed or ownership.refusal() else []


def _end_with_parent() -> None:
    """Let the process that is about to start receive SIGTERM when this one is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM), 0, 0, 0)


def _descendants(pid: int) -> Iterator[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in map(int, children):
        yield child
        with suppress(OSError):  # it has ended meanwhile
            yield from _descendants(child)


def now_ns() -> int:
    """Return CLOCK_BOOTTIME, the clock of snapshots."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Daemon:
    """One running pbmond. A context manager that ends it."""

    def __init__(
        self,
        directory: Path,
        *,
        sockets: str = "auto",
        files: str = "auto",
        baseline: bool = False,
        reads: str = "auto",
        interval_s: float = 0.2,
        capacity: int = 131_072,
        exited_linger_s: float | None = None,
        topic: bytes = b"all/flows",
        publisher_user: str = "nobody",
        bcc_python: Path | None = None,
        prefix: tuple[str, ...] = (),
        allow_unsafe_code: bool = False,
    ) -> None:
        """Start it in an empty directory and wait for its first snapshot.

        ``exited_linger_s`` None: as long as a whole self-test takes; ``prefix``: what runs it.
        """
        self.directory, self.log = directory, directory / "log"
        self.address = f"ipc://{directory}/pbmond.sock"
        kept_s = min(patient(_KEPT_S), _KEPT_MOST_S)
        config = _CONFIG.format(
            interval_s=interval_s,
            sockets=sockets,
            files=files,
            baseline=str(baseline).lower(),
            reads=reads,
            directory=json.dumps(str(directory)),
            publisher_user=json.dumps(publisher_user),
            bcc_python=json.dumps(str(bcc_python or "")),
            capacity=capacity,
            exited_linger_s=kept_s if exited_linger_s is None else exited_linger_s,
            kept_s=kept_s,
        )
        self.process = self._start(config, prefix, switches(allowed=allow_unsafe_code))
        self._follow(topic)

    def _follow(self, topic: bytes) -> None:
        """Subscribe, and wait for the first snapshot; end the daemon if there is none."""
        self._context = zmq.Context()
        self._socket = self._subscribe(topic)
        try:
            self.snapshot()
        except BaseException:
            with suppress(DaemonError):
                self.stop()
            raise

    def _start(
        self, config: str, prefix: tuple[str, ...], options: list[str]
    ) -> subprocess.Popen[bytes]:
        file = self.directory / "pbmond.toml"
        file.write_text(config)
        with self.log.open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - this interpreter and a file of ours
                [*prefix, *_PBMOND, "--config", str(file), *options],
                stdin=subprocess.DEVNULL,
                stderr=log,
                env={"PYTHONPATH": str(_PACKAGE_ROOT), "LC_ALL": "C.UTF-8", **handed_down()},
                start_new_session=True,  # this process handles Ctrl-C
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - no thread runs yet: zmq starts later
            )

    def _subscribe(self, topic: bytes) -> zmq.Socket[bytes]:
        sock = self._context.socket(zmq.SUB)
        sock.setsockopt(zmq.RCVHWM, 4)
        sock.setsockopt(zmq.RECONNECT_IVL, 20)
        sock.setsockopt(zmq.SUBSCRIBE, topic)
        sock.connect(self.address)
        return sock

    def snapshot(self, after_ns: int | None = None) -> wire.Message:
        """Return the first snapshot of all flows read after ``after_ns`` (default: now).

        Raises DaemonError if there is none.
        """
        after_ns = now_ns() if after_ns is None else after_ns
        deadline = time.monotonic() + patient(_SNAPSHOT_TIMEOUT_S)
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise DaemonError(self._last_words("the daemon ended"))
            if self._socket.poll(100):
                _, message = wire.decode(self._socket.recv())
                if message.now_ns > after_ns:
                    return message
        raise DaemonError(self._last_words("the daemon publishes no snapshot"))

    def _last_words(self, otherwise: str) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return lines[-1] if lines else otherwise

    def children(self) -> list[int]:
        """Return the process ids of the daemon's other processes."""
        return list(_descendants(self.process.pid))

    def publisher(self) -> int:
        """Return the process id of the publisher."""
        names = {}
        for pid in self.children():
            with suppress(OSError):  # it has ended meanwhile
                names[pid] = Path(f"/proc/{pid}/comm").read_text()
        (pid,) = (pid for pid, name in names.items() if name == _PUBLISHER)
        return pid

    def stop(self) -> int:
        """End it and return its exit status. DaemonError if it had to be killed."""
        self._socket.close(0)
        self._context.term()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(limit_s := patient(_END_S))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise DaemonError(f"the daemon did not end within {limit_s:g} s: killed") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
