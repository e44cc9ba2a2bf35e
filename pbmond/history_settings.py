"""The table ``[history]`` of pbmond.toml. The daemon checks it; recorder and server go by it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pbmond.given_file import read_given

TABLE: Final = "history"
FILE_BYTES: Final = 1 << 20
DEFAULT_GROUP: Final = "pbmon"
_SIZES: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
#: Less than that has no room for an hour and what is being written.
_SIZE: Final = 8 << 20, 1 << 40
_HOUR, _DAY = 3600, 86_400
_TIMES: Final = {"h": _HOUR, "d": _DAY, "y": 366 * _DAY}
_MOST_S: Final = 10 * 366 * _DAY


class HistorySettingsError(ValueError):
    """The table cannot be used; the message names what is wrong with it."""


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """Whether to record and to serve; the most bytes; how many seconds each tier is kept.

    A year has 366 days.
    """

    record: bool = True
    serve: bool = True
    size: int = 200 << 20
    keep_1s: int = 6 * _HOUR
    keep_10s: int = 7 * _DAY
    keep_1min: int = 30 * _DAY
    keep_1h: int = 366 * _DAY

    @property
    def keeps(self) -> tuple[int, ...]:
        """The seconds that each tier is kept, from the finest to the coarsest."""
        return self.keep_1s, self.keep_10s, self.keep_1min, self.keep_1h

    def check(self) -> None:
        """HistorySettingsError unless each tier is kept for as long as the finer one.

        It is summed from that one.

        Otherwise a recorder that starts would sum again what was removed.
        """
        names = ("keep_1s", "keep_10s", "keep_1min", "keep_1h")
        for name, finer, longer in zip(names[1:], self.keeps, self.keeps[1:], strict=False):
            if longer < finer:
                before = names[names.index(name) - 1]
                raise HistorySettingsError(f"`{TABLE}.{name}`: must be at least {TABLE}.{before}")


@dataclass(frozen=True, slots=True)
class HistoryKey:
    """How to read the value of a key (None: not allowed), and what is allowed."""

    read: Callable[[Any], Any]
    allowed: str


def size_of(text: Any) -> int | None:  # noqa: ANN401 - whatever TOML can hold
    """Return the bytes of a size such as "200M"; None if it is none that a store can have."""
    found = re.fullmatch(r"([0-9]{1,12})([KMG]?)", text) if isinstance(text, str) else None
    size = int(found[1]) * _SIZES[found[2]] if found else 0
    return size if _SIZE[0] <= size <= _SIZE[1] else None


def _keep(least_s: int) -> Callable[[Any], int | None]:
    def read(value: Any) -> int | None:  # noqa: ANN401 - whatever TOML can hold
        found = re.fullmatch(r"([0-9]{1,6})([hdy])", value) if isinstance(value, str) else None
        seconds = int(found[1]) * _TIMES[found[2]] if found else 0
        return seconds if least_s <= seconds <= _MOST_S else None

    return read


def _switch(value: Any) -> bool | None:  # noqa: ANN401 - whatever TOML can hold
    return value if isinstance(value, bool) else None


SIZE_WORDS: Final = "a size from 8M to 1024G"
#: By key. A tier is kept for as long as one of its files spans at least, because a restart of the
#: recorder needs what the next tier does not have yet.
SETTINGS: Final[Mapping[str, HistoryKey]] = {
    "record": HistoryKey(_switch, "true or false"),
    "serve": HistoryKey(_switch, "true or false"),
    "size": HistoryKey(size_of, f'{SIZE_WORDS}, such as "200M"'),
    "keep_1s": HistoryKey(_keep(_HOUR), 'a time from "1h" to "10y", such as "6h"'),
    "keep_10s": HistoryKey(_keep(6 * _HOUR), 'a time from "6h" to "10y", such as "7d"'),
    "keep_1min": HistoryKey(_keep(_DAY), 'a time from "1d" to "10y", such as "30d"'),
    "keep_1h": HistoryKey(_keep(30 * _DAY), 'a time from "30d" to "10y", such as "1y"'),
}


def settings_of(table: Mapping[str, Any]) -> HistorySettings:
    """Return the settings of the table's values. HistorySettingsError if one is not allowed."""
    values = {}
    for name, value in table.items():
        if name not in SETTINGS:
            allowed = ", ".join(f"{TABLE}.{each}" for each in SETTINGS)
            raise HistorySettingsError(f"`{TABLE}.{name}`: unknown; allowed are {allowed}")
        values[name] = SETTINGS[name].read(value)
        if values[name] is None:
            raise HistorySettingsError(f"`{TABLE}.{name}`: must be {SETTINGS[name].allowed}")
    settings = HistorySettings(**values)
    settings.check()
    return settings


def read_settings(path: Path) -> tuple[HistorySettings, str]:
    """Return the table in a file, and the group that sees all. HistorySettingsError in a line.

    The rest of the file is for the daemon to check.
    """
    try:
        document = tomllib.loads(read_given(path, FILE_BYTES).decode())
        table = document.get(TABLE, {})
        if not isinstance(table, dict):
            raise HistorySettingsError(f"`{TABLE}`: must be a table")
        settings = settings_of(table)
    except OSError as error:
        raise HistorySettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except HistorySettingsError as error:
        raise HistorySettingsError(f"{path}: key {error}") from None
    except (ValueError, RecursionError) as error:
        raise HistorySettingsError(f"{path}: not TOML: {error}") from None
    group = document.get("access_group", DEFAULT_GROUP)
    return settings, group if isinstance(group, str) else DEFAULT_GROUP
