"""The palette: what each role looks like in the dark, light and monochrome themes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Theme = Literal["dark", "light", "mono"]
THEMES: Final[tuple[Theme, ...]] = ("dark", "light", "mono")
#: (role, 16-colour foreground and background, monochrome, rich foreground and background)
Entry = tuple[str, str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Shade:
    """One role: attributes without colour, names of 16 colours, and RGB for more."""

    mono: str = "default"
    basic: str = "default"
    basic_ground: str = "default"
    rich: str = "default"
    rich_ground: str = "default"


_DARK: Final[Mapping[str, Shade]] = {
    "text": Shade(),
    "dim": Shade("default", "dark gray", rich="#7f849c"),
    "rule": Shade("default", "dark gray", rich="#45475a"),
    "brand": Shade("bold", "light cyan", rich="#89dceb,bold"),
    "strong": Shade("bold", "white", rich="#ffffff,bold"),
    "title": Shade("underline", "light gray,underline", rich="#a6adc8,underline"),
    "title on": Shade("bold,underline", "light cyan,underline", rich="#89dceb,bold,underline"),
    "tab": Shade("default", "light gray", rich="#9399b2"),
    "tab on": Shade("bold,standout", "black", "dark cyan", "#11111b,bold", "#89dceb"),
    "big": Shade("bold", "white", rich="#f5e0dc"),
    "huge": Shade("bold", "yellow", rich="#f9e2af,bold"),
    "selected": Shade("standout", "black", "light gray", "#ffffff", "#3b4261"),
    "exited": Shade("default", "dark gray", rich="#6c7086"),
    "pin": Shade("bold", "light magenta", rich="#cba6f7"),
    "stale": Shade("default", "dark gray", rich="#6c7086"),
    "good": Shade("default", "light green", rich="#a6e3a1"),
    "warn": Shade("bold", "yellow", rich="#f9e2af"),
    "alert": Shade("bold,standout", "white", "dark red", "#11111b,bold", "#f38ba8"),
    "paused": Shade("bold,standout", "black", "brown", "#11111b,bold", "#f9e2af"),
    "past": Shade("bold,standout", "white", "dark magenta", "#11111b,bold", "#cba6f7"),
    "bar": Shade("default", "light magenta", rich="#cba6f7"),
    "cursor": Shade("bold,standout", "black", "brown", "#11111b,bold", "#f9e2af"),
    "range": Shade("standout", "black", "dark magenta", "#11111b", "#b4a0d8"),
    "key": Shade("bold", "light cyan", rich="#89dceb"),
    "input": Shade("default", "white", rich="#ffffff"),
    "box": Shade("default", "light gray", "default", "#cdd6f4", "#1e1e2e"),
    "box rule": Shade("default", "dark cyan", "default", "#585b70", "#1e1e2e"),
    "box key": Shade("bold", "light cyan", "default", "#89dceb", "#1e1e2e"),
    "box title": Shade("bold", "white", "default", "#ffffff,bold", "#1e1e2e"),
    "box on": Shade("standout", "black", "light gray", "#ffffff", "#3b4261"),
    "in": Shade("default", "light green", rich="#94e2d5"),
    "out": Shade("default", "light blue", rich="#89b4fa"),
    "read": Shade("default", "light green", rich="#a6e3a1"),
    "write": Shade("default", "light magenta", rich="#cba6f7"),
}
_LIGHT_CHANGES: Final[Mapping[str, Shade]] = {
    "dim": Shade("default", "dark gray", rich="#6c6f85"),
    "rule": Shade("default", "light gray", rich="#ccd0da"),
    "brand": Shade("bold", "dark cyan", rich="#04728b,bold"),
    "strong": Shade("bold", "black", rich="#000000,bold"),
    "title": Shade("underline", "dark gray,underline", rich="#5c5f77,underline"),
    "title on": Shade("bold,underline", "dark cyan,underline", rich="#04728b,bold,underline"),
    "tab": Shade("default", "dark gray", rich="#6c6f85"),
    "tab on": Shade("bold,standout", "white", "dark cyan", "#ffffff,bold", "#04728b"),
    "big": Shade("bold", "black", rich="#1e2030,bold"),
    "huge": Shade("bold", "dark red", rich="#b34700,bold"),
    "selected": Shade("standout", "white", "dark blue", "#000000", "#cfdcf7"),
    "exited": Shade("default", "dark gray", rich="#8c8fa1"),
    "pin": Shade("bold", "dark magenta", rich="#8839ef"),
    "stale": Shade("default", "dark gray", rich="#9ca0b0"),
    "good": Shade("default", "dark green", rich="#2f7d1f"),
    "warn": Shade("bold", "brown", rich="#9a5b00"),
    "alert": Shade("bold,standout", "white", "dark red", "#ffffff,bold", "#c00f36"),
    "paused": Shade("bold,standout", "black", "brown", "#000000,bold", "#f2c14e"),
    "past": Shade("bold,standout", "white", "dark magenta", "#ffffff,bold", "#7a2fd0"),
    "bar": Shade("default", "dark magenta", rich="#7a2fd0"),
    "cursor": Shade("bold,standout", "black", "brown", "#000000,bold", "#f2c14e"),
    "range": Shade("standout", "white", "dark magenta", "#1e2030", "#d8c2f5"),
    "key": Shade("bold", "dark cyan", rich="#04728b"),
    "input": Shade("default", "black", rich="#000000"),
    "box": Shade("default", "black", "default", "#4c4f69", "#eff1f5"),
    "box rule": Shade("default", "dark cyan", "default", "#9ca0b0", "#eff1f5"),
    "box key": Shade("bold", "dark cyan", "default", "#04728b", "#eff1f5"),
    "box title": Shade("bold", "black", "default", "#000000,bold", "#eff1f5"),
    "box on": Shade("standout", "white", "dark blue", "#000000", "#cfdcf7"),
    "in": Shade("default", "dark cyan", rich="#147a73"),
    "out": Shade("default", "dark blue", rich="#1e66f5"),
    "read": Shade("default", "dark green", rich="#2f7d1f"),
    "write": Shade("default", "dark magenta", rich="#8839ef"),
}
_SHADES: Final[Mapping[Theme, Mapping[str, Shade]]] = {
    "dark": _DARK,
    "light": {**_DARK, **_LIGHT_CHANGES},
    "mono": _DARK,
}
ROLES: Final = frozenset(_DARK)
#: The steps of each part in the 6 x 6 x 6 colours of a 256-colour terminal.
_CUBE: Final = (0, 95, 135, 175, 215, 255)


def entries(theme: Theme, colours: int, *, grey: bool = True) -> list[Entry]:
    """Return the palette for a terminal of 1, 16, 88, 256 or 2**24 colours.

    Without ``grey``, bold black may really be black, so nothing is written in it.
    """
    rich = colours >= 256
    made = []
    for role, shade in _SHADES[theme].items():
        mono = theme == "mono"
        basic = (shade.mono, "default") if mono else (shade.basic, shade.basic_ground)
        if not grey:
            basic = (basic[0].replace("dark gray", "default"), basic[1])
        high = (shade.rich, shade.rich_ground) if rich and not mono else basic
        if colours == 256:
            high = (_nearest(high[0]), _nearest(high[1]))
        made.append((role, *basic, shade.mono, *high))
    return made


def _nearest(spec: str) -> str:
    """Turn ``#rrggbb`` into the nearest of the 256 standard colours."""
    colour, comma, settings = spec.partition(",")
    if not colour.startswith("#"):
        return spec
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    cube = [min(range(6), key=lambda i: abs(_CUBE[i] - part)) for part in (red, green, blue)]
    grey = min(range(24), key=lambda i: abs(8 + 10 * i - (red + green + blue) // 3))
    of_cube = sum(abs(_CUBE[i] - v) for i, v in zip(cube, (red, green, blue), strict=True))
    of_grey = sum(abs(8 + 10 * grey - value) for value in (red, green, blue))
    number = 232 + grey if of_grey < of_cube else 16 + 36 * cube[0] + 6 * cube[1] + cube[2]
    return f"h{number}{comma}{settings}"


def has_grey(term: str, *, bold_brightens: bool) -> bool:
    """Whether a terminal of 16 colours shows bold black as grey.

    Many show black; the Linux console does not.
    """
    return not bold_brightens or term == "linux"


def guess(environment: Mapping[str, str]) -> Theme:
    """Choose a theme from the environment: NO_COLOR, and the background in COLORFGBG."""
    if environment.get("NO_COLOR"):
        return "mono"
    ground = environment.get("COLORFGBG", "").rpartition(";")[2]
    return "light" if ground in ("7", "15") else "dark"
