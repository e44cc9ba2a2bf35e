"""The clipboard of the user's own machine, by way of the terminal (OSC 52), also over SSH."""

from __future__ import annotations

import base64
from typing import Final

#: Terminals that have no clipboard, and would print the sequence or beep.
_WITHOUT: Final = ("linux", "fbterm", "dumb")


def sequence(text: str, term: str) -> str:
    """Return what makes the terminal ``term`` ($TERM) copy ``text``, "" where none would.

    The text is UTF-8 in base64, so no character of it can reach the terminal as a command.
    """
    if term.startswith(_WITHOUT):
        return ""
    data = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    return f"\x1b]52;c;{data}\a"
