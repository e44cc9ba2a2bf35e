"""What is remembered between sessions: a small TOML file in the user's configuration directory."""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pbmon_client.data.text import safe_text
from pbmon_client.present.view_columns import CLASSES
from pbmon_client.present.views import BY_NAME
from pbmon_client.tui.session.palette import THEMES
from pbmond.given_file import read_given

_SWITCHES: Final = (
    *("totals", "bits", "binary", "exact"),
    *("active", "names", "detail", "full_command"),
)
#: Most keys of warnings name a run of the daemon, and mean nothing after it.
_MOST_SEEN: Final = 100
_FILE_BYTES: Final = 1 << 20
_HEADING: Final = "# Written by pbmon-client when its settings change.\n"


@dataclass(slots=True)
class Settings:
    """The remembered choices.

    ``sort`` is (column, reversed) by view; ``hidden`` names classes (under "") and columns by
    view; ``seen`` holds the keys of warnings that were put away, the newest last.
    """

    theme: str | None = None
    view: str = "processes"
    totals: bool = False
    bits: bool = False
    binary: bool = False
    exact: bool = False
    active: bool = False
    names: bool = False
    detail: bool = True
    full_command: bool = False
    sort: dict[str, tuple[str, bool]] = field(default_factory=dict)
    hidden: dict[str, list[str]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def put_away(self, keys: Iterable[str]) -> None:
        """Remember warnings as seen; the oldest of many are forgotten."""
        self.seen = [*self.seen, *keys][-_MOST_SEEN:]


class SettingsError(Exception):
    """A settings file that cannot be used; the message is one line for people."""


def default_path(environment: Mapping[str, str]) -> Path:
    """Return the path of the file, from the XDG base directories."""
    base = environment.get("XDG_CONFIG_HOME") or ""
    root = Path(base) if base.startswith("/") else Path(environment.get("HOME") or "/") / ".config"
    return root / "pbmon" / "client.toml"


def load(path: Path) -> Settings:
    """Read the file, or return the defaults if there is none; SettingsError if it is broken."""
    try:
        text = read_given(path, _FILE_BYTES).decode()
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsError(f"settings ignored: {reason} in {_shown(path)}") from None
    try:
        return _read(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        message = safe_text(str(error)) or "not TOML"
        raise SettingsError(f"settings ignored: {message} in {_shown(path)}") from None


def _shown(path: Path) -> str:
    return safe_text(str(path))


def _read(values: Mapping[str, Any]) -> Settings:
    made = Settings()
    for key, value in values.items():
        if key in _SWITCHES:
            _must(isinstance(value, bool), key, "true or false")
            setattr(made, key, value)
        elif key == "theme":
            _must(value in THEMES, key, " or ".join(THEMES))
            made.theme = value
        elif key == "view":
            _must(isinstance(value, str) and value in BY_NAME, key, "the name of a view")
            made.view = value
        elif key == "sort":
            made.sort = _sorts(value)
        elif key == "hidden":
            made.hidden = _hidden(value)
        elif key == "seen":
            _must(_is_texts(value), key, "a list of texts")
            made.seen = value
        else:
            raise ValueError(f"unknown key {key}")
    return made


def _must(condition: bool, key: str, allowed: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not condition:
        raise ValueError(f"{key} must be {allowed}")


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _sorts(value: object) -> dict[str, tuple[str, bool]]:
    _must(isinstance(value, dict), "sort", "a table")
    made = {}
    for view, text in dict(value).items():  # type: ignore[call-overload]  # a dict, as was checked
        _must(view in BY_NAME and isinstance(text, str), "sort", "columns by view")
        made[view] = (text.removeprefix("-"), text.startswith("-"))
    return made


def _hidden(value: object) -> dict[str, list[str]]:
    _must(isinstance(value, dict), "hidden", "a table")
    made = {}
    for view, names in dict(value).items():  # type: ignore[call-overload]  # a dict, as was checked
        _must(_is_texts(names), "hidden", "lists of columns by view")
        _must(view in BY_NAME or view == "classes", "hidden", "columns by view, or classes")
        if view == "classes":
            _must(set(names) <= set(CLASSES), "hidden.classes", f"of {', '.join(CLASSES)}")
        made["" if view == "classes" else view] = names
    return made


def write(settings: Settings) -> str:
    """Return the file's text."""
    lines = [_HEADING]
    if settings.theme is not None:
        lines.append(f"theme = {_quoted(settings.theme)}\n")
    lines.append(f"view = {_quoted(settings.view)}\n")
    lines += [f"{name} = {str(getattr(settings, name)).lower()}\n" for name in _SWITCHES]
    lines.append(f"seen = [{', '.join(map(_quoted, settings.seen))}]\n")
    lines.append("\n[sort]\n")
    for view, (column, reverse) in settings.sort.items():
        lines.append(f"{view} = {_quoted('-' * reverse + column)}\n")
    lines.append("\n[hidden]\n")
    for view, names in settings.hidden.items():
        lines.append(f"{view or 'classes'} = [{', '.join(map(_quoted, names))}]\n")
    return "".join(lines)


def _quoted(text: str) -> str:
    # A JSON string without surrogates is a TOML basic string.
    whole = text.encode("utf-8", "replace").decode()
    return json.dumps(whole, ensure_ascii=False).replace("\x7f", "\\u007f")


def save(path: Path, settings: Settings) -> None:
    """Write the file atomically; SettingsError if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(write(settings))
            Path(name).replace(path)
        except OSError:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise SettingsError(f"cannot save {_shown(path)}: {error.strerror}") from None
