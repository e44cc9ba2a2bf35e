"""Line editing: what each key does to a line of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

Edit = Callable[[str, int], tuple[str, int]]


def _word_start(text: str, at: int) -> int:
    while at > 0 and text[at - 1] == " ":
        at -= 1
    while at > 0 and text[at - 1] != " ":
        at -= 1
    return at


def _kill_word(text: str, at: int) -> tuple[str, int]:
    start = _word_start(text, at)
    return text[:start] + text[at:], start


_EDITS: Final[dict[str, Edit]] = {
    "left": lambda text, at: (text, max(0, at - 1)),
    "ctrl b": lambda text, at: (text, max(0, at - 1)),
    "right": lambda text, at: (text, min(len(text), at + 1)),
    "ctrl f": lambda text, at: (text, min(len(text), at + 1)),
    "home": lambda text, _at: (text, 0),
    "ctrl a": lambda text, _at: (text, 0),
    "end": lambda text, _at: (text, len(text)),
    "ctrl e": lambda text, _at: (text, len(text)),
    "backspace": lambda text, at: (text[: max(0, at - 1)] + text[at:], max(0, at - 1)),
    "delete": lambda text, at: (text[:at] + text[at + 1 :], at),
    "ctrl d": lambda text, at: (text[:at] + text[at + 1 :], at),
    "ctrl u": lambda text, at: (text[at:], 0),
    "ctrl k": lambda text, at: (text[:at], at),
    "ctrl w": _kill_word,
}
_LONGEST: Final = 1000


def edit(text: str, at: int, key: str) -> tuple[str, int] | None:
    """Return the line and the cursor position after a key, None if the key does not edit."""
    change = _EDITS.get(key)
    if change is not None:
        return change(text, at)
    if len(key) == 1 and key.isprintable() and len(text) < _LONGEST:
        return text[:at] + key + text[at:], at + 1
    return None
