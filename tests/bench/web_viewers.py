"""A web server to measure, and viewers of it that are no browser: WebSockets that count bytes."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from pbmond.patience import patient

PATIENCE_S: Final = patient(30.0)
_TICKS_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server answers, and what lets a viewer in."""

    origin: str
    port: int
    bearer: dict[str, str]


class Server:
    """A running ``pbmon-client web``."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-m", "pbmon_client", "web", "--socket", str(path)]
        self.process = subprocess.Popen(
            [*command, "--listen", "0"], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.entrance = self.process.stdout.readline().strip()
        found = re.fullmatch(r"(http://127\.0\.0\.1:(\d+))/\?token=(\S+)", self.entrance)
        if found is None:
            raise SystemExit(f"the server did not start: {self.entrance!r}")
        self.origin = found[1]
        self.bearer = {"Authorization": f"Bearer {found[3]}"}
        self.address = Address(self.origin, int(found[2]), self.bearer)

    def cpu_s(self) -> float:
        """Return the processor time used so far."""
        text = Path(f"/proc/{self.process.pid}/stat").read_bytes().rpartition(b")")[2].split()
        return (int(text[11]) + int(text[12])) / _TICKS_S

    def rss_bytes(self) -> int:
        """Return the memory in use."""
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def percent(self, seconds: float) -> float:
        """Return the share of a core that it uses for a while."""
        before, began_s = self.cpu_s(), time.perf_counter()
        time.sleep(seconds)
        return 100 * (self.cpu_s() - before) / (time.perf_counter() - began_s)


@contextmanager
def server(path: Path) -> Iterator[Server]:
    """Run a server."""
    running = Server(path)
    try:
        yield running
    finally:
        running.process.terminate()
        running.process.wait()


class _CountingSocket(socket.socket):
    """Counts what it receives, as it was on the wire."""

    received = 0

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        data = super().recv(size, flags)
        self.received += len(data)
        return data


class Viewer:
    """The page's WebSocket, packed as a browser has it; a thread reads whatever comes."""

    def __init__(self, where: Address, **wish: Any) -> None:
        self._wish = wish
        self._number = 0
        self._answered = threading.Condition()
        self._views: dict[int, dict[str, Any]] = {}
        self.ticks = 0
        self._socket = _CountingSocket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.connect(("127.0.0.1", where.port))
        self._connection: ClientConnection = connect(
            where.origin.replace("http", "ws") + "/api/v1/page",
            sock=self._socket,
            additional_headers=where.bearer,
            open_timeout=PATIENCE_S,
            max_size=None,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        while self.ask().get("waiting"):
            time.sleep(0.5)

    @property
    def received(self) -> int:
        """Bytes that were received."""
        return self._socket.received

    def _read(self) -> None:
        with suppress(ConnectionClosed):
            for frame in self._connection:
                message = json.loads(frame)
                if message["type"] in ("error", "away"):
                    raise SystemExit(f"the server said {message}")
                if message["type"] == "view":
                    self.ticks += 1
                    with self._answered:
                        self._views = {message["wish"]: message}
                        self._answered.notify_all()

    def ask(self, **wish: Any) -> dict[str, Any]:
        """Wish for something; return the view that answers."""
        self._number += 1
        number = self._number
        self._connection.send(json.dumps({"wish": number, **self._wish, **wish}))
        with self._answered:
            if not self._answered.wait_for(lambda: number in self._views, PATIENCE_S):
                raise SystemExit(f"no answer to {wish}")
            return self._views[number]

    def close(self) -> None:
        """End it."""
        self._connection.close()
        self._thread.join()


@contextmanager
def viewers(where: Address, wishes: Sequence[dict[str, Any]]) -> Iterator[list[Viewer]]:
    """Open viewers, one for each wish."""
    with ExitStack() as stack:
        opened = []
        for wish in wishes:
            opened.append(Viewer(where, **wish))
            stack.callback(opened[-1].close)
        yield opened


@contextmanager
def crowd_elsewhere(where: Address, wishes: Sequence[dict[str, Any]]) -> Iterator[None]:
    """Open viewers in a process of their own, so that they do not slow down who measures."""
    context = multiprocessing.get_context("spawn")  # a fork would inherit threads half-way
    ours, theirs = context.Pipe()
    crowd = context.Process(target=_crowd, args=(theirs, where, wishes))
    crowd.start()
    theirs.close()
    try:
        if not ours.poll(PATIENCE_S):
            raise SystemExit("the viewers did not come")
        ours.recv()
        yield
    finally:
        ours.close()
        crowd.join()


def _crowd(until: Connection, where: Address, wishes: Sequence[dict[str, Any]]) -> None:
    with viewers(where, wishes):
        until.send(True)
        with suppress(EOFError):
            until.recv()


def answers_ms(viewer: Viewer, wishes: Sequence[dict[str, Any]], pause_s: float) -> list[float]:
    """Return how long each wish takes to be answered, at every phase of the publisher's second."""
    taken = []
    for wish in wishes:
        began_s = time.perf_counter()
        viewer.ask(**wish)
        taken.append((time.perf_counter() - began_s) * 1000)
        time.sleep(pause_s)
    return taken
