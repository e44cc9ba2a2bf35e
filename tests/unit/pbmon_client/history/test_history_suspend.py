"""A host that was suspended: its clocks go on, and its next interval is a very long one, or a gap.

CLOCK_BOOTTIME goes on while the host sleeps, and CLOCK_REALTIME is set ahead by as much when it
wakes up. The daemon measures its intervals by CLOCK_BOOTTIME, so one of them has the whole sleep.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from pbmon_client import cli
from pbmon_client.history.buckets import Tick
from pbmon_client.history.layout import TOTALS
from pbmon_client.history.past import Past
from pbmon_client.history.spans import TimeSpan
from pbmon_client.history.tiers import KEEPS
from pbmon_client.history.writer import HistoryWriter
from tests import past_host as make
from tests.past_host import sums_of, sums_of_ticks

SECOND = make.SECOND
HOUR = 3600
START = make.MONDAY + 20 * HOUR
#: It is awake for so long, sleeps, and is awake again.
AWAKE, SLEEP = 700, 8 * HOUR + 1234
WOKE = START + AWAKE + SLEEP
END = WOKE + AWAKE
LATER = "history: what moved in it is in an interval that ends later"

Ask = Callable[..., str]


def boot_ns(second: int) -> int:
    return (second - START + 50_000) * SECOND


def ticks(epoch: str = "first", *, seen: bool = True) -> list[Tick]:
    """Return what a daemon counts; ``seen``: its first interval awake has the sleep."""
    random = np.random.default_rng(7)
    made = []
    for second in (*range(START, START + AWAKE), *range(WOKE, END)):
        long = seen and second == WOKE
        made.append(
            make.random_tick(
                random, second * SECOND, 3, now_ns=boot_ns(second),
                interval_ns=(SLEEP + 1 if long else 1) * SECOND,
                epoch="first" if second < WOKE else epoch,
            )
        )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def slept() -> list[Tick]:
    return ticks()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, slept: list[Tick]) -> Path:
    return record(tmp_path_factory.mktemp("slept") / "history", slept)


def record(directory: Path, some: list[Tick], keeps: Sequence[int] = KEEPS) -> Path:
    with HistoryWriter(directory, sync=False, keeps=keeps) as writer:
        for tick in some:
            writer.tick(tick)
    return directory


def test_a_sleep_is_one_long_interval_and_no_gap(store: Path) -> None:
    kept = Past(store).kept()
    assert (kept.gaps, kept.missing) == ((), ())
    assert kept.span == TimeSpan((START - 1) * SECOND, (END - 1) * SECOND)


@pytest.mark.parametrize(
    ("since", "until"),
    [(START, END), (START + 30, WOKE + 1), (START - HOUR, END + HOUR), (WOKE - HOUR, WOKE + 60)],
)
def test_what_it_moved_is_in_each_range_in_which_it_woke(
    store: Path, slept: list[Tick], since: int, until: int
) -> None:
    message = Past(store).message(since, until)
    assert sums_of(message) == sums_of_ticks(slept, since, until)
    assert [each for each in message.health["reasons"] if "recorded" not in each] == []
    assert Past(store).message(START, END).health["reasons"] == []


def test_a_range_of_the_sleep_says_where_its_bytes_are(store: Path) -> None:
    past = Past(store)
    asleep = (START + AWAKE + HOUR, START + AWAKE + 2 * HOUR)
    message = past.message(*asleep)
    assert {*sums_of(message)["totals"]} == {0}
    assert message.health["reasons"] == [LATER]
    assert list(past.series(*asleep, 60).reasons) == [LATER]
    half = past.message(START, asleep[1]).health["reasons"]
    seconds = asleep[1] - (START + AWAKE - 1)
    assert half == [
        f"history: what moved in the last {seconds} s of it is in an interval that ends later"
    ]


@pytest.mark.parametrize("at", [START + AWAKE + 5, WOKE - HOUR, WOKE - 1])
def test_any_moment_of_the_sleep_is_its_interval(store: Path, slept: list[Tick], at: int) -> None:
    frame = Past(store).frame(at)
    assert sums_of(frame)["totals"] == slept[AWAKE].totals.tolist()
    assert frame.health["reasons"] == []
    assert SLEEP * SECOND <= frame.interval_ns <= (SLEEP + 2) * SECOND
    received = frame.totals["net_rx_bytes"]
    assert frame.totals["net_rx_bytes_per_s"] == pytest.approx(received / SLEEP, rel=1e-3)


def test_each_step_has_what_ended_in_it(store: Path, slept: list[Tick]) -> None:
    series = Past(store).series(START, END, HOUR)
    for begin, sums in zip(series.begins.tolist(), series.sums.tolist(), strict=True):
        assert sums == sums_of_ticks(slept, begin, begin + HOUR)["totals"]
    assert series.reasons == ()


def test_the_coarser_tiers_have_it_once(tmp_path: Path, store: Path, slept: list[Tick]) -> None:
    later = make.tick((END + 7 * HOUR) * SECOND, {}, {}, now_ns=boot_ns(END + 7 * HOUR))
    directory = record(tmp_path / "history", [*slept, later])
    for path in directory.glob("[012]-*.pbh"):
        path.unlink()
    day = START // 86_400 * 86_400
    message = Past(directory).message(day, day + 2 * 86_400)
    assert sums_of(message)["totals"] == sums_of_ticks(slept, START, END)["totals"]
    gap = TimeSpan((END - 1) * SECOND, (END + 7 * HOUR - 1) * SECOND)
    assert Past(directory).kept().gaps == (gap,)


def test_a_sleep_is_not_taken_for_a_clock_that_was_set(tmp_path: Path) -> None:
    """Old files go at once when it wakes up; had the clock been set, only after an hour."""
    for slept in (True, False):
        directory = tmp_path / str(slept)
        with HistoryWriter(directory, sync=False, keeps=(HOUR,) * 4) as writer:
            for minute in range(0, 90):
                second = START + 60 * minute
                writer.tick(make.tick(second * SECOND, {}, {}, now_ns=boot_ns(second)))
            first = {path.name for path in directory.glob("0-*.pbh")}
            for minute in range(90, 95):
                second = START + 60 * minute + SLEEP
                passed = boot_ns(second) - (0 if slept else SLEEP * SECOND)
                writer.tick(make.tick(second * SECOND, {}, {}, now_ns=passed))
        left = {path.name for path in directory.glob("0-*.pbh")}
        assert bool(first & left) is not slept


def test_a_recorder_that_slept_as_well_gets_it_to_the_byte(tmp_path: Path) -> None:
    """It missed the tick in which the host woke up; the next one's totals have it."""
    counted = np.zeros(len(TOTALS), np.int64)
    made = []
    for tick in ticks():
        counted = counted + tick.totals
        running_ns = tick.now_ns - boot_ns(START - 100)
        made.append(replaced(tick, counted, running_ns))
    record(tmp_path / "history", made[:AWAKE] + made[AWAKE + 2 :])
    past = Past(tmp_path / "history")
    assert past.kept().gaps == ()
    message = past.message(START, END)
    assert [message.totals[name] for name in TOTALS] == counted.tolist()
    assert message.health["reasons"] == []
    assert past.message(WOKE - 2 * HOUR, WOKE - HOUR).health["reasons"] == [LATER]


