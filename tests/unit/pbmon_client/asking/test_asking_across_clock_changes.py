"""Clocks are put forward and back: what is asked is said where it is not plain, and adds up."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pbmon_client import cli, options
from pbmon_client.history.buckets import Tick
from pbmon_client.history.layout import TOTALS
from pbmon_client.history.writer import HistoryWriter
from tests import past_host as make

#: 01:00 UTC of 2026-03-29, when Berlin goes from 02:00 to 03:00, and of 2026-10-25, when it goes
#: from 03:00 to 02:00.
SPRING, AUTUMN = 1_774_746_000, 1_792_890_000
INTERVAL, HOUR = 100, 3600
#: 12:00 in Berlin, on either day.
NOON = {SPRING: SPRING + 9 * HOUR, AUTUMN: AUTUMN + 10 * HOUR}

NOTHING = np.zeros(len(TOTALS), np.int64)
TWICE, SKIPPED = "02:30 on 2026-10-25 came twice", "02:30 on 2026-03-29 was skipped"

pytestmark = pytest.mark.usefixtures("wide_in_berlin")

Run = Callable[..., tuple[str, str]]
Range = tuple[int, str, str, int, int]


def ticks_around(change: int) -> list[Tick]:
    random = np.random.default_rng(change)
    return [
        make.random_tick(
            random, at * make.SECOND, 2, interval_ns=INTERVAL * make.SECOND,
            now_ns=(at - SPRING + 10**6) * make.SECOND,
        )
        for at in range(change - 2 * HOUR, change + 3 * HOUR, INTERVAL)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def ticks() -> dict[int, list[Tick]]:
    return {change: ticks_around(change) for change in (SPRING, AUTUMN)}


@pytest.fixture(scope="module")
def stores(
    tmp_path_factory: pytest.TempPathFactory, ticks: dict[int, list[Tick]]
) -> dict[int, Path]:
    """Return a store for each change: in one for both, little would be left of the first."""
    made = {}
    for change, some in ticks.items():
        made[change] = tmp_path_factory.mktemp("clocks") / "history"
        with HistoryWriter(made[change], sync=False) as writer:
            for tick in some:
                writer.tick(tick)
    return made


@pytest.fixture
def run(
    stores: dict[int, Path],
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Run the command at a time; return what it prints, and what it says on standard error."""

    def printed(now: int, *arguments: str) -> tuple[str, str]:
        monkeypatch.setattr(options, "time", SimpleNamespace(time=lambda: now + 0.5))
        store = stores[SPRING if now < AUTUMN else AUTUMN]
        assert cli.main(["--history", str(store), *arguments]) == 0
        out, err = capfdbinary.readouterr()
        return out.decode(), err.decode()

    return printed


