"""The socket of the server of the past: made, where no other server answers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_BACKLOG: Final = 128
#: Everybody may connect; who it is, the kernel says.
_MASK: Final = 0o111


class OccupiedError(Exception):
    """Something else is at the path; the message says what."""


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Listen at a path, and remove it at the end. OSError or OccupiedError if that cannot be.

    The directory must exist. What an ended server left there is replaced.
    """
    sock = _listen(path)
    made = path.lstat()
    try:
        yield sock
    finally:
        sock.close()
        with suppress(OSError):  # somebody else removed it
            now = path.lstat()
            if (now.st_dev, now.st_ino) == (made.st_dev, made.st_ino):
                path.unlink()


def _listen(path: Path) -> socket.socket:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    mask = os.umask(_MASK)
    try:
        sock.bind(os.fsencode(path))
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(mask)
    return sock


def _remove_stale(path: Path) -> None:
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_socket():
        raise OccupiedError(f"{path} exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as other:
        try:
            other.connect(os.fsencode(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass  # it lives, and has many connections
    raise OccupiedError(f"another server answers at {path}")
