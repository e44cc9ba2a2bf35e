"""Limits of a message: what is too large, too deep or out of range is refused in time."""

from __future__ import annotations

import random
import struct
import tracemalloc
from typing import Any

import every_output
import hostile
import msgpack
import pytest

from pbmond import bounds, wire
from pbmond.fields import HISTORY
from pbmond.wire import WireError

BODY: dict[str, Any] = hostile.body_of(every_output.HONEST)


def body(**members: Any) -> dict[str, Any]:
    return {**hostile.body_of(every_output.HONEST), **members}


def refused(value: Any) -> str:
    with pytest.raises(WireError) as caught:
        wire.decode(hostile.frame_of(value))
    return str(caught.value)


NAN, INFINITY = float("nan"), float("inf")
WRONG_SAMPLES: list[Any] = [[NAN], [INFINITY], [-1], [1e300], ["x"], [True], [None] * 601, 5]
WRONG_HISTORIES: list[Any] = [{"else": []}, [], None]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("interval_ns", each) for each in (-1, 2**64 - 1, 36_600 * 86_400 * 10**9, 1.5, True)),
        *((name, each) for name in ("time_ns", "now_ns") for each in (-1, 2**63, None)),
        *(("seq", each) for each in (-1, 0.0)),
        *(("epoch", each) for each in ("x" * 256, "two\nlines", "\x1b[2J", "é", b"x")),
        *(("boot_id", each) for each in ("a\0b", 5)),
        *(("host", each) for each in ("x" * 256, b"host")),
        *(("history", {HISTORY[0]: each}) for each in WRONG_SAMPLES),
        *(("history", each) for each in WRONG_HISTORIES),
    ],
)
def test_a_value_out_of_its_range_is_refused(name: str, value: Any) -> None:
    assert name in refused(body(**{name: value}))


WRONG_HEALTH: dict[str, list[Any]] = {
    "status": [5, None, b"complete"],
    "reasons": ["text", [5], [None], ["x"] * 1001],
    "lost": [[], {"events": -1}, {"events": 1.5}, {"events": None}],
    "maps": [{"flows": 5}, {"flows": {"used": 1}}, []],
    "cost": [{"cpu": "x"}, {"processes": {}}, {"processes": [{}]}, []],
    "began_ns": ["x", None, -1],
    "more": [float("nan"), float("-inf"), b"bytes", [[[[[[[[]]]]]]]], {"n": float("inf")}],
}


@pytest.mark.parametrize(
    "changes", [{name: each} for name, wrong in WRONG_HEALTH.items() for each in wrong]
)
def test_health_that_is_not_the_contracts_is_refused(changes: dict[str, Any]) -> None:
    refused(body(health={**BODY["health"], **changes}))


@pytest.mark.parametrize("rate", [float("inf"), float("-inf"), -1.0, 1e308, 2.0**65])
def test_a_rate_that_cannot_be_is_refused(rate: float) -> None:
    changed = body()
    packed = struct.pack("<3d", 0.5, rate, float("nan"))
    changed["processes"]["net_rx_bytes_per_s"] = packed
    assert "net_rx_bytes_per_s" in refused(changed)


@pytest.mark.parametrize("pattern", [b"\x00\x00\x00\x00\x00\x00\xf8\x7f", b"\0\0\0\0\0\0\xf8\xff"])
def test_a_rate_that_is_not_known_passes_with_either_sign(pattern: bytes) -> None:
    changed = body()
    changed["processes"]["net_rx_bytes_per_s"] = pattern * 3
    wire.decode(hostile.frame_of(changed))


def test_the_largest_values_that_can_be_pass() -> None:
    changed = body(
        seq=2**64 - 1, time_ns=2**63 - 1, now_ns=2**63 - 1, interval_ns=36_600 * 86_400 * 10**9 - 1
    )
    every_output.show(hostile.frame_of(changed))


def deep(count: int) -> bytes:
    return b"\x91" * count + b"\xc0"


BOMBS = {
    "a name of 20 MB": msgpack.packb(b"x" * 20_000_000),
    "a text of 20 MB": msgpack.packb("x" * 20_000_000),
    "empty lists": b"\xdd\x00\x98\x96\x80" + b"\x90" * 10_000_000,
    "empty maps": b"\xdd\x00\x98\x96\x80" + b"\x80" * 10_000_000,
    "lists of lists": (b"\xdc\xff\xff" + b"\x90" * 65_535) * 100,
    "depth": deep(1_000_000),
    "a list said to be long": b"\xdd\xff\xff\xff\xff",
    "nothing": b"",
}


@pytest.mark.unmeasured
@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("place", ["host", "health", "history", "coverage", "processes", "column"])
def test_a_bomb_costs_no_more_than_a_small_multiple_of_itself(bomb: str, place: str) -> None:
    value = BOMBS[bomb]
    changed = body()
    mark = b"here it goes in"
    if place == "column":
        changed["processes"]["name"] = value
        frame = hostile.frame_of(changed)
    else:
        changed[place] = mark
        frame = hostile.frame_of(changed).replace(msgpack.packb(mark), value)
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            wire.decode(frame)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(frame) + 1_000_000
    finally:
        tracemalloc.stop()


def test_a_frame_that_is_too_large_is_not_looked_into() -> None:
    frame = memoryview(bytes(bounds.FRAME_BYTES + 1))
    with pytest.raises(WireError, match="too large"):
        wire.decode(frame)


@pytest.mark.unmeasured
@pytest.mark.parametrize("seed", range(25))
def test_a_message_changed_anywhere_is_refused_or_shown_everywhere(seed: int) -> None:
    """The long run is ``python -m tests.fuzz outputs``."""
    chance = random.Random(seed)
    changed = hostile.body_of(every_output.LATER)
    hostile.changed(changed, chance)
    try:
        every_output.show(hostile.frame_of(changed))
    except WireError:
        return


@pytest.mark.parametrize("name", hostile.NAMES, ids=lambda name: ascii(name[:12]))
def test_a_hostile_name_is_harmless_in_every_output(name: bytes) -> None:
    every_output.show(every_output.in_hostile_places(name))
