"""What another user might do to the publisher's socket; standard library only.

Run as ``python hostile_viewer.py SOCKET UID SECONDS ATTACK``; it becomes UID first, and says how
often it did what it did when it ends.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import sys
import time
from collections.abc import Callable

GREETING = (b"\xff" + bytes(8) + b"\x7f\3\1" + b"NULL".ljust(20, b"\0")).ljust(64, b"\0")
READY = b"\4\x19\5READY\x0bSocket-Type\0\0\0\3SUB"
OPENING = GREETING + READY


def message(text: bytes) -> bytes:
    """Return a subscription of ZMTP 3.0."""
    return struct.pack("!BQ", 2, 1 + len(text)) + b"\1" + text


def connect(path: str) -> socket.socket:
    """Return a new connection, which never blocks for long."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(1)
    sock.connect(path)
    return sock


def connects(path: str, _held: list[socket.socket]) -> None:
    """Come and go."""
    connect(path).close()


def half_open(path: str, held: list[socket.socket]) -> None:
    """Begin a handshake or a frame, and say no more; keep hundreds of those."""
    sock = connect(path)
    opening = OPENING + b"\0\x20\1all/proc"
    sock.sendall(opening[: random.randrange(len(opening))])
    held.append(sock)
    if len(held) > 300:
        held.pop(0).close()


def idles(path: str, held: list[socket.socket]) -> None:
    """Connect 2,000 times and say nothing; then look on."""
    if len(held) < 2000:
        held.append(connect(path))
    else:
        time.sleep(0.1)


def subscriptions(path: str, _held: list[socket.socket]) -> None:
    """Subscribe 200,000 times to what does not exist, on one connection if it lasts."""
    with connect(path) as sock:
        sock.sendall(OPENING)
        for number in range(200_000):
            sock.sendall(message(b"all/flows/%d" % number))


def big_topic(path: str, _held: list[socket.socket]) -> None:
    """Subscribe to 20 MB."""
    with connect(path) as sock:
        sock.sendall(OPENING + message(bytes(20_000_000)))


def pings(path: str, _held: list[socket.socket]) -> None:
    """Ask for answers that are never read."""
    with connect(path) as sock:
        sock.sendall(OPENING)
        for _turn in range(1000):
            sock.sendall(b"\4\x0f\4PING\0\0abcdefgh" * 100)


def floods(path: str, _held: list[socket.socket]) -> None:
    """Subscribe and unsubscribe what is granted, as fast as it goes."""
    own = b"uid/%d/processes" % os.geteuid()
    off = struct.pack("!BB", 0, 1 + len(own)) + b"\0" + own
    with connect(path) as sock:
        sock.sendall(OPENING)
        for _turn in range(1000):
            sock.sendall((message(own) + off) * 100)


def fuzz(path: str, _held: list[socket.socket]) -> None:
    """Send a conversation with a few bytes changed, cut off, or repeated."""
    said = bytearray(OPENING + message(b"uid/%d/processes" % os.geteuid()))
    said += b"\4\x0b\4PING\0\1abcd" + b"\4\x0e\6CANCELuid/1/" + b"\1\4\1all"
    for _turn in range(random.randrange(6)):
        at = random.randrange(len(said))
        choice = random.randrange(4)
        if choice == 0:
            said[at] = random.randrange(256)
        elif choice == 1:
            del said[at:]
            said += bytes(1)
        elif choice == 2:
            said[at:at] = random.randbytes(random.randrange(1, 40))
        else:
            said[at:at] = said[at // 2 : at]
    with connect(path) as sock:
        for at in range(0, len(said), 200):
            sock.send(said[at : at + 200])
        if random.random() < 0.5:
            sock.settimeout(0.001)
            sock.recv(1000)


ATTACKS: dict[str, Callable[[str, list[socket.socket]], None]] = {
    each.__name__: each
    for each in (connects, half_open, idles, subscriptions, big_topic, pings, floods, fuzz)
}


def main(path: str, uid: int, seconds: float, attack: str) -> None:
    """Do it for so long."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    held: list[socket.socket] = []
    end = time.monotonic() + seconds
    times = 0
    while time.monotonic() < end:
        try:
            ATTACKS[attack](path, held)
            times += 1
        except OSError:
            times += 1  # hung up on, or no room at the door
    print(times, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