def moved(ticks: Sequence[Tick], since: int, until: int) -> dict[str, int]:
    inside = [tick.totals for tick in ticks if since <= tick.time_ns // make.SECOND < until]
    return dict(zip(TOTALS, sum(inside, NOTHING).tolist(), strict=True))


def sums_of(snapshot: dict[str, Any]) -> dict[str, int]:
    return {name: snapshot["totals"][name] for name in TOTALS}


def bounds(snapshot: dict[str, Any]) -> tuple[int, int]:
    until_ns = snapshot["time_ns"]
    return (until_ns - snapshot["interval_ns"]) // make.SECOND, until_ns // make.SECOND


RANGES: tuple[tuple[Range, str], ...] = (
    # An hour of clocks over the change, without a date, as on any other day.
    ((SPRING, "01:30", "03:30", -1800, 1800), ""),
    ((SPRING, "02:30", "03:45", 1800, 2700), f"--since: {SKIPPED}"),
    ((SPRING, "01:30", "02:30", -1800, 1800), f"--until: {SKIPPED}"),
    ((AUTUMN, "01:30", "03:30", -5400, 5400), ""),
    ((AUTUMN, "02:30", "03:30", -1800, 5400), f"--since: {TWICE}"),
    ((AUTUMN, "02:30+02:00", "03:30", -1800, 5400), ""),
    ((AUTUMN, "02:30+01:00", "03:30", 1800, 5400), ""),
    ((AUTUMN, "01:30", "02:30", -5400, -1800), "it is read as the first, 02:30+02:00"),
    # From the first to the second of the two, also if that is earlier on the clock.
    ((AUTUMN, "02:30+02:00", "02:30", -1800, 1800), "it is read as the second, 02:30+01:00"),
    ((AUTUMN, "02:45+02:00", "02:15", -900, 900), "it is read as the second, 02:15+01:00"),
    ((AUTUMN, "02:45+02:00", "2026-10-25 02:15", -900, 900), "it is read as the second"),
    # Days are as long as they are.
    ((SPRING, "2026-03-29 00:00", "2026-03-29 05:00", -7200, 7200), ""),
    ((AUTUMN, "2026-10-25", "2026-10-25 04:00", -10_800, 7200), ""),
)


@pytest.mark.parametrize(("asked", "said"), RANGES)
def test_a_range_is_what_clocks_showed_or_said(
    run: Run, ticks: dict[int, list[Tick]], asked: Range, said: str
) -> None:
    change, first, last, since, until = asked
    times = ("--since", first, "--until", last)
    out, err = run(NOON[change], "--json", *times)
    shown = json.loads(out)
    assert bounds(shown) == (change + since, change + until)
    assert sums_of(shown) == moved(ticks[change], change + since, change + until)
    assert err.count("\n") == bool(said)
    assert said in err
    steps = json.loads(run(NOON[change], "--json", *times, "--step", "15m")[0])["steps"]
    begins = [*range(change + since, change + until, 900), change + until]
    assert [bounds(step) for step in steps] == [*pairwise(begins)]
    for step in steps:
        assert sums_of(step) == moved(ticks[change], *bounds(step))


def test_a_range_that_clocks_skipped_is_refused_in_a_line_that_says_why(
    run: Run, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """02:30 is read as 03:30, and 03:30 is not a day later for that."""
    for since, until in (("02:30", "03:30"), ("2026-03-29 02:30", "2026-03-29 03:15")):
        with pytest.raises(SystemExit) as caught:
            run(NOON[SPRING], "--json", "--since", since, "--until", until, "--step", "15m")
        assert caught.value.code == 2
        err = capfdbinary.readouterr().err.decode()
        assert err.count("\n") == 1
        assert "--since is not before --until; --since: 02:30 on 2026-03-29 was skipped" in err


def test_an_end_that_is_tomorrows_is_said(run: Run) -> None:
    out, err = run(NOON[SPRING], "--json", "--since", "10:00", "--until", "09:00")
    assert bounds(json.loads(out)) == (NOON[SPRING] - 2 * HOUR, NOON[SPRING] + 21 * HOUR)
    words = "09:00 is read as the first one after the beginning, on 2026-03-30"
    assert err == f"pbmon-client: --until: {words}\n"


def test_an_interval_of_the_hour_that_came_twice_is_either_of_them(
    run: Run, ticks: dict[int, list[Tick]]
) -> None:
    for text, at, said in (
        ("02:30", AUTUMN - 1800, "--at: 02:30 on 2026-10-25 came twice"),
        ("02:30+01:00", AUTUMN + 1800, ""),
    ):
        out, err = run(NOON[AUTUMN], "--json", "--at", text)
        assert (said in err, bool(err)) == (True, bool(said))
        tick = next(tick for tick in ticks[AUTUMN] if tick.time_ns // make.SECOND > at)
        assert sums_of(json.loads(out)) == dict(zip(TOTALS, tick.totals.tolist(), strict=True))


def test_a_day_has_the_hours_that_it_has(run: Run, ticks: dict[int, list[Tick]]) -> None:
    for change, day, hours in ((SPRING, 29, 23), (AUTUMN, 25, 25)):
        month = 3 if change == SPRING else 10
        times = (f"2026-{month:02}-{day}", f"2026-{month:02}-{day + 1}")
        out, _err = run(
            change + 3 * 86_400, "--json", "--since", times[0], "--until", times[1], "--step", "1h"
        )
        steps = json.loads(out)["steps"]
        assert len(steps) == hours
        sums = {name: sum(step["totals"][name] for step in steps) for name in TOTALS}
        assert sums == moved(ticks[change], change - 10_800, change + 86_400)


@pytest.mark.parametrize("change", [SPRING, AUTUMN])
def test_yesterday_is_by_the_clock_across_a_change(run: Run, change: int) -> None:
    before = 12 if change == SPRING else 13  # hours from 14:00 of the day before to the change
    for text, since in (
        ("yesterday 14:00", change - before * HOUR),
        ("-1d", NOON[change] - 24 * HOUR),
    ):
        out, err = run(NOON[change], "--json", "--since", text)
        assert (bounds(json.loads(out))[0], err) == (since, "")
    # A day later, 14:00 of the day of the change is 24 hours back.
    out, _err = run(NOON[change] + 26 * HOUR, "--json", "--since", "yesterday 14:00")
    assert bounds(json.loads(out))[0] == NOON[change] + 2 * HOUR


def test_a_replay_of_the_hour_that_came_twice_goes_forward(
    run: Run, ticks: dict[int, list[Tick]]
) -> None:
    out, err = run(NOON[AUTUMN], "--ndjson", "--since", "02:55+02:00", "--until", "02:05")
    shown = [json.loads(line) for line in out.splitlines()]
    assert err.count("\n") == 1
    assert all(one["time_ns"] < other["time_ns"] for one, other in pairwise(shown))
    wanted = moved(ticks[AUTUMN], AUTUMN - 300, AUTUMN + 300)
    assert {name: sum(one["totals"][name] for one in shown) for name in TOTALS} == wanted


def test_the_heading_has_the_zones_of_both_ends(run: Run) -> None:
    for change, since, until, words in (
        (SPRING, "01:30", "03:30", "03-29 01:30:00 CET to 2026-03-29 03:30:00 CEST, 1 h"),
        (AUTUMN, "02:30", "03:30", "10-25 02:30:00 CEST to 2026-10-25 03:30:00 CET, 2 h"),
        (AUTUMN, "02:30+01:00", "02:45+01:00", "10-25 02:30:00 to 02:45:00 CET, 15 m"),
    ):
        out, _err = run(NOON[change], "--once", "--since", since, "--until", until)
        assert f"moved from 2026-{words}" in out
