"""Replies of a server of the past: what it sends, and what a client believes of it.

A client believes nothing. Any bytes that are no reply to its query: WireError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from math import inf
from typing import Any, Final

import numpy as np

from pbmon_client.history.layout import PROCESSES
from pbmon_client.history.past import Kept, KeptTier, Series
from pbmon_client.history.queries import LENGTH, MOST_STEPS, VERSION
from pbmon_client.history.recorder import RecorderState
from pbmon_client.history.segments import Missing
from pbmon_client.history.spans import TimeSpan
from pbmon_client.history.tiers import TIERS
from pbmond.wire import (
    FRAME_BYTES,
    TABLES,
    Message,
    Table,
    Topic,
    WireError,
    decode,
    encode,
    pack,
    pack_table,
    unpack,
    unpack_table,
)

#: A message, and a little around it.
REPLY_BYTES: Final = FRAME_BYTES + (64 << 10)
_SCOPES: Final = ("all", "own")
_TOPIC: Final = Topic(None, "flows")
#: Of gaps and damage; a client of the store itself sees more.
_MOST_ENTRIES: Final = 50_000
_MOST_WORDS: Final = 1000
_TEXT: Final = 1000
_SIGNED: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server said: whose rows it shows, "all" or "own", and the value, not yet checked."""

    scope: str
    value: Any


class QueryRefusedError(Exception):
    """The server does not answer a query; the message says why."""


# --- what is sent -----------------------------------------------------------------------------


def pack_reply(scope: str, value: Message | Series | Kept | None) -> bytes:
    """Return a reply with its length. WireError if it is larger than a reply may be."""
    return _framed({"version": VERSION, "scope": scope, "value": _sent(value)})


def pack_refusal(why: str) -> bytes:
    """Return the reply that says why there is none."""
    return _framed({"version": VERSION, "error": why[:_TEXT]})


def _framed(value: dict[str, Any]) -> bytes:
    body = pack(value)
    if len(body) > REPLY_BYTES:
        raise WireError("the answer is too large: ask for a shorter range")
    return b"".join((LENGTH.pack(len(body)), body))


def _sent(value: Message | Series | Kept | None) -> Any:  # noqa: ANN401 - for msgpack
    if isinstance(value, Message):
        return _sent_message(value)
    if isinstance(value, Series):
        return {
            "step": value.step,
            "begin": int(value.begins[0]),
            "steps": len(value.begins),
            "counters": list(value.counters),
            "sums": value.sums.astype("<i8").tobytes(),
            "reasons": [each[:_TEXT] for each in value.reasons[:_MOST_WORDS]],
        }
    return None if value is None else _sent_kept(value)


def _sent_message(message: Message) -> dict[str, Any]:
    # What a message of the present has no room for is beside it: an interval of years.
    frame = encode(_TOPIC, _without_rows(replace(message, interval_ns=0)))
    tables: dict[str, Any] = {}
    for name, schema in TABLES.items():
        table: Table | None = getattr(message, name)
        if table is not None:
            columns = {
                column: b"".join(values) if schema[column] == "16s" else values
                for column, values in table.columns.items()
            }
            tables[name] = pack_table(Table(table.length, columns), schema)
    return {"frame": frame, "interval_ns": message.interval_ns, "tables": tables}


def _without_rows(message: Message) -> Message:
    retired, processes = (
        Table(0, {name: [] if kind == "text" else b"" for name, kind in TABLES[table].items()})
        for table in ("retired", PROCESSES)
    )
    return replace(message, retired=retired, processes=processes, connections=None, files=None)


def _sent_kept(kept: Kept) -> dict[str, Any]:
    return {
        "tiers": [[each.width, each.size, each.span] for each in kept.tiers],
        "gaps": list(kept.gaps[-_MOST_ENTRIES:]),
        "missing": [
            [
                *(each.tier, each.begin, each.end, each.why[:_TEXT]),
                None if each.last == inf else int(each.last),
            ]
            for each in kept.missing[-_MOST_ENTRIES:]
        ],
        "recorder": None if kept.recorder is None else [*astuple(kept.recorder)],
    }


# --- what is believed -------------------------------------------------------------------------


def parse_reply(body: bytes) -> Reply:
    """Return the reply in some bytes, without length. QueryRefusedError if it says why not."""
    value = unpack(memoryview(body))
    if type(value) is not dict or value.get("version") != VERSION:
        raise WireError(f"this client reads version {VERSION}")
    if value.keys() == {"version", "error"} and type(value["error"]) is str:
        raise QueryRefusedError(value["error"][:_TEXT])
    if value.keys() != {"version", "scope", "value"} or value["scope"] not in _SCOPES:
        raise WireError("it has other members than a reply")
    return Reply(value["scope"], value["value"])


