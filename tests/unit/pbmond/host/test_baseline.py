"""The baseline of this host: what is read, of whom, and what a refusal leaves."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbmond.host import baseline, sockdiag
from pbmond.host.procfs import Procfs
from pbmond.kernel.records import START_TICK_NS

LOG = logging.getLogger("test")


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def test_this_process_and_its_connection_are_in_the_baseline() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0],
    ):
        client.sendall(bytes(1234))
        found = baseline.read(Procfs(), now_ns() + START_TICK_NS, LOG)
        inode = os.fstat(client.fileno()).st_ino
        ports = client.getsockname()[1], client.getpeername()[1]
    (mine,) = (each for each in found.processes if each.pid == os.getpid())
    assert mine.read > 0
    (row,) = found.connections[found.connections["inode"] == inode].tolist()
    assert row == (0, 1234, Path("/proc/self/ns/net").stat().st_ino, inode, *ports)


def test_a_process_that_began_when_counting_had_begun_is_left_out() -> None:
    began_ns = now_ns()
    with subprocess.Popen(["sleep", "100"]) as late:
        pids = {each.pid for each in baseline.read(Procfs(), began_ns, LOG).processes}
        # Its tick has begun before, but may end after.
        sure = {each.pid for each in baseline.read(Procfs(), now_ns() + 10**9, LOG).processes}
        late.kill()
    assert late.pid not in pids
    assert late.pid in sure


def test_a_refused_list_of_connections_is_said_and_leaves_the_processes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(_asking: socket.socket) -> Iterator[sockdiag.TcpMoved]:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(sockdiag, "connections", refused)
    found = baseline.read(Procfs(), now_ns() + START_TICK_NS, LOG)
    assert not len(found.connections)
    assert os.getpid() in {each.pid for each in found.processes}
    assert "Operation not permitted" in caplog.text


def test_connections_beyond_the_limit_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def many(_asking: socket.socket) -> Iterator[sockdiag.TcpMoved]:
        yield from (sockdiag.TcpMoved(inode, 1, 2, 3, 4) for inode in range(10))

    monkeypatch.setattr(sockdiag, "connections", many)
    monkeypatch.setattr(baseline, "MAX_CONNECTIONS", 4)
    assert len(baseline.read(Procfs(), now_ns(), LOG).connections) == 4
