"""A writer that is killed at any moment loses nothing it has written, and nothing counts twice.

``PBMON_KILLS=1000`` kills more often, ``PBMON_FLIPS=1000`` flips more bits.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pbmon_client.history.layout import LAYOUTS, TOTALS
from pbmon_client.history.past import Past, Series
from pbmon_client.history.writer import HistoryWriter
from pbmond.wire import Message
from tests import past_host as make
from tests.past_host import sums_of

ROOT = Path(__file__).parents[4]
KILLS = int(os.environ.get("PBMON_KILLS", "6"))
FLIPS = int(os.environ.get("PBMON_FLIPS", "60"))
COUNTED = {**{name: each.counters for name, each in LAYOUTS.items()}, "totals": TOTALS}
#: Each tick is made of its number, so every run makes the same ones.
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from pbmon_client.history.writer import HistoryWriter
from tests import past_host as make

with HistoryWriter(Path(sys.argv[1]), sync=False) as writer:
    while True:
        number = writer.next_tick
        at_ns = (make.MONDAY + 7 * number) * make.SECOND
        writer.tick(make.random_tick(np.random.default_rng(number), at_ns))
        print(number, flush=True)
"""


class Told:
    """What the program's ticks have moved, summed up to each of them."""

    def __init__(self) -> None:
        self._sums = [{name: np.zeros(len(names), np.int64) for name, names in COUNTED.items()}]

    def between(self, first: int, last: int) -> dict[str, list[int]]:
        """Return what the ticks ``first`` to ``last`` moved, both included."""
        for number in range(len(self._sums), last + 1):
            tick = make.random_tick(np.random.default_rng(number), time_of(number) * make.SECOND)
            moved = {name: each.deltas.sum(axis=0) for name, each in tick.tables.items()}
            moved["totals"] = tick.totals
            self._sums.append({name: self._sums[-1][name] + moved[name] for name in COUNTED})
        one, other = self._sums[first - 1], self._sums[last]
        return {name: (other[name] - one[name]).tolist() for name in COUNTED}


def time_of(number: int) -> int:
    return make.MONDAY + 7 * number


def written_in(past: Past) -> int:
    """Return the number of the newest tick."""
    newest_ns = max(tier.span.until_ns for tier in past.kept().tiers if tier.span is not None)
    return (newest_ns // make.SECOND - make.MONDAY) // 7


@pytest.mark.unmeasured
def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    chance, told = random.Random(1), Told()
    for _ in range(KILLS):
        child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(chance.randrange(1, 60))]
        child.send_signal(signal.SIGKILL)
        said += child.communicate()[0].splitlines(keepends=True)
        acknowledged = int([line for line in said if line.endswith(b"\n")][-1])
        past = Past(tmp_path)
        number = written_in(past)
        assert number >= acknowledged
        # All of it, which comes from the coarse tiers, and some of it to the second.
        first = chance.randrange(1, number + 1)
        last = min(number, first + chance.randrange(200))
        for since, until in ((1, number), (first, last)):
            message = past.message(time_of(since), time_of(until) + 1)
            assert sums_of(message) == told.between(since, until)


#: Each asks about everything, and returns what is summed and what is said to be missing.
QUESTIONS: tuple[Callable[[Past], tuple[Any, Sequence[Any]]], ...] = (
    lambda past: asked(past.message(make.MONDAY, make.MONDAY + 150)),
    lambda past: asked(past.message(make.MONDAY + 3, make.MONDAY + 77, top=5)),
    lambda past: asked(past.frame(make.MONDAY + 30)),
    lambda past: stepped(past.series(make.MONDAY, make.MONDAY + 150, 10)),
    lambda past: stepped(past.series(make.MONDAY, make.MONDAY + 150, 60, {"name": b"worker-3"})),
)


def asked(message: Message) -> tuple[Any, Sequence[Any]]:
    return sums_of(message), message.health["reasons"]


def stepped(series: Series) -> tuple[Any, Sequence[Any]]:
    return series.sums.tolist(), series.reasons


def wrote_on(directory: Path) -> Past:
    """Return the past after another writer has taken it up."""
    with HistoryWriter(directory, sync=False) as writer:
        writer.tick(make.random_tick(np.random.default_rng(0), (make.MONDAY + 151) * make.SECOND))
    return Past(directory)


@pytest.mark.unmeasured
def test_a_flipped_bit_anywhere_is_told_or_changes_nothing(tmp_path: Path) -> None:
    store, damaged = tmp_path / "store", tmp_path / "damaged"
    with HistoryWriter(store, sync=False) as writer:
        for second in range(150):
            at_ns = (make.MONDAY + second) * make.SECOND
            writer.tick(make.random_tick(np.random.default_rng(second), at_ns))
    files = [path.name for path in store.iterdir() if path.name != "lock"]
    sizes = [(store / name).stat().st_size for name in files]
    wanted = {uid: [ask(Past(store, uid))[0] for ask in QUESTIONS] for uid in (None, 1001)}
    chance = random.Random(2)
    for flip in range(FLIPS):
        shutil.copytree(store, damaged)
        (name,) = chance.choices(files, sizes)
        data = bytearray((damaged / name).read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        (damaged / name).write_bytes(data)
        for uid, answers in wanted.items():
            past = Past(damaged, uid)
            ask = flip % len(QUESTIONS)
            found, missing = QUESTIONS[ask](past)
            assert missing or found == answers[ask], (flip, uid)
            past.kept()
        if flip % 4 == 0:
            found, missing = QUESTIONS[0](wrote_on(damaged))
            assert missing or found == wanted[None][0], flip
        shutil.rmtree(damaged)
