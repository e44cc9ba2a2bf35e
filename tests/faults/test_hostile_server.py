"""A client at a socket of somebody else's: bounded memory, and one line that says so."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
import every_output
import hostile
import hostile_server as server

from pbmond import bounds

_CLIENT: Final = (sys.executable, "-m", "pbmon_client")
_MEGABYTE: Final = 1_000_000


def body(**members: object) -> bytes:
    return hostile.frame_of({**hostile.body_of(every_output.HONEST), **members}).replace(
        b"all/flows", b"all/processes", 1
    )


def large_name(connection: socket.socket) -> None:
    """A process whose name has 100 MB, which took 592 MB."""
    send_for_ever(connection, _with_large_name(), 0.5)


@cache
def _with_large_name() -> bytes:
    processes = hostile.body_of(every_output.HONEST)["processes"]
    processes["name"] = hostile.packed_names([b"x" * 100 * _MEGABYTE, b"y", None])
    return body(processes=processes)


def endless_interval(connection: socket.socket) -> None:
    send_for_ever(connection, body(interval_ns=2**64 - 1), 0.1)


def not_a_number(connection: socket.socket) -> None:
    send_for_ever(connection, body(history={"net_rx_bytes_per_s": [float("nan")]}), 0.1)


def too_large(connection: socket.socket) -> None:
    """A frame said to have a terabyte, sent for as long as it is read."""
    connection.sendall(server.head(10**12))
    while True:
        connection.sendall(bytes(_MEGABYTE))


def no_end(connection: socket.socket) -> None:
    """A frame as large as is allowed, whose last byte never comes."""
    connection.sendall(server.head(bounds.FRAME_BYTES))
    for _ in range(bounds.FRAME_BYTES // _MEGABYTE):
        connection.sendall(bytes(_MEGABYTE))
    time.sleep(60)


def parts(connection: socket.socket) -> None:
    """A message of frames without end: libzmq kept them all."""
    while True:
        connection.sendall(server.frame(bytes(100_000), server.MORE))


def babble(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"GET / HTTP/1.1\r\n" * 1000)


def flood(connection: socket.socket) -> None:
    """10,000 messages a second and more."""
    while True:
        connection.sendall(_ten_minutes())


@cache
def _ten_minutes() -> bytes:
    """A message for each second: a client too slow to notice a flood has something to show."""
    began = every_output.HONEST
    moments = (
        (began.seq + n, began.now_ns + n * 10**9, began.time_ns + n * 10**9) for n in range(600)
    )
    return b"".join(
        server.frame(body(seq=seq, now_ns=now_ns, time_ns=time_ns))
        for seq, now_ns, time_ns in moments
    )


def send_for_ever(connection: socket.socket, message: bytes, pause_s: float) -> None:
    while True:
        connection.sendall(server.frame(message))
        time.sleep(pause_s)


@contextmanager
def running(path: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    client = subprocess.Popen(
        [*_CLIENT, "--socket", str(path), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield client
    finally:
        client.kill()
        client.communicate()


SAYS: Final = {
    large_name: "another version of the protocol",
    endless_interval: "interval_ns is not an integer from 0 to",
    not_a_number: "history.net_rx_bytes_per_s holds nan",
    too_large: "does not speak this language, or sends more than 128 MiB",
    no_end: "sent nothing within 4 s",
    parts: "a message of several parts",
    babble: "does not speak this language",
}


@pytest.mark.parametrize("speech", SAYS, ids=lambda speech: speech.__name__)
@pytest.mark.parametrize("output", ["--ndjson", "--once"])
def test_a_hostile_server_is_one_line_and_1(
    tmp_path: Path, speech: server.Speech, output: str
) -> None:
    path = tmp_path / "socket"
    patience = "4" if speech in (too_large, no_end, babble) else "60"
    with (
        server.HostileServer(path, speech, greets=speech is not babble),
        running(path, output, "--wait", patience) as client,
    ):
        out, err = client.communicate(timeout=120)
    assert (client.returncode, out) == (1, "")
    assert err.count("\n") == 1
    assert SAYS[speech] in err  # type: ignore[index]  # the key is one of them


#: Runs a program and prints its peak in KiB. A process that was large itself would leave its own
#: peak to the program: the kernel keeps what was before execve(2) (exec_mmap, fs/exec.c).
_PEAK: Final = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.parametrize("speech", [large_name, too_large, no_end, flood, parts])
def test_a_hostile_server_costs_little_memory(tmp_path: Path, speech: server.Speech) -> None:
    """Peak of the client's own memory; the process without a message takes about 45 MB."""
    path = tmp_path / "socket"
    client = [*_CLIENT, "--socket", str(path), "--ndjson", "-n", "50"]
    with server.HostileServer(path, speech):
        said = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PEAK, *client],
            capture_output=True,
            check=True,
            text=True,
        )
    assert int(said.stdout) / 1024 < 45 + 3 * (bounds.FRAME_BYTES >> 20)
