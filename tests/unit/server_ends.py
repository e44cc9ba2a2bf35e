"""The server's end of a TCP connection, as the kernel has it."""

from __future__ import annotations

import socket
from pathlib import Path


def is_connected(port: int, peer: socket.socket) -> bool:
    """Whether a server's end of a peer's connection is there, be it only the kernel's buffers.

    The peer's own end says less: the kernel sends a reset once, and the peer ignores one that falls
    outside a window that has shrunk (RFC 5961).
    """
    ends = (f":{port:04X}", f":{peer.getsockname()[1]:04X}")
    lines = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
    return any(tuple(each[-5:] for each in line.split()[1:3]) == ends for line in lines)
