"""Questions about the past as they go to a server: one map of msgpack each.

A server believes nothing of them. Any bytes that are no query: WireError.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pbmon_client.history.layout import LAYOUTS
from pbmond.wire import WireError, pack, unpack

VERSION: Final = 1
#: Before each query and each reply: how many bytes it has.
LENGTH: Final = struct.Struct(">I")
QUERY_BYTES: Final = 64 << 10
#: The year 2242; as nanoseconds it is a signed number of 64 bits.
_LATEST_S: Final = 1 << 33
MOST_STEPS: Final = 100_000
_NAMES: Final = 64
_NAME_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class Query:
    """A checked question: a method of PastSource, and its arguments by name."""

    method: str
    arguments: Mapping[str, Any]


def pack_query(method: str, arguments: Mapping[str, Any]) -> bytes:
    """Return a query as a client sends it, with its length."""
    body = pack({"version": VERSION, "method": method, "arguments": dict(arguments)})
    return LENGTH.pack(len(body)) + body


def parse_query(body: bytes) -> Query:
    """Return the query in some bytes, without their length."""
    value = unpack(memoryview(body))
    _check(type(value) is dict and "version" in value, "it is no map with a version")
    version = value["version"]
    _check(type(version) is int and version == VERSION, f"this server has version {VERSION}")
    _check(value.keys() == {"version", "method", "arguments"}, "it has other members")
    method, arguments = value["method"], value["arguments"]
    _check(type(method) is str and method in _METHODS, "there is no such method")
    _check(type(arguments) is dict, "the arguments are no map")
    _METHODS[method](arguments)
    return Query(method, arguments)


def _check(holds: bool, words: str) -> None:  # noqa: FBT001 - as assert
    if not holds:
        raise WireError(f"not a query: {words}")


def _is_number(value: Any, below: int, least: int = 0) -> bool:  # noqa: ANN401 - of msgpack
    return type(value) is int and least <= value < below


def _members(arguments: Mapping[str, Any], *names: str) -> None:
    _check(arguments.keys() == {*names}, f"its arguments are not {', '.join(names) or 'none'}")


def _range(arguments: Mapping[str, Any]) -> None:
    since, until = arguments["since"], arguments["until"]
    _check(_is_number(since, _LATEST_S) and _is_number(until, _LATEST_S), "a time is no second")
    _check(since < until, "the range is empty")


def _nothing(arguments: Mapping[str, Any]) -> None:
    _members(arguments)


def _message(arguments: Mapping[str, Any]) -> None:
    # Older clients do not say all.
    arguments = {"counts": True, "whole_ticks": False} | dict(arguments)
    _members(arguments, "since", "until", "flows", "counts", "top", "by", "whole_ticks")
    _range(arguments)
    top, by = arguments["top"], arguments["by"]
    for name in ("flows", "counts", "whole_ticks"):
        _check(type(arguments[name]) is bool, f"{name} is not true or false")
    _check(top is None or _is_number(top, 1 << 32), "top is no number")
    if by is not None:
        _check(type(by) is list and len(by) <= _NAMES, "by is no list of names")
        _check(all(type(each) is str and len(each) <= _NAME_LENGTH for each in by), "by: no name")


def _frame(arguments: Mapping[str, Any]) -> None:
    _members(arguments, "at")
    _check(_is_number(arguments["at"], _LATEST_S), "a time is no second")


def _series(arguments: Mapping[str, Any]) -> None:
    _members(arguments, "since", "until", "step", "where", "table")
    _range(arguments)
    step, where, table = (arguments[name] for name in ("step", "where", "table"))
    _check(_is_number(step, _LATEST_S, 1), "the step is no number of seconds")
    steps = (arguments["until"] - arguments["since"]) / step
    _check(steps <= MOST_STEPS, f"more than {MOST_STEPS} steps")
    _check(type(table) is str and table in LAYOUTS, "there is no such table")
    if where is not None:
        _check(type(where) is dict, "where is no map")
        for name, value in where.items():
            _check(LAYOUTS[table].can_choose(name, value), "where: no column, or no value of it")


_METHODS: Final[Mapping[str, Callable[[Mapping[str, Any]], None]]] = {
    "refresh": _nothing, "kept": _nothing, "message": _message, "frame": _frame, "series": _series,
}  # fmt: skip
