"""What a message may hold: its size, its depth, and the range of each value. Else: WireError.

The client believes nothing that a socket says: anybody may listen there. Limits are a few times
what the largest host sends, so that a message is refused before it costs much memory or time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite, isnan
from typing import Any, Final

from pbmond.fields import COUNTERS, HISTORY, RATES

#: Bytes of a frame. With 100,000 connections and as many files it has about 35 MB.
FRAME_BYTES: Final = 128 << 20
#: Rows of a table: as many as a kernel table can have by the configuration.
ROWS: Final = 4_194_304
#: Bytes of a name from the kernel. Paths and command lines have 4096 at most; a mount point below
#: another and names that belong together make them a little longer.
NAME_BYTES: Final = 16_384
#: Bytes of any other text, such as a reason in ``health``.
TEXT_BYTES: Final = 4096
#: msgpack values outside of tables; an interface or disk has about 50, everything else 2,000.
_VALUES: Final = 500_000
_DEPTH: Final = 8
#: What identifies a host, a boot or a run is a word.
_WORD_BYTES: Final = 255
_SAMPLES: Final = 600  # of a history, by the configuration
_ENTRIES: Final = 1000  # of a list or map in ``health``
#: Nanoseconds of a clock: until the year 2262. A range of the past may begin with the epoch.
_CLOCK_NS: Final = 1 << 63
_INTERVAL_NS: Final = 100 * 366 * 86_400 * 10**9
_COUNT: Final = 1 << 64
#: Bytes per second. A 64-bit counter that fills up in one interval of a second reaches half of it.
_RATE: Final = 2.0**65
#: Highest bytes of the little-endian floats from 0 to below _RATE.
_RATE_BYTES: Final = bytes(range(0x44))


class WireError(ValueError):
    """A frame does not follow the schema. The message says where."""


# --- msgpack --------------------------------------------------------------------------------------

#: By the first byte of a value: how many bytes follow, or how many say how many follow.
_FIXED: Final = {
    **dict.fromkeys((*range(0x80), *range(0xE0, 0x100), 0xC0, 0xC2, 0xC3), 0),
    **dict(zip((0xCA, 0xCB, *range(0xCC, 0xD4)), (4, 8, 1, 2, 4, 8, 1, 2, 4, 8), strict=True)),
}
_BINARY: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_STRING: Final = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_ARRAY: Final = {0xDC: 2, 0xDD: 4}
_MAP: Final = {0xDE: 2, 0xDF: 4}


def check_msgpack(packed: memoryview) -> None:
    """Raise WireError if unpacking would make more, longer or deeper values than a message has.

    Nothing is unpacked and no binary is looked into: the cost is that of the few other values.
    """
    at, left = 0, [1]  # values that are still to come, at each level
    for _ in range(_VALUES):
        while left and not left[-1]:
            left.pop()
        if not left:
            break
        left[-1] -= 1
        at, inside = _value(packed, at)
        if inside:
            left.append(inside)
            if len(left) > _DEPTH or inside > _VALUES:
                raise WireError("it is deeper or has more values than a message")
    if any(left):
        raise WireError(f"it has more than {_VALUES} values")
    if at != len(packed):
        raise WireError("not msgpack: it is cut off, or something follows it")


def _value(packed: memoryview, at: int) -> tuple[int, int]:
    """Return where the value at ``at`` ends or its contents begin, and how many these are."""
    code = packed[at] if at < len(packed) else 0xC1
    at += 1
    if code in _FIXED:
        return at + _FIXED[code], 0
    if code in _BINARY:
        return _after(packed, at, _BINARY[code]), 0
    if code in _STRING or 0xA0 <= code < 0xC0:
        end = _after(packed, at, _STRING[code]) if code in _STRING else at + (code & 31)
        if end - at > TEXT_BYTES:
            raise WireError(f"a text has more than {TEXT_BYTES} bytes")
        return end, 0
    if code in _ARRAY or 0x90 <= code < 0xA0:
        return _container(packed, at, _ARRAY.get(code), code & 15)
    if code in _MAP or 0x80 <= code < 0x90:
        end, count = _container(packed, at, _MAP.get(code), code & 15)
        return end, 2 * count
    raise WireError("not msgpack: it is cut off, or has a type that no message has")


def _after(packed: memoryview, at: int, width: int) -> int:
    return at + width + int.from_bytes(packed[at : at + width], "big")


def _container(packed: memoryview, at: int, width: int | None, short: int) -> tuple[int, int]:
    if width is None:
        return at, short
    return at + width, int.from_bytes(packed[at : at + width], "big")


# --- values ---------------------------------------------------------------------------------------


def check_head(message: Mapping[str, Any]) -> None:
    """Raise WireError unless everything but tables and coverage is of its type and range."""
    check_words(message)
    check_times(message)
    check_totals(message["totals"])
    _check_history(message["history"])
    check_health(message["health"])


def check_words(message: Mapping[str, Any]) -> None:
    """Raise WireError unless host, boot and run are words."""
    for name in ("host", "boot_id", "epoch"):
        value = message[name]
        if type(value) is not str or len(value) > _WORD_BYTES:
            raise WireError(f"{name} is not a text of at most {_WORD_BYTES} characters")
        if name != "host" and not (value.isascii() and value.isprintable()):
            raise WireError(f"{name} is not a word")


def check_times(message: Mapping[str, Any]) -> None:
    """Raise WireError unless the number and the times of a snapshot are in range."""
    for name, most in (
        *(("seq", _COUNT), ("time_ns", _CLOCK_NS), ("now_ns", _CLOCK_NS)),
        *(("interval_ns", _INTERVAL_NS),),
    ):
        check_count(name, message[name], most)


def check_count(where: str, value: Any, below: int = _COUNT) -> None:  # noqa: ANN401
    """Raise WireError unless ``value`` is an integer from 0 to ``below``."""
    if type(value) is not int or not 0 <= value < below:
        raise WireError(f"{where} is not an integer from 0 to {below - 1}")


def check_totals(totals: Any) -> None:  # noqa: ANN401 - anything that msgpack can hold
    """Raise WireError unless there are all counters and rates. A rate may be None."""
    if type(totals) is not dict or totals.keys() != {*COUNTERS, *RATES}:
        raise WireError("totals do not have the schema's fields")
    for name in COUNTERS:
        check_count(f"totals.{name}", totals[name])
    for name in RATES:
        if type(totals[name]) is int:
            raise WireError(f"totals.{name} is not a float")
    _check_samples("totals", [totals[name] for name in RATES])


def _check_history(history: Any) -> None:  # noqa: ANN401
    if type(history) is not dict or not history.keys() <= {*HISTORY}:
        raise WireError("the history does not have the schema's fields")
    for name, samples in history.items():
        if type(samples) is not list or len(samples) > _SAMPLES:
            raise WireError(f"history.{name} is not a list of at most {_SAMPLES}")
        _check_samples(f"history.{name}", samples)


def _check_samples(where: str, samples: Iterable[Any]) -> None:
    for value in samples:
        if value is not None and not (type(value) in (int, float) and 0 <= value < _RATE):
            raise WireError(f"{where} holds {value!r:.40}, which is no rate")


def check_rates(where: str, packed: bytes, column: Iterable[float]) -> None:
    """Raise WireError unless each rate is in range, or NaN: not known."""
    # The highest bytes say so for all rows at once, except where there is NaN or a sign.
    if not packed[7::8].translate(None, _RATE_BYTES):
        return
    if wrong := [rate for rate in column if not (0 <= rate < _RATE or isnan(rate))]:
        raise WireError(f"{where} holds {wrong[0]!r}, which is no rate")


# --- health ---------------------------------------------------------------------------------------


def check_health(health: Any) -> None:  # noqa: ANN401
    """Raise WireError unless the contract's members are of their types.

    Members may be missing, as in older recordings. Others must be plain: texts, finite numbers,
    and lists and maps of those.
    """
    _check_plain("health", health)
    if type(health) is not dict:
        raise WireError("health is not a map")
    for name, check in _HEALTH.items():
        if name in health:
            check(f"health.{name}", health[name])


def _check_plain(where: str, value: Any) -> None:  # noqa: ANN401
    if type(value) in (list, dict):
        if len(value) > _ENTRIES:
            raise WireError(f"{where} has more than {_ENTRIES} entries")
        if type(value) is dict and any(type(key) is not str for key in value):
            raise WireError(f"{where} has a key that is no text")
        for item in value.values() if type(value) is dict else value:
            _check_plain(where, item)
    elif type(value) in (int, float):
        if not isfinite(value):
            raise WireError(f"{where} holds {value}")
    elif value is not None and type(value) not in (str, bool):
        raise WireError(f"{where} holds something other than texts and numbers")


def _text(where: str, value: Any) -> None:  # noqa: ANN401
    if type(value) is not str:
        raise WireError(f"{where} is not a text")


def _number(where: str, value: Any) -> None:  # noqa: ANN401
    if value is not None and not (type(value) in (int, float) and value >= 0):
        raise WireError(f"{where} is not a number of 0 or more")


def _change(where: str, value: Any) -> None:  # noqa: ANN401
    if type(value) is not int:
        raise WireError(f"{where} is not an integer")


def _list_of(check: Any) -> Any:  # noqa: ANN401 - a check of one item, as those above
    def check_list(where: str, value: Any) -> None:  # noqa: ANN401
        if type(value) is not list:
            raise WireError(f"{where} is not a list")
        for item in value:
            check(where, item)

    return check_list


def _map_of(check: Any, also: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401
    """Check the values of a map, those named in ``also`` by checks of their own."""

    def check_map(where: str, value: Any) -> None:  # noqa: ANN401
        if type(value) is not dict:
            raise WireError(f"{where} is not a map")
        for name, item in value.items():
            (also or {}).get(name, check)(f"{where}.{name:.40}", item)

    return check_map


def _exactly(**checks: Any) -> Any:  # noqa: ANN401
    def check_members(where: str, value: Any) -> None:  # noqa: ANN401
        if type(value) is not dict or value.keys() != checks.keys():
            raise WireError(f"{where} does not have the schema's fields")
        for name, check in checks.items():
            check(f"{where}.{name}", value[name])

    return check_members


_PROCESS: Final = _exactly(role=_text, pid=check_count, cpu_percent=_number, rss_bytes=_number)
_HEALTH: Final[dict[str, Any]] = {
    "status": _text,
    "reasons": _list_of(_text),
    "began_ns": check_count,
    "lost": _map_of(check_count),
    "lost_interval": _map_of(_change),
    "modes": _map_of(_text),
    "unseen": _list_of(_text),
    "maps": _map_of(_exactly(used=check_count, capacity=check_count)),
    "cost": _map_of(_number, {"processes": _list_of(_PROCESS)}),
}
