"""What the daemon asks of the loader, and how the loader answers on its socket.

The daemon sends one line of JSON. The loader sends lines of JSON, each followed on the same socket
by the descriptors that it names (SCM_RIGHTS).

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import json
import socket
from typing import Any, NamedTuple

_BATCH = 100  # descriptors per message; the kernel allows 253 (SCM_MAX_FD)


class TableLayout(NamedTuple):
    """A counting table: its name and the sizes of its key and its slot in bytes."""

    name: str
    key_size: int
    slot_size: int
    capacity: int


class LoadRequest(NamedTuple):
    """What the daemon wants: modes ("auto" for the best), sizes, and the paths of the C files.

    ``processes`` is how many processes can be known at once. ``events_size`` is the size of the
    ring buffer in bytes. ``allow_unsafe_code``: whoever may change the interpreter's modules.
    """

    sockets: str
    files: str
    reads: str
    tables: tuple[TableLayout, ...]
    processes: int
    events_size: int
    sources: str
    headers: str
    debug: bool
    allow_unsafe_code: bool

    @classmethod
    def parse(cls, line: str) -> LoadRequest:
        """Read one line of JSON."""
        request = json.loads(line)
        tables = tuple(TableLayout(*table) for table in request["tables"])
        return cls(**{**request, "tables": tables})


def say(channel: socket.socket, message: dict[str, Any], descriptors: list[int]) -> None:
    """Send one JSON line, then its descriptors with one byte for each batch of them."""
    channel.sendall(json.dumps({**message, "count": len(descriptors)}).encode() + b"\n")
    for start in range(0, len(descriptors), _BATCH):
        socket.send_fds(channel, [b"."], descriptors[start : start + _BATCH])


def say_kinds(channel: socket.socket, kinds: dict[str, dict[str, int]]) -> None:
    """Send descriptors by kind and name, one line for each kind."""
    for kind, descriptors in kinds.items():
        say(channel, {kind: list(descriptors)}, list(descriptors.values()))
