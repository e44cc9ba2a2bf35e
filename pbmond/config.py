"""The daemon's configuration: keys, defaults, limits, and which processes are shown.

One table, ``KEYS``, says what each TOML key allows. Anything else in the file is a ConfigError that
names file and key. The look-up of user names is passed in.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from pbmond.fields import CLASSES
from pbmond.given_file import read_given
from pbmond.history_settings import (
    FILE_BYTES,
    SETTINGS,
    TABLE,
    HistorySettings,
    HistorySettingsError,
)

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
SOCKET_MODES: Final = ("auto", "tracepoint", "fexit", "syscall-exit", "off")
FILE_MODES: Final = ("auto", "fexit", "syscall-exit", "off")
READ_MODES: Final = ("auto", "cast", "typed", "probe")

#: Returns the uid of a user name, None if there is no such user.
UidOf = Callable[[str], int | None]


#: The rule for the capacities of the tables of connections and of files. Between 4 and 32 GiB of
#: memory each has USUAL_CAPACITY entries. With less memory it has one for every SMALL_SHARE bytes,
#: but at least LEAST_CAPACITY; with more, one for every LARGE_SHARE, but at most MOST_CAPACITY. An
#: entry of both, and of what goes with them, takes about 700 bytes: 2 % of a small host's memory,
#: 0.3 % of a large one's.
USUAL_CAPACITY: Final = 131_072
SMALL_SHARE: Final = 32 << 10
LARGE_SHARE: Final = 256 << 10
LEAST_CAPACITY: Final = 16_384
MOST_CAPACITY: Final = 1_048_576
#: Kernel memory for an entry of each table: slot, index and what goes with them (kernel_maps.py).
_ENTRY_BYTES: Final = {"flows": 320, "files": 260, "overflow": 280}
#: Of the host's memory, the most that the tables may take: one part in so many.
_MEMORY_PART: Final = 4


_USUAL_HISTORY: Final = HistorySettings()


class ConfigError(Exception):
    """The configuration cannot be used; the message is one line with file, key and remedy."""


@dataclass(frozen=True, slots=True)
class ProcessMatcher:
    """Processes chosen by pid, by name (exact or a shell pattern) or by user."""

    pids: frozenset[int] = frozenset()
    names: tuple[bytes, ...] = ()
    uids: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.pids or self.names or self.uids)

    def matches(self, pid: int, name: bytes, uid: int) -> bool:
        """Return whether one of the lists has this process; names are case-sensitive."""
        return (
            pid in self.pids
            or uid in self.uids
            or any(fnmatchcase(name, pattern) for pattern in self.names)
        )


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of one daemon run. Capacities are entries of kernel maps.

    The defaults are those of a host with 4 to 32 GiB of memory, see ``for_memory``.
    ``bcc_python`` None: find an interpreter that has bcc. ``log_file`` None: log to standard
    error. ``proc_time_s`` is per snapshot, see ``proc_time_ns``. ``history`` is for the recorder
    and its server: the daemon only checks it.
    """

    interval_s: float = 1.0
    history_length: int = 60
    exited_linger_s: float = 10.0
    idle_linger_s: float = 600.0
    sockets: str = "auto"
    files: str = "auto"
    reads: str = "auto"
    flows_capacity: int = USUAL_CAPACITY
    files_capacity: int = USUAL_CAPACITY
    overflow_capacity: int = USUAL_CAPACITY // 2
    include: ProcessMatcher = ProcessMatcher()
    exclude: ProcessMatcher = ProcessMatcher()
    run_dir: Path = Path("/run/pbmon")
    container_names: bool = True
    publisher_user: str = "pbmon"
    access_group: str = "pbmon"
    bcc_python: Path | None = None
    baseline: bool = False
    proc_time_s: float = 0.1
    log_level: str = "info"
    log_file: Path | None = None
    history: HistorySettings = _USUAL_HISTORY

    @classmethod
    def for_memory(cls, memory_bytes: int, processes: int = 0) -> Config:
        """Return the defaults of a host with so much memory and so many processes."""
        usual = min(memory_bytes // SMALL_SHARE, USUAL_CAPACITY)
        entries = max(usual, memory_bytes // LARGE_SHARE, LEAST_CAPACITY)
        entries = min(entries, MOST_CAPACITY)
        overflow = max(entries // 2, least_overflow(processes))
        return cls(flows_capacity=entries, files_capacity=entries, overflow_capacity=overflow)

    @property
    def tables_bytes(self) -> int:
        """How much kernel memory the tables take, about; all of it at the start."""
        return sum(getattr(self, f"{name}_capacity") * size for name, size in _ENTRY_BYTES.items())

    @property
    def proc_time_ns(self) -> int:
        """How much time the work in /proc may take for one snapshot; at most half the interval."""
        return round(min(self.proc_time_s, self.interval_s / 2) * 1e9)

    def visible(self, pid: int, name: bytes, uid: int) -> bool:
        """Return whether a process is shown: it is included (or none is), and not excluded."""
        if self.include and not self.include.matches(pid, name, uid):
            return False
        return not self.exclude.matches(pid, name, uid)


def least_overflow(processes: int) -> int:
    """Return how many rows ``maps.overflow`` needs: one per process and class."""
    return processes * len(CLASSES)


def check_capacities(config: Config, memory_bytes: int, processes: int) -> None:
    """ConfigError if the tables lose bytes of so many processes, or take too much of the memory."""
    least = least_overflow(processes)
    if config.overflow_capacity < least:
        raise ConfigError(
            f"maps.overflow = {config.overflow_capacity}: this host runs {processes} processes, "
            f"which need {least} rows ({len(CLASSES)} classes each) so that no bytes are lost"
        )
    if config.tables_bytes > memory_bytes // _MEMORY_PART:
        raise ConfigError(
            f"[maps]: the tables would take {config.tables_bytes >> 20} MiB of kernel memory, more "
            f"than a quarter of this host's {memory_bytes >> 20} MiB; use smaller ones"
        )


@dataclass(frozen=True, slots=True)
class _TomlKey:
    """Where the value of a TOML key goes, how to read it (None: not allowed), what is allowed."""

    field: str
    read: Callable[[Any], Any]
    allowed: str


def _seconds(low: float, high: float) -> Callable[[Any], float | None]:
    def read(value: Any) -> float | None:  # noqa: ANN401 - whatever TOML can hold
        # Neither a bool, which is an int in Python, nor NaN, which is in no range, may pass.
        return float(value) if type(value) in (int, float) and low <= value <= high else None

    return read


def _integer(low: int, high: int) -> Callable[[Any], int | None]:
    def read(value: Any) -> int | None:  # noqa: ANN401 - whatever TOML can hold
        return value if type(value) is int and low <= value <= high else None

    return read


def _boolean(value: Any) -> bool | None:  # noqa: ANN401 - whatever TOML can hold
    return value if isinstance(value, bool) else None


def _one_of(choices: tuple[str, ...]) -> Callable[[Any], str | None]:
    return lambda value: value if isinstance(value, str) and value in choices else None


def _account(value: Any) -> str | None:  # noqa: ANN401 - whatever TOML can hold
    """Accept a possible name of a user or group: systemd's strict rule, and domain names."""
    good = isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.@\\-]{0,254}", value)
    return value if good else None


def _absolute(value: Any) -> Path | None:  # noqa: ANN401 - whatever TOML can hold
    good = isinstance(value, str) and value.startswith("/") and "\0" not in value
    return Path(value) if good else None


def _absolute_or_empty(value: Any) -> Path | str | None:  # noqa: ANN401 - whatever TOML can hold
    return "" if value == "" else _absolute(value)


def _list_of(item: Callable[[Any], Any]) -> Callable[[Any], list[Any] | None]:
    def read(value: Any) -> list[Any] | None:  # noqa: ANN401 - whatever TOML can hold
        good = isinstance(value, list) and all(item(each) is not None for each in value)
        return value if good else None

    return read


def _user(value: Any) -> str | int | None:  # noqa: ANN401 - whatever TOML can hold
    return _account(value) if isinstance(value, str) else _integer(0, 2**32 - 2)(value)


def _name(value: Any) -> str | None:  # noqa: ANN401 - whatever TOML can hold
    return value if isinstance(value, str) and value and "\0" not in value else None


def _capacity(field: str) -> _TomlKey:
    return _TomlKey(
        field, _integer(256, 4_194_304), "a whole number of entries from 256 to 4194304"
    )


def _choice(field: str, choices: tuple[str, ...]) -> _TomlKey:
    return _TomlKey(field, _one_of(choices), "one of " + ", ".join(f'"{each}"' for each in choices))


def _switch(field: str) -> _TomlKey:
    return _TomlKey(field, lambda value: value if type(value) is bool else None, "true or false")


def _linger(field: str) -> _TomlKey:
    return _TomlKey(field, _seconds(0, 86_400), "a number of seconds from 0 to 86400")


def _directory(field: str) -> _TomlKey:
    return _TomlKey(field, _absolute, "an absolute path")


#: Every key of the file. ``include.*`` and ``exclude.*`` become one ProcessSelection each.
KEYS: Final[Mapping[str, _TomlKey]] = {
    "interval": _TomlKey("interval_s", _seconds(0.1, 3600), "a number of seconds from 0.1 to 3600"),
    "history_length": _TomlKey(
        "history_length", _integer(1, 600), "a whole number of samples from 1 to 600"
    ),
    "sockets": _choice("sockets", SOCKET_MODES),
    "files": _choice("files", FILE_MODES),
    "reads": _choice("reads", READ_MODES),
    "run_dir": _directory("run_dir"),
    "container_names": _switch("container_names"),
    "publisher_user": _TomlKey("publisher_user", _account, "the name of a user"),
    "access_group": _TomlKey("access_group", _account, "the name of a group"),
    "bcc_python": _TomlKey(
        "bcc_python", _absolute_or_empty, 'an absolute path, or "" to find an interpreter with bcc'
    ),
    "baseline": _TomlKey("baseline", _boolean, "true or false"),
    "proc_budget": _TomlKey(
        "proc_time_s", _seconds(0.001, 10), "a number of seconds from 0.001 to 10"
    ),
    "log_level": _choice("log_level", LOG_LEVELS),
    "log_file": _TomlKey(
        "log_file", _absolute_or_empty, 'an absolute path, or "" for standard error'
    ),
    "linger.exited": _linger("exited_linger_s"),
    "linger.idle": _linger("idle_linger_s"),
    "maps.flows": _capacity("flows_capacity"),
    "maps.files": _capacity("files_capacity"),
    "maps.overflow": _capacity("overflow_capacity"),  # and see check_capacities
    **{
        f"{TABLE}.{name}": _TomlKey(f"{TABLE}.{name}", setting.read, setting.allowed)
        for name, setting in SETTINGS.items()
    },
    **{
        f"{side}.{what}": _TomlKey(f"{side}.{what}", _list_of(item), f"a list of {words}")
        for side in ("include", "exclude")
        for what, item, words in (
            ("pids", _integer(1, 4_194_304), "process ids"),
            ("names", _name, 'process names or shell patterns, such as ["sshd", "kworker/*"]'),
            ("users", _user, 'user names or uids, such as ["www-data", 1000]'),
        )
    },
}
_TABLES: Final = frozenset(key.partition(".")[0] for key in KEYS if "." in key)


_USUAL: Final = Config()


def parse(text: str, file: str, uid_of: UidOf, defaults: Config = _USUAL) -> Config:
    """Parse the TOML ``text`` of ``file`` (a name for messages); ConfigError if it is not valid.

    What it does not set is as in ``defaults``.
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is no TOMLDecodeError
        raise ConfigError(f"{file}: not TOML: {error}") from None
    values: dict[str, Any] = {}
    for path, value in _flatten(document):
        key = KEYS.get(path)
        if key is None:
            raise ConfigError(f"{file}: key `{path}`: unknown; {_known(path)}")
        read = key.read(value)
        if read is None:
            raise ConfigError(f"{file}: key `{path}`: must be {key.allowed}")
        values[key.field] = read if read != "" else None
    for side in ("include", "exclude"):
        values[side] = _selection(side, values, file, uid_of)
    values["history"] = _history(values, file)
    return replace(defaults, **values)


def load(
    path: Path, uid_of: UidOf, defaults: Config = _USUAL, *, roots_own: bool = False
) -> Config:
    """Read and parse ``path``; ConfigError if it cannot be read or is not valid.

    ``roots_own``: a file that others than root may write is not read.
    """
    try:
        text = read_given(path, FILE_BYTES, roots_own=roots_own).decode()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not TOML: not UTF-8") from None
    return parse(text, str(path), uid_of, defaults)


def _flatten(document: dict[str, Any]) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in document.items():
        if name in _TABLES and isinstance(value, dict):
            pairs.extend((f"{name}.{key}", inner) for key, inner in value.items())
        else:
            pairs.append((name, value))
    return pairs


def _known(path: str) -> str:
    table, dot, _ = path.rpartition(".")
    if path in _TABLES:
        table, dot = path, "."
    keys = [key for key in KEYS if key.rpartition(".")[0] == table]
    tables = [] if dot else [f"[{name}]" for name in sorted(_TABLES)]
    return "allowed are " + ", ".join(keys + tables)


def _history(values: dict[str, Any], file: str) -> HistorySettings:
    names = [name for name in values if name.startswith(f"{TABLE}.")]
    settings = HistorySettings(**{name.partition(".")[2]: values.pop(name) for name in names})
    try:
        settings.check()
    except HistorySettingsError as error:
        raise ConfigError(f"{file}: key {error}") from None
    return settings


def _selection(side: str, values: dict[str, Any], file: str, uid_of: UidOf) -> ProcessMatcher:
    uids = set()
    for user in values.pop(f"{side}.users", []):
        uid = user if isinstance(user, int) else uid_of(user)
        if uid is None:
            raise ConfigError(f"{file}: key `{side}.users`: this host has no user {user!r}")
        uids.add(uid)
    return ProcessMatcher(
        pids=frozenset(values.pop(f"{side}.pids", [])),
        names=tuple(name.encode() for name in values.pop(f"{side}.names", [])),
        uids=frozenset(uids),
    )
