"""A full disk pauses recording, and nothing is lost once there is room again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
#: Runs in a user and mount namespace of its own, on a file system of 400 kB.
PROGRAM = """
import subprocess, sys
from pathlib import Path
import numpy as np
from pbmon_client.history.past import Past
from pbmon_client.history.writer import HistoryWriter
from tests import past_host as make
from tests.past_host import sums_of, sums_of_ticks

place = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(place)], check=True)
filler = place / "filler"
filler.write_bytes(bytes(100_000))
chance = np.random.default_rng(1)
ticks, paused = [], 0
with HistoryWriter(place / "store", sync=False) as writer:
    while paused < 20:
        ticks.append(make.random_tick(chance, (make.MONDAY + len(ticks)) * make.SECOND))
        writer.tick(ticks[-1])
        paused += writer.paused is not None
    assert "No space left" in writer.paused, writer.paused
    Past(place / "store").message(make.MONDAY, make.MONDAY + 9000)
    filler.unlink()
    ticks.append(make.random_tick(chance, (make.MONDAY + len(ticks)) * make.SECOND))
    writer.tick(ticks[-1])
    assert writer.paused is None, writer.paused
message = Past(place / "store").message(make.MONDAY, make.MONDAY + 9000)
assert sums_of(message) == sums_of_ticks(ticks, make.MONDAY, make.MONDAY + 9000)
print(len(ticks))
"""
OWN = ("unshare", "--user", "--map-root-user", "--mount")


def test_a_full_disk_pauses_and_loses_nothing(tmp_path: Path) -> None:
    if subprocess.run([*OWN, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no namespaces of one's own")
    done = subprocess.run(
        [*OWN, sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 21
