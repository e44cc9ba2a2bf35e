"""The table of keys: what each does. Bindings, footer and help all come from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

_NAMES: Final = {
    "page up": "PgUp",
    "page down": "PgDn",
    "home": "Home",
    "end": "End",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "enter": "Enter",
    "esc": "Esc",
    "tab": "Tab",
    "shift tab": "Shift-Tab",
    "shift left": "Shift-←",
    "shift right": "Shift-→",
    " ": "Space",
    "backspace": "Backspace",
}


#: What the screen shows: a view of everything, the members of a group, one row's details, or
#: nothing yet. "past" comes with one of the first three.
Scene = Literal["view", "members", "opened", "waiting", "past"]
_ROWS: Final[tuple[Scene, ...]] = ("view", "members")
_BACK: Final[tuple[Scene, ...]] = ("members", "opened")
_DATA: Final[tuple[Scene, ...]] = ("view", "members", "opened")
_ALL: Final[tuple[Scene, ...]] = ("view", "members", "opened", "waiting")
_PAST: Final[tuple[Scene, ...]] = ("past",)


@dataclass(frozen=True, slots=True)
class Binding:
    """Some keys (urwid's names for them) that do one thing.

    ``hint`` is its word in the footer of some scenes; those with the smallest ``rank`` come first.
    """

    keys: tuple[str, ...]
    action: str
    help: str
    hint: str = ""
    rank: int = 99
    scenes: tuple[Scene, ...] = _ROWS


@dataclass(frozen=True, slots=True)
class Section:
    """Bindings under one heading of the help."""

    title: str
    bindings: tuple[Binding, ...]


#: These keys do this only while the past shows, and may do something else in the present.
IN_PAST: Final = (
    Binding(("left",), "scrub back", "in the past: back on the timeline, by a cell"),
    Binding(("right",), "scrub forth", "in the past: forth on the timeline"),
    Binding(("shift left",), "scrubs back", "in the past: back by ten cells"),
    Binding(("shift right",), "scrubs forth", "in the past: forth by ten cells"),
    Binding(("t",), "step forth", "in the past: one interval forth"),
    Binding(("T",), "step back", "in the past: one interval back"),
    Binding(("m",), "mark", "in the past: sum up a range from here, and off", "range", 3, _PAST),
    Binding(("z",), "zoom in", "in the past: a shorter timeline", "zoom", 4, _PAST),
    Binding(("Z",), "zoom out", "in the past: a longer timeline"),
)
SECTIONS: Final = (
    Section("Moving", (
        Binding(("up", "k", "ctrl p"), "up", "row up", "scroll", 1, ("opened",)),
        Binding(("down", "j", "ctrl n"), "down", "row down"),
        Binding(("page up", "ctrl b", "meta v"), "page up", "page up"),
        Binding(("page down", "ctrl f", "ctrl v"), "page down", "page down"),
        Binding(("home", "g", "meta <"), "home", "first row"),
        Binding(("end", "G", "meta >"), "end", "last row"),
        Binding(("enter",), "open", "open: a group's members, a row's details", "open", 3),
        Binding(("esc", "backspace"), "back", "back; clear the filter", "back", -1, _BACK),
    )),
    Section("Views", (
        *(Binding((str(number),), f"view {number}", "") for number in range(1, 10)),
        Binding(("tab",), "next view", "next view (1 to 9: that one)", "view", 7, ("view",)),
        Binding(("shift tab",), "previous view", "previous view"),
        Binding(("t",), "tree", "processes as a tree, and back"),
        Binding(("d",), "detail", "detail pane on and off"),
    )),
    Section("Rows", (
        Binding(("/", "f4"), "filter", "filter by words, or as --filter does", "filter", 1),
        Binding(("s", "right", ">"), "sort next", "sort by the next column", "sort", 2),
        Binding(("S", "left", "<"), "sort previous", "sort by the previous column"),
        Binding(("r",), "reverse", "reverse the order"),
        Binding(("o",), "active", "only rows that move bytes", "active", 8),
        Binding(("p",), "pin", "pin the row to the top, and off"),
        Binding((" ",), "pause", "pause the screen; counting goes on", "pause", 4, _DATA),
        Binding(("+", "="), "slower", "update less often"),
        Binding(("-",), "faster", "update more often"),
    )),
    Section("The past", (
        Binding(("b", "@"), "time", "ask for a time: 03:12, 2h ago, 03:10 to 03:15", "past", 10,
                ("view", "waiting", "past")),
        Binding(("[", ","), "step back", "one interval back", "back", 1, _PAST),
        Binding(("]", "."), "step forth", "one interval forth", "forth", 2, _PAST),
        Binding(("{",), "steps back", "ten intervals back"),
        Binding(("}",), "steps forth", "ten intervals forth"),
        Binding(("L",), "live", "return to the present", "live", 0, _PAST),
        *IN_PAST,
    )),
    Section("Numbers and columns", (
        Binding(("a",), "totals", "totals or rates", "totals", 5, _DATA),
        Binding(("u",), "bits", "bits or bytes"),
        Binding(("B",), "binary", "K is 1024 or 1000"),
        Binding(("e",), "exact", "exact or short numbers"),
        Binding(("C", "f2"), "columns", "choose classes and columns", "columns", 9),
        Binding(("c",), "command", "full command lines or names"),
        Binding(("n",), "names", "host and service names, or numbers"),
    )),
    Section("More", (
        Binding(("K", "f9"), "signal", "send a signal to the process (asks first)", "signal", 5,
                ("opened",)),
        Binding(("y",), "copy", "copy the row as JSON to the clipboard", "copy", 6, ("opened",)),
        Binding(("H", "f3"), "health", "health: what is lost or unseen (*), and the cost"),
        Binding(("x",), "acknowledge", "dismiss the warnings"),
        Binding(("T",), "theme", "dark, light or monochrome"),
        Binding(("ctrl l",), "redraw", "redraw the screen"),
        Binding(("?", "h", "f1"), "help", "this help", "help", 0, _ALL),
        Binding(("q", "f10", "ctrl c"), "quit", "quit", "quit", 6, _ALL),
    )),
)  # fmt: skip
MOUSE: Final = (
    ("click", "select a row, sort by a title, change view"),
    ("double click", "open"),
    ("wheel", "scroll"),
    ("timeline", "click goes to that time, drag follows"),
)
ACTIONS: Final = {
    key: binding.action
    for section in SECTIONS
    for binding in section.bindings
    if binding not in IN_PAST
    for key in binding.keys
}
PAST_ACTIONS: Final = {key: binding.action for binding in IN_PAST for key in binding.keys}


def key_name(key: str) -> str:
    """Write a key as people know it: ``Ctrl-P``, ``PgUp``, ``F1``."""
    if key in _NAMES:
        return _NAMES[key]
    for prefix, word in (("ctrl ", "Ctrl-"), ("meta ", "Alt-")):
        if key.startswith(prefix):
            return word + key.removeprefix(prefix).upper()
    return key.upper() if len(key) > 1 else key


def hints(scene: Scene) -> list[tuple[str, str]]:
    """Return the footer's hints in a scene as (key, word), the most important first."""
    found = [b for section in SECTIONS for b in section.bindings if b.hint and scene in b.scenes]
    found.sort(key=lambda binding: binding.rank)
    return [(key_name(binding.keys[0]), binding.hint) for binding in found]


def help_entries() -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the help as headings with (keys, text) under each."""
    made = [
        (
            section.title,
            [
                (" ".join(map(key_name, binding.keys)), binding.help)
                for binding in section.bindings
                if binding.help
            ],
        )
        for section in SECTIONS
    ]
    return [*made, ("Mouse", list(MOUSE))]
