"""Whose turn it is to run Python: the screen's while a key press waits for it, else the feed's too.

Threads of one process run Python one at a time. Without this a key press would be drawn at half
the speed while a snapshot of a large host is worked on, just when there is most to draw.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: The time after which a thread that waits to run asks the one that does to stop: short, so that a
#: key press soon gets its turn; long while it is drawn, so that it keeps it.
_SHARED_S: Final = 0.001
_HELD_S: Final = 0.02
#: Nobody waits longer for a drawing that does not come.
_PATIENCE_S: Final = 0.1
#: Whoever pressed a key may press another for so long.
_AWAKE_S: Final = 30.0


class RenderPriority:
    """Shared by the thread that draws and the one that prepares what is drawn."""

    def __init__(self) -> None:
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
        """Whether somebody is at the keys, and it is worth to work ahead of them."""
        return time.monotonic() - self._pressed_s < _AWAKE_S

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Keep the turn. What waits for the system meanwhile may lose it for ``_HELD_S``."""
        self._stop()
        sys.setswitchinterval(_HELD_S)
        try:
            yield
        finally:
            sys.setswitchinterval(_SHARED_S)
            self._free.set()

    def yield_to_screen(self) -> None:
        """Wait, between two pieces of work, while the other thread needs its turn."""
        self._free.wait(max(0.0, self._until_s - time.monotonic()))

    def _stop(self) -> None:
        self._until_s = time.monotonic() + _PATIENCE_S
        self._free.clear()
