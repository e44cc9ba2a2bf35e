"""Boxes over the screen: the help, the choice of columns, the question before a signal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from pbmon_client.data.model import Snapshot
from pbmon_client.present.cells import Line, cell, cells_of, clean, wrap
from pbmon_client.present.completeness import report
from pbmon_client.present.view_columns import CLASSES, ViewColumn
from pbmon_client.tui.session.keys import help_entries

_MOVES: Final = {
    **dict.fromkeys(("up", "k", "ctrl p"), -1),
    **dict.fromkeys(("down", "j", "ctrl n"), 1),
    **dict.fromkeys(("page up", "ctrl b"), -10),
    **dict.fromkeys(("page down", "ctrl f", " "), 10),
    **dict.fromkeys(("home", "g"), -1000),
    **dict.fromkeys(("end", "G"), 1000),
}


class Popup(Protocol):
    """A box over the screen; while it is open it gets the keys."""

    def key(self, key: str) -> bool:
        """Take a key; False closes the box."""

    def draw(self, width: int, height: int) -> list[Line]:
        """Draw the box for a screen of this size."""


def frame(title: str, body: Sequence[Line], cells: int) -> list[Line]:
    """Draw a border around lines of ``cells`` cells."""
    head = f" {title} "
    top: Line = [
        ("box rule", "┌─"),
        ("box title", head),
        ("box rule", "─" * max(0, cells - len(head) - 1) + "┐"),
    ]
    lines: list[Line] = [top]
    lines += [[("box rule", "│"), *line, ("box rule", "│")] for line in body]
    lines.append([("box rule", "└" + "─" * cells + "┘")])
    return lines


class Pages:
    """Text that scrolls; other keys close it."""

    title = ""

    def __init__(self) -> None:
        self.top = 0
        self._last = 0

    def key(self, key: str) -> bool:
        """Scroll; other keys close."""
        if key in _MOVES:
            self.top = max(0, min(self._last, self.top + _MOVES[key]))
            return True
        return False

    def draw(self, width: int, height: int) -> list[Line]:
        """Draw as much as has room."""
        cells = self.width(width - 2)
        lines = self.lines(cells)
        room = max(1, height - 4)
        self._last = max(0, len(lines) - room)
        self.top = min(self.top, self._last)
        keys = "Esc closes" if not self._last else "↑ ↓ scroll, Esc closes"
        return frame(f"{self.title} ({keys})", lines[self.top : self.top + room], cells)

    def width(self, most: int) -> int:
        """Return how wide the text is to be."""
        return min(most, 74)

    def lines(self, cells: int) -> list[Line]:
        """Return the text."""
        raise NotImplementedError


class HelpPage(Pages):
    """All keys, from the table of keys."""

    title = "keys"

    def width(self, most: int) -> int:
        """Two columns where the screen is wide."""
        return min(most, 150) if most >= _TWO_COLUMNS else min(most, 74)

    def lines(self, cells: int) -> list[Line]:
        """Return the keys with what they do."""
        return _two_columns(cells) if cells >= _TWO_COLUMNS else _help_lines(help_entries(), cells)


_TWO_COLUMNS: Final = 108


class HealthPage(Pages):
    """All that the daemon reports about itself: what it counts, lost, cannot see, and costs."""

    title = "health"

    def __init__(self, snapshot: Callable[[], Snapshot | None]) -> None:
        super().__init__()
        self._snapshot = snapshot

    def lines(self, cells: int) -> list[Line]:
        """Return the health of the snapshot on the screen."""
        snapshot = self._snapshot()
        made: list[Line] = []
        for heading, entries in [] if snapshot is None else report(snapshot):
            made.append([("box title", cell(f" {heading}", cells))])
            for name, text in entries:
                made += _entry(clean(name), clean(text), cells)
        return made


_NAME_CELLS: Final = 30


def _entry(name: str, text: str, cells: int) -> list[Line]:
    """Draw a value after its name, on as many lines as it takes."""
    label = f"   {name}"
    start = 3 if not name else max(_NAME_CELLS, cells_of(label) + 1)
    rows = wrap(text, cells - start) or [""]
    labels = [label, *[""] * (len(rows) - 1)]
    return [
        [("box key", cell(left, start)), ("box", cell(row, cells - start))]
        for left, row in zip(labels, rows, strict=True)
    ]


def _help_lines(entries: Sequence[tuple[str, list[tuple[str, str]]]], cells: int) -> list[Line]:
    lines: list[Line] = []
    for heading, keys in entries:
        lines.append([("box title", cell(f" {heading}", cells))])
        for names, text in keys:
            lines.append(
                [("box key", cell(f"   {names}", 24)), ("box", cell(text, max(0, cells - 24)))]
            )
    return lines


def _two_columns(cells: int) -> list[Line]:
    entries = help_entries()
    half = cells // 2
    left = _help_lines(entries[:3], half)
    right = _help_lines(entries[3:], cells - half)
    rows = max(len(left), len(right))
    left += [[("box", " " * half)]] * (rows - len(left))
    right += [[("box", " " * (cells - half))]] * (rows - len(right))
    return [[*a, *b] for a, b in zip(left, right, strict=True)]


@dataclass(slots=True)
class ColumnChooser:
    """A list of the classes and columns to show; changes ``hidden`` in place."""

    view: str
    columns: Sequence[ViewColumn]
    hidden: dict[str, list[str]]
    at: int = 0
    _entries: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._entries = [("", name) for name in CLASSES]
        self._entries += [(self.view, each.name) for each in self.columns if each.counter is None][
            1:
        ]

    def key(self, key: str) -> bool:
        """Move, or show and hide; other keys close."""
        if key in (" ", "x"):
            group, name = self._entries[self.at]
            names = self.hidden.setdefault(group, [])
            (names.remove if name in names else names.append)(name)
            return True
        if key in _MOVES:
            self.at = max(0, min(len(self._entries) - 1, self.at + _MOVES[key]))
            return True
        return False

    def draw(self, _width: int, height: int) -> list[Line]:
        """Draw the list around the chosen entry."""
        room = max(3, min(height - 6, len(self._entries)))
        top = max(0, min(self.at - room // 2, len(self._entries) - room))
        lines: list[Line] = []
        for at, (group, name) in enumerate(self._entries[top : top + room], top):
            mark = " " if name in self.hidden.get(group, ()) else "x"
            kind = "class" if not group else "column"
            text = cell(f" [{mark}] {name:<18} {kind}", 34)
            lines.append([("box on" if at == self.at else "box", text)])
        lines.append([("box key", cell(" Space shows and hides, Esc closes", 34))])
        return frame("columns", lines, 34)


#: The signals that can be sent, the mildest first, and what they do.
SIGNALS: Final = (
    (15, "TERM", "ask the process to end"),
    (2, "INT", "interrupt, as Ctrl-C does"),
    (1, "HUP", "hang up; many daemons reload their settings"),
    (19, "STOP", "pause the process"),
    (18, "CONT", "resume a paused process"),
    (9, "KILL", "end at once; unsaved work is lost"),
)


@dataclass(slots=True)
class SignalQuestion:
    """Asks which signal to send; ``answer`` is its number once one was chosen.

    Only Enter sends: a letter may be the next key of somebody who moves with vi keys.
    """

    pid: int
    start_ns: int
    name: str
    at: int = 0
    answer: int | None = None

    def key(self, key: str) -> bool:
        """Choose, or take the answer; any other key cancels."""
        if key in _MOVES:
            self.at = max(0, min(len(SIGNALS) - 1, self.at + _MOVES[key]))
            return True
        if key == "enter":
            self.answer = SIGNALS[self.at][0]
        return False

    def draw(self, width: int, _height: int) -> list[Line]:
        """Draw the question."""
        cells = min(width - 2, 60)
        question = f"  Send a signal to {clean(self.name)} ({self.pid})?"
        lines: list[Line] = [[("box", cell(question, cells))], [("box", " " * cells)]]
        for at, (_number, name, words) in enumerate(SIGNALS):
            role = "box on" if at == self.at else "box"
            lines.append([(role, cell(f"    SIG{name:<6} {words}", cells))])
        lines.append([("box", " " * cells)])
        lines.append([("box key", cell("  ↑ ↓ choose, Enter sends, any other key cancels", cells))])
        return frame("signal", lines, cells)
