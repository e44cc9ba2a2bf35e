"""How complete the daemon's picture is, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pbmon_client.data.model import Snapshot
from pbmon_client.data.text import human
from pbmon_client.present.numbers import duration, moment

#: Says in the header that the health page names something this kernel cannot show.
MARK: Final = "*"
#: Where the contract's name alone would puzzle.
_HEADINGS: Final = {
    "began_ns": "counts since",
    "lost_interval": "lost since the snapshot before",
    "postponed": "not looked at, for lack of time",
    "unseen": f"unseen on this kernel ({MARK} in the header)",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the numbers leave out. ``key`` identifies the warning.

    Where the key has the daemon's run and a count, further loss makes a new warning.
    """

    key: str
    text: str
    role: str


#: By the contract's name in ``health.lost``, where "{}" is the count.
LOST_WORDS: Final = {
    "calls_without_connection": "the connection of {} calls: their bytes count for the process",
    "calls_without_file": "the file of {} calls: their bytes count for the process",
    "bytes": "{} bytes, which are in no row",
    "events": "{} events: the names of some processes or files may be missing",
    "async_results": "{} results of io_uring or libaio",
    "skipped_calls": "{} calls, because the kernel skipped a program",
}
#: By the contract's name in ``health.postponed``, where "{}" is the count: what /proc would tell.
_POSTPONED: Final = {
    "looks": "the disk rates and open files of {} processes",
    "cut": "all open files or threads of {} processes",
    "listed": "{} processes of /proc, new ones may be missing",
    "cgroups": "the unit of {} new processes",
}
#: By the contract's name in ``health.maps``.
_TABLES: Final = {"flows": "connections", "files": "files", "overflow": "processes"}
_LOST, _FULL = "lost: ", "map full: "  # how entries of ``health.reasons`` begin


def warnings(snapshot: Snapshot) -> list[Notice]:
    """List what is lost or missing now, each once, the most serious first.

    What this kernel can never show is not a warning: ``status`` marks it, ``report`` names it.
    """
    health = snapshot.health
    epoch = snapshot.message.epoch
    lost = {reason: count for reason, count in _items(health.get("lost")) if count}
    made = [
        Notice(f"{epoch} lost {reason} {count}", f"LOST {_lost(reason, count)}", "alert")
        for reason, count in lost.items()
    ]
    if health.get("status") != "complete":
        reasons = _texts(health.get("reasons"))
        others = [each for each in reasons if each.removeprefix(_LOST) not in lost]
        if others or not made:
            words = "; ".join(map(_reason, others)) or "some bytes are missing from the rows"
            made.append(Notice(f"{epoch} incomplete {words}", f"INCOMPLETE {words}", "alert"))
    late = [
        _POSTPONED[what].format(f"{count:,}")
        for what, count in _items(health.get("postponed"))
        if what in _POSTPONED and isinstance(count, int) and count
    ]
    if late:
        made.append(Notice(f"{epoch} postponed", f"NO TIME FOR {'; '.join(late)}", "warn"))
    for part, mode in _items(health.get("modes")):
        if mode == "off":
            made.append(Notice(f"mode {part}", f"NOT COUNTED {part}: switched off", "warn"))
    return made


def _lost(reason: str, count: Any) -> str:  # noqa: ANN401 - whatever a daemon sends
    number = f"{count:,}" if isinstance(count, int) else str(count)
    words = LOST_WORDS.get(reason)
    return f"{_words(reason)}: {number}" if words is None else words.format(number)


def _reason(reason: str) -> str:
    table = _TABLES.get(reason.removeprefix(_FULL)) if reason.startswith(_FULL) else None
    return reason if table is None else f"the table of {table} is full"


def status(snapshot: Snapshot) -> tuple[str, str]:
    """Return the role and the word for the header; ``MARK`` follows where something is unseen."""
    health = snapshot.health
    mark = MARK if _texts(health.get("unseen")) else ""
    lost = sum(count for _reason, count in _items(health.get("lost")) if isinstance(count, int))
    if health.get("status") != "complete":
        return "alert", " INCOMPLETE "
    if lost:
        return "warn", f"lost {lost:,}{mark}"
    off = [part for part, mode in _items(health.get("modes")) if mode == "off"]
    if off:
        return "warn", f"without {', '.join(off)}{mark}"
    return "good", f"complete{mark}"


HealthReport = list[tuple[str, list[tuple[str, str]]]]


def report(snapshot: Snapshot) -> HealthReport:
    """Return a snapshot's health as headings with (name, value) pairs under each.

    Entries that a newer daemon adds are included; names are the contract's.
    """
    made: HealthReport = []
    for name, value in snapshot.health.items():
        entries = [("", _since(snapshot, value))] if name == "began_ns" else _entries("", value)
        made.append((_HEADINGS.get(name) or _words(name), entries or [("", "none")]))
    return made


def _entries(name: str, value: Any) -> list[tuple[str, str]]:  # noqa: ANN401
    if isinstance(value, Mapping):
        if set(value) == {"used", "capacity"}:
            return [(name, f"{value['used']:,} of {value['capacity']:,} used")]
        if {"role", "pid", "cpu_percent", "rss_bytes"} <= set(value):
            return [(f"{value['role']} (pid {value['pid']})", _process(value))]
        return [
            entry
            for key, item in value.items()
            for entry in _entries(f"{name} {_words(key)}".strip(), item)
        ]
    if isinstance(value, list):
        return [entry for item in value for entry in _entries(name, item)]
    return [(name.removesuffix(" bytes").removesuffix(" percent"), _value(name, value))]


def _process(value: Mapping[str, Any]) -> str:
    cpu, rss = (_value(_words(name), value[name]) for name in ("cpu_percent", "rss_bytes"))
    return f"cpu {cpu}, rss {rss}"


def _value(name: str, value: Any) -> str:  # noqa: ANN401
    if value is None:
        return "not known"
    if isinstance(value, (bool, str)):
        return str(value)
    if name.endswith("rss bytes"):
        return f"{human(value)}B"
    if name.endswith("percent"):
        return f"{value:.1f} %"
    return f"{value:,.0f}" if isinstance(value, int) or value >= 100 else f"{value:.1f}"


def _since(snapshot: Snapshot, began_ns: Any) -> str:  # noqa: ANN401
    message = snapshot.message
    if not isinstance(began_ns, int):
        return "not known"
    passed_ns = message.now_ns - min(max(began_ns, 0), message.now_ns)
    return f"{moment(message.time_ns - passed_ns, message.time_ns)} ({duration(passed_ns / 1e9)})"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _items(value: Any) -> list[tuple[str, Any]]:  # noqa: ANN401 - whatever a daemon sends
    return list(value.items()) if isinstance(value, Mapping) else []


def _texts(value: Any) -> list[str]:  # noqa: ANN401
    return [str(item) for item in value] if isinstance(value, list) else []