def replaced(tick: Tick, cumulative: np.ndarray, running_ns: int) -> Tick:
    values = {name: getattr(tick, name) for name in Tick.__slots__}
    return Tick(**{**values, "cumulative": cumulative, "running_ns": running_ns})


@pytest.mark.parametrize("epoch", ["first", "second"])
def test_a_sleep_that_no_interval_has_is_a_gap(tmp_path: Path, epoch: str) -> None:
    """The daemon was stopped for it, or another one counts now."""
    some = ticks(epoch, seen=False)
    past = Past(record(tmp_path / "history", some))
    gap = TimeSpan((START + AWAKE - 1) * SECOND, (WOKE - 1) * SECOND)
    assert past.kept().gaps == (gap,)
    message = past.message(START, END)
    assert sums_of(message) == sums_of_ticks(some, START, END)
    (reason,) = message.health["reasons"]
    seconds = int(reason.removeprefix("history: about ").removesuffix(" s were not recorded"))
    assert abs(seconds - SLEEP) <= 3
    nothing = past.message(WOKE - 2 * HOUR, WOKE - HOUR)
    assert nothing.health["reasons"] == ["history: nothing was recorded"]
    assert past.frame(WOKE - HOUR).health["reasons"] == ["history: nothing was recorded"]


@pytest.fixture
def ask(store: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Ask:
    def asked(*arguments: str) -> str:
        assert cli.main(["--history", str(store), *arguments]) == 0
        return capfdbinary.readouterr().out.decode()

    return asked


def test_it_is_shown_as_long_as_it_was(ask: Ask, slept: list[Tick]) -> None:
    text = ask("--once", "--at", f"@{WOKE - HOUR}")
    assert ", 8 h 20 m" in text.splitlines()[1]
    assert "complete" in text.splitlines()[0]
    asleep = ask("--once", "--since", f"@{WOKE - 2 * HOUR}", "--until", f"@{WOKE - HOUR}")
    assert f"INCOMPLETE {LATER}" in asleep


def test_a_replay_has_it_once_and_as_long_as_it_was(
    tmp_path: Path, ask: Ask, slept: list[Tick]
) -> None:
    """Whether seconds are still kept of the time before, or only ten of them in a row."""
    times = ("--since", f"@{WOKE - 300}", "--until", f"@{WOKE + 50}")
    seconds = record(tmp_path / "history", slept, (30 * HOUR,) * 4)
    for width, history in ((10, ()), (1, ("--history", str(seconds)))):
        shown = [json.loads(line) for line in ask("--ndjson", *times, *history).splitlines()]
        first, *others = shown
        assert abs(first["interval_ns"] - SLEEP * SECOND) <= 12 * SECOND
        assert {each["interval_ns"] for each in others[:-1]} == {width * SECOND}
        wanted = sums_of_ticks(slept, WOKE, first["time_ns"] // SECOND)["totals"]
        assert [first["totals"][name] for name in TOTALS] == wanted
    steps = json.loads(ask("--json", "--since", f"@{START}", "--until", f"@{END}", "--step", "1h"))[
        "steps"
    ]
    for name, total in sums_of_ticks_by_name(slept).items():
        assert sum(step["totals"][name] for step in steps) == total


def sums_of_ticks_by_name(some: list[Tick]) -> dict[str, int]:
    return dict(zip(TOTALS, sums_of_ticks(some, START, END)["totals"], strict=True))


def test_a_range_before_the_store_or_behind_it_has_nothing(store: Path) -> None:
    past = Past(store)
    for since in (START - 2 * HOUR, END + HOUR):
        assert past.message(since, since + 60).health["reasons"] == [
            "history: nothing was recorded"
        ]
