"""A writer that is killed at any moment loses nothing it has written, and nothing counts twice.

``PBMON_KILLS=1000`` kills more often, ``PBMON_FLIPS=1000`` flips more bits.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from pbmon_client.history.past import Past
from pbmon_client.history.writer import HistoryWriter
from tests import past_host as make
from tests.past_host import sums_of, sums_of_ticks

ROOT = Path(__file__).parents[4]
KILLS = int(os.environ.get("PBMON_KILLS", "6"))
FLIPS = int(os.environ.get("PBMON_FLIPS", "60"))
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


def written_in(past: Past) -> int:
    """Return the number of the newest tick, each of which is 7 s after the one before."""
    newest_ns = max(tier.span.until_ns for tier in past.kept().tiers if tier.span is not None)
    return (newest_ns // make.SECOND - make.MONDAY) // 7


def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    chance = random.Random(1)
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
        ticks = [
            make.random_tick(np.random.default_rng(each), (make.MONDAY + 7 * each) * make.SECOND)
            for each in range(1, number + 1)
        ]
        message = past.message(make.MONDAY, make.MONDAY + 7 * number + 1)
        assert sums_of(message) == sums_of_ticks(ticks, 0, 1 << 40)


def test_a_flipped_bit_anywhere_is_told_or_changes_nothing(tmp_path: Path) -> None:
    ticks = []
    with HistoryWriter(tmp_path, sync=False) as writer:
        for second in range(150):
            at_ns = (make.MONDAY + second) * make.SECOND
            ticks.append(make.random_tick(np.random.default_rng(second), at_ns))
            writer.tick(ticks[-1])
    wanted = sums_of_ticks(ticks, 0, 1 << 40)
    chance = random.Random(2)
    files = [path for path in tmp_path.iterdir() if path.name != "lock"]
    for _ in range(FLIPS):
        path = chance.choice(files)
        whole = path.read_bytes()
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        message = Past(tmp_path).message(make.MONDAY, make.MONDAY + 150)
        assert message.health["reasons"] or sums_of(message) == wanted
        path.write_bytes(whole)
