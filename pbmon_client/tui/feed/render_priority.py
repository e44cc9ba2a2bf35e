"""Lets the screen run before the feed while a key press waits to be drawn.

Only one thread of a process runs Python at a time. Without this, a key press would be drawn at half
the speed while the feed prepares a snapshot of a large host.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: How long a thread runs before it must let another one run: short, so that a key press is handled
#: soon; long while the screen is drawn, so that the drawing is not interrupted.
_SHARED_S: Final = 0.001
_HELD_S: Final = 0.02
#: The feed waits at most this long for a drawing that never starts.
_PATIENCE_S: Final = 0.1
#: For this long after a key press, another one is likely.
_AWAKE_S: Final = 30.0


class RenderPriority:
    """Shared by the thread that draws and the one that prepares what is drawn."""

    def __init__(self, patience_s: float = _PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._free = threading.Event()
        self._free.set()
        self._pressed_s = self._until_s = -_AWAKE_S
        sys.setswitchinterval(_SHARED_S)

    def key_pressed(self) -> None:
        """Make the other thread stop at its next ``yield_to_screen()``, until a key is drawn."""
        self._stop()
        self._pressed_s = time.monotonic()

    @property
    def user_active(self) -> bool:
        """Whether somebody is typing, so that it is worth preparing for the next key."""
        return time.monotonic() - self._pressed_s < _AWAKE_S

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Hold the feed back while drawing; it may still run during system calls."""
        self._stop()
        sys.setswitchinterval(_HELD_S)
        try:
            yield
        finally:
            sys.setswitchinterval(_SHARED_S)
            self._free.set()

    def yield_to_screen(self) -> None:
        """Wait, between two pieces of work, while the screen has priority."""
        self._free.wait(max(0.0, self._until_s - time.monotonic()))

    def _stop(self) -> None:
        self._until_s = time.monotonic() + self._patience_s
        self._free.clear()