def message_in(value: Any) -> Message:  # noqa: ANN401 - whatever msgpack can hold
    """Return the message in a reply."""
    _members(value, "frame", "interval_ns", "tables")
    if type(value["frame"]) is not bytes:
        raise WireError("a message is no frame")
    topic, message = decode(value["frame"])
    given = value["tables"]
    if topic != _TOPIC or type(given) is not dict:
        raise WireError("a message has another topic, or no tables")
    if not {"retired", PROCESSES} <= given.keys() <= TABLES.keys():
        raise WireError("a message has other tables")
    tables = {name: unpack_table(name, each, TABLES[name]) for name, each in given.items()}
    return replace(
        message,
        interval_ns=_number(value["interval_ns"], least=1),
        retired=tables["retired"],
        processes=tables[PROCESSES],
        connections=tables.get("connections"),
        files=tables.get("files"),
    )


def series_in(value: Any, counters: tuple[str, ...]) -> Series:  # noqa: ANN401 - likewise
    """Return the series in a reply, of the counters that were asked for."""
    _members(value, "step", "begin", "steps", "counters", "sums", "reasons")
    step, begin = _number(value["step"], 1), _number(value["begin"])
    steps = _number(value["steps"], 1)
    sums = value["sums"]
    if value["counters"] != list(counters):
        raise WireError("a series has other counters")
    # Both ends of a range are rounded outward.
    if steps > MOST_STEPS + 2 or begin + steps * step >= _SIGNED:
        raise WireError("a series is too long")
    if type(sums) is not bytes or len(sums) != 8 * steps * len(counters):
        raise WireError("a series has not a sum for each step")
    reasons = tuple(_text(each) for each in _list(value["reasons"], _MOST_WORDS))
    table = np.frombuffer(sums, "<i8").astype(np.int64).reshape(steps, len(counters))
    if (table < 0).any():
        raise WireError("a sum is negative")
    return Series(step, begin + step * np.arange(steps, dtype=np.int64), table, counters, reasons)


def kept_in(value: Any) -> Kept:  # noqa: ANN401 - likewise
    """Return what is kept, of a reply."""
    _members(value, "tiers", "gaps", "missing", "recorder")
    tiers = []
    for each, tier in zip(_list(value["tiers"], len(TIERS)), TIERS, strict=True):
        width, size, span = _list(each, 3, 3)
        if width != tier.width:
            raise WireError("a tier has another width")
        tiers.append(KeptTier(tier.width, _number(size), None if span is None else _span(span)))
    gaps = tuple(_span(each) for each in _list(value["gaps"], _MOST_ENTRIES))
    missing = tuple(_missing(each) for each in _list(value["missing"], _MOST_ENTRIES))
    recorder = None if value["recorder"] is None else _recorder(value["recorder"])
    return Kept(tuple(tiers), gaps, missing, recorder)


def _recorder(value: Any) -> RecorderState:  # noqa: ANN401 - likewise
    running, *known = _list(value, 3, 3)
    if type(running) is not bool:
        raise WireError("a recorder runs or does not")
    pid, cap = (None if each is None else _number(each) for each in known)
    return RecorderState(running, pid, cap)


def _missing(value: Any) -> Missing:  # noqa: ANN401 - likewise
    tier, begin, end, why, last = _list(value, 5, 5)
    if _number(tier) >= len(TIERS):
        raise WireError("there is no such tier")
    return Missing(
        tier, _number(begin), _number(end), _text(why), inf if last is None else _number(last)
    )


def _span(value: Any) -> TimeSpan:  # noqa: ANN401 - likewise
    since_ns, until_ns = (_number(each) for each in _list(value, 2, 2))
    if since_ns > until_ns:
        raise WireError("a span ends before it begins")
    return TimeSpan(since_ns, until_ns)


def _members(value: Any, *names: str) -> None:  # noqa: ANN401 - likewise
    if type(value) is not dict or value.keys() != {*names}:
        raise WireError(f"it is no map of {', '.join(names)}")


def _list(value: Any, most: int, least: int = 0) -> Sequence[Any]:  # noqa: ANN401 - likewise
    if type(value) is not list or not least <= len(value) <= most:
        raise WireError(f"it is no list of at most {most}")
    return value


def _number(value: Any, least: int = 0) -> int:  # noqa: ANN401 - likewise
    if type(value) is not int or not least <= value < _SIGNED:
        raise WireError("it is no number")
    return value


def _text(value: Any) -> str:  # noqa: ANN401 - likewise
    if type(value) is not str or len(value) > _TEXT:
        raise WireError("it is no text")
    return value
