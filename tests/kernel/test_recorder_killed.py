"""The recorder beside a real daemon: what is recorded is what the daemon counted, to the byte."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from processes import run_python

from pbmon_client.data.moved import MovedReader
from pbmon_client.history.past import Past
from pbmon_client.subscription import Subscription
from pbmond.fields import COUNTERS
from pbmond.moved_wire import decode_moved
from pbmond.patience import patient
from pbmond.selftest.private_daemon import Daemon
from pbmond.wire import Message

_PATIENCE_S = patient(60.0)
_INTERVAL_S = 0.5
_MOVE = """
import os
null = os.open("/dev/null", os.O_WRONLY)
os.write(null, b"x" * 1_000_003)
print(os.getpid())
"""


def record(daemon: Daemon, directory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "pbmon_client", "record", "--directory", str(directory)),
            *("--socket", daemon.address),
        ]
    )


def recorded(directory: Path) -> Message | None:
    """Return everything that is in the store, None if that is nothing."""
    if not directory.exists():
        return None
    now = int(time.time())
    message = Past(directory).message(now - 3600, now + 60, flows=False)
    return message if message.totals["file_read_bytes"] else None


def between(counted: list[tuple[int, ...]]) -> set[tuple[int, ...]]:
    """Return what moved from any tick to any later one."""
    return {
        tuple(b - a for a, b in zip(one, other, strict=True))
        for one, other in itertools.combinations(counted, 2)
    }


def test_a_killed_recorder_misses_not_one_byte(tmp_path: Path) -> None:
    directory = tmp_path / "history"
    (run_dir := tmp_path / "run").mkdir(mode=0o755)
    with (
        Daemon(run_dir, interval_s=_INTERVAL_S, topic=b"all/processes") as daemon,
        Subscription(f"{run_dir}/pbmond.sock", os.geteuid(), "moved") as source,
    ):
        counted: list[tuple[int, ...]] = []
        reader = MovedReader({})

        def follow(seconds: float) -> None:
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                frame = source.receive_frame(left)
                told = reader.take(decode_moved(frame)) if frame else ()
                counted.extend(happened.position.totals for happened in told)

        def follow_until(done: Callable[[Message], bool]) -> Message:
            deadline = time.monotonic() + _PATIENCE_S
            while (message := recorded(directory)) is None or not done(message):
                assert time.monotonic() < deadline
                follow(_INTERVAL_S)
            return message

        follow(4 * _INTERVAL_S)
        recorder = record(daemon, directory)
        try:
            first = follow_until(lambda _message: True)
            follow_until(lambda each: each.seq > first.seq)
            follow(4 * _INTERVAL_S)
            recorder.kill()
            recorder.wait()
            before = recorded(directory)
            assert before is not None
            run_python(_MOVE)
            follow(12 * _INTERVAL_S)  # more ticks than a message has
            recorder = record(daemon, directory)
            after = follow_until(lambda each: each.seq > before.seq + 1)
            run_python(_MOVE)
            follow(4 * _INTERVAL_S)
            recorder.terminate()
            assert recorder.wait(_PATIENCE_S) == 0
            follow(4 * _INTERVAL_S)  # it may have had its last tick first
        finally:
            recorder.kill()
            recorder.wait()
        last = recorded(directory)
        assert last is not None
        for one, other in ((first, before), (before, after), (after, last)):
            grown = tuple(other.totals[name] - one.totals[name] for name in COUNTERS)
            assert grown in between(counted)
        assert after.totals["device_write_bytes"] - before.totals["device_write_bytes"] >= 1_000_003
