"""What the kernel counted before the daemon and what the daemon counted add up, to the byte."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from processes import row_of
from waiting import snapshot_when

from pbmond import wire
from pbmond.fields import CLASSES, NO_COUNT, counter_names
from pbmond.selftest.private_daemon import Daemon

_PROCESS = ("before_read_bytes", "before_write_bytes")
_DISK = {f"before_disk_{way}_bytes": f"disk_{way}_bytes" for way in ("read", "write")}
_CONNECTION = ("before_rx_bytes", "before_tx_bytes")
#: Has a file and both ends of a TCP connection, and moves bytes as a line of numbers says: written
#: to the file and read from it, sent and received. It answers by a line on a pipe.
_MOVE = """
import os, socket, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
listener = socket.create_server((sys.argv[2], 0), family=int(sys.argv[3]))
client = socket.create_connection(listener.getsockname()[:2])
server, _ = listener.accept()
def whole(end, size):
    while size:
        size -= len(end.recv(size))
for line in sys.stdin:
    written, read, sent, received = map(int, line.split())
    os.pwrite(file, bytes(written), 0)
    os.pread(file, read, 0)
    client.sendall(bytes(sent))
    whole(server, received)
    print(os.fstat(client.fileno()).st_ino, os.fstat(server.fileno()).st_ino, flush=True)
"""


class Mover:
    """A process that moves what it is told to; quiet between two lines."""

    def __init__(
        self, scratch: Path, address: str = "127.0.0.1", prefix: tuple[str, ...] = ()
    ) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        place = str(scratch / "file"), address, str(int(family))
        self.running = subprocess.Popen(
            [*prefix, sys.executable, "-I", "-c", _MOVE, *place],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.running.pid
        self.inodes = (0, 0)

    def move(self, *sizes: int) -> None:
        assert self.running.stdin is not None
        assert self.running.stdout is not None
        self.running.stdin.write(" ".join(map(str, sizes)) + "\n")
        self.running.stdin.flush()
        client, server = map(int, self.running.stdout.readline().split())
        self.inodes = client, server

    def end(self) -> None:
        assert self.running.stdin is not None
        self.running.stdin.close()
        self.running.wait()
        assert self.running.stdout is not None
        self.running.stdout.close()

    def ends(self, message: wire.Message) -> list[dict[str, Any]]:
        """Return the rows of the client's and of the server's end."""
        assert message.connections is not None
        rows = {row["inode"]: row for row in message.connections.rows() if row["pid"] == self.pid}
        return [rows[inode] for inode in self.inodes]


@contextmanager
def mover(scratch: Path, **more: Any) -> Iterator[Mover]:
    made = Mover(scratch, **more)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def accounting(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return {name: int(value) for name, _, value in (line.partition(": ") for line in lines)}


def by_calls(row: dict[str, Any], kinds: tuple[str, ...] = CLASSES) -> tuple[int, int]:
    names = [counter_names(kind) for kind in kinds]
    return sum(row[each[0]] for each in names), sum(row[each[1]] for each in names)


def moved(row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(row[name] for name in (*_CONNECTION, "rx_bytes", "tx_bytes"))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_bytes_before_and_bytes_counted_are_each_exact(
    tmp_path: Path, run: Path, address: str
) -> None:
    with mover(tmp_path, address=address) as one:
        one.move(40_000, 30_000, 5_000, 3_000)  # 2,000 wait to be received
        first = accounting(one.pid)
        with Daemon(run, baseline=True) as daemon:
            one.move(777, 555, 333, 2_111)
            message = daemon.snapshot()
            last = accounting(one.pid)
    row = row_of(message, one.pid)
    assert tuple(row[name] for name in _PROCESS) == (first["rchar"], first["wchar"])
    # Pipes carry the orders and answers; recv() and send() are not in rchar and wchar.
    called = by_calls(row, ("file", "pipe", "device"))
    assert called == (last["rchar"] - first["rchar"], last["wchar"] - first["wchar"])
    assert (row["file_read_bytes"], row["file_write_bytes"]) == (555, 777)
    client, server = one.ends(message)
    assert moved(client) == (0, 5_000, 0, 333)
    assert moved(server) == (3_000, 0, 2_111, 0)


def test_disk_bytes_before_and_counted_are_the_kernels(tmp_path: Path, run: Path) -> None:
    with mover(tmp_path) as one:
        one.move(40_000, 1, 1, 1)
        first = accounting(one.pid)
        with Daemon(run, baseline=True) as daemon:
            one.move(400_000, 1, 1, 1)
            last = accounting(one.pid)
            after = last["read_bytes"], last["write_bytes"]

            def missing(message: wire.Message) -> str:  # it may be looked at in a later round
                row = row_of(message, one.pid)
                said = tuple(row[name] + row[counted] for name, counted in _DISK.items())
                return "" if said == after else f"{after}, it is {said}"

            message = snapshot_when(daemon, missing)
    row = row_of(message, one.pid)
    assert tuple(row[name] for name in _DISK) == (first["read_bytes"], first["write_bytes"])


def test_without_the_baseline_nothing_is_known(tmp_path: Path, run: Path) -> None:
    with mover(tmp_path) as one:
        one.move(40, 30, 20, 10)
        with Daemon(run) as daemon:
            one.move(1, 1, 1, 11)
            message = daemon.snapshot()
    row = row_of(message, one.pid)
    assert {row[name] for name in (*_PROCESS, *_DISK)} == {NO_COUNT}
    assert {row[name] for row in one.ends(message) for name in _CONNECTION} == {NO_COUNT}


def test_what_begins_after_the_daemon_has_no_before(tmp_path: Path, run: Path) -> None:
    with Daemon(run, baseline=True) as daemon, mover(tmp_path) as one:
        one.move(40, 30, 20, 10)
        message = daemon.snapshot()
    row = row_of(message, one.pid)
    assert {row[name] for name in (*_PROCESS, *_DISK)} == {NO_COUNT}
    assert {row[name] for row in one.ends(message) for name in _CONNECTION} == {NO_COUNT}


def test_a_connection_in_another_network_namespace_is_known_too(tmp_path: Path, run: Path) -> None:
    prefix = "unshare", "--net", "sh", "-ec", 'ip link set lo up; exec "$@"', "sh"
    with mover(tmp_path, prefix=prefix) as one:
        one.move(1, 1, 5_000, 5_000)
        with Daemon(run, baseline=True) as daemon:
            one.move(1, 1, 22, 22)
            message = daemon.snapshot()
        theirs = Path(f"/proc/{one.pid}/ns/net").stat().st_ino
    client, server = one.ends(message)
    assert client["netns"] == theirs
    assert moved(client) == (0, 5_000, 0, 22)
    assert moved(server) == (5_000, 0, 22, 0)
