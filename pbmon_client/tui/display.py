"""urwid's screen of a terminal, alike in every version of urwid that pbmon runs with."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from urwid.display.raw import Screen as Screen  # noqa: PLC0414 - for the terminal and tests
else:
    try:
        from urwid.display.raw import Screen
    except ImportError:  # before urwid 2.4
        from urwid.raw_display import Screen

#: urwid 2.1, as Debian 12 has it, leaves the terminal as it is when Ctrl-Z suspends.
_SUSPENDS: Final = hasattr(Screen, "_sigtstp_handler")


class TerminalScreen(Screen):
    """urwid's screen, with a callback just before input is read."""

    def __init__(
        self, on_ready: Callable[[], None], environment: Mapping[str, str] = os.environ
    ) -> None:
        super().__init__()
        self._on_ready = on_ready
        if self.colors == 16 and shows_256(environment):
            self.set_terminal_properties(colors=256)

    def get_available_raw_input(self) -> list[int]:
        """Read the input. This takes several system calls, and other threads run after each."""
        self._on_ready()
        return super().get_available_raw_input()

    if not _SUSPENDS:

        def signal_init(self) -> None:
            """Take the signals of a terminal, and the one of Ctrl-Z."""
            super().signal_init()
            self.signal_handler_setter(signal.SIGTSTP, self._suspend)

        def signal_restore(self) -> None:
            """Leave the signals to the system again."""
            self.signal_handler_setter(signal.SIGTSTP, signal.SIG_DFL)
            super().signal_restore()

        def _suspend(self, _number: int, _frame: FrameType | None) -> None:
            self.stop()  # gives SIGTSTP back to the system, too
            os.kill(os.getpid(), signal.SIGTSTP)
            self.start()
            self._sigwinch_handler(signal.SIGWINCH)  # draws all, in the size that it has now


def shows_256(environment: Mapping[str, str]) -> bool:
    """Whether a terminal says that it has 256 colours or more; urwid before 3 does not ask."""
    if environment.get("NO_COLOR") or environment.get("FORCE_COLOR"):
        return False
    return "256color" in environment.get("TERM", "") or bool(environment.get("COLORTERM"))
