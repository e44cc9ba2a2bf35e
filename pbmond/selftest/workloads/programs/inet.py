"""Internet sockets that programs use: connected pairs, bound ones, and a plain exchange."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

from pbmond.selftest.workloads.programs.program import Run, offered


def family(host: str) -> socket.AddressFamily:
    """The family of an address in text."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def tcp_pair(
    host: str = "127.0.0.1", listen_on: str | None = None, protocol: int = 0
) -> tuple[socket.socket, socket.socket]:
    """A connected TCP client and the server's accepted end."""
    local = listen_on or host
    with offered(f"stream socket of protocol {protocol}"):
        listener = socket.socket(family(local), socket.SOCK_STREAM, protocol)
    with listener:
        listener.bind((local, 0))
        listener.listen()
        client = socket.socket(family(host), socket.SOCK_STREAM, protocol)
        client.connect((host, listener.getsockname()[1]))
        return client, listener.accept()[0]


def udp(host: str = "127.0.0.1") -> socket.socket:
    """A bound UDP socket."""
    sock = socket.socket(family(host), socket.SOCK_DGRAM)
    sock.bind((host, 0))
    return sock


def exchange(
    run: Run,
    ends: tuple[socket.socket, socket.socket],
    send: Callable[[int], int],
    receive: Callable[[int], int],
) -> Iterator[None]:
    """Send once each way over a connected TCP pair, with receives that match."""
    client, server = ends
    client_row = run.connection(client, direction="out")
    server_row = run.connection(server, direction="in")
    yield
    client_row.write(send(client.fileno()))
    server_row.read(receive(server.fileno()))
    server_row.write(send(server.fileno()), send(server.fileno()))
    client_row.read(receive(client.fileno()))
