"""What the command line says of the past is what the daemon counted, also of a killed recorder."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pbmond.fields import COUNTERS
from pbmond.patience import patient
from pbmond.selftest.private_daemon import Daemon

_PATIENCE_S = patient(60.0)
_INTERVAL_S = 1.0
_SIZES = (1_000_003, 2_000_029, 3_000_017)
#: Writes as many bytes as each line says to /dev/null, and says so.
_WORKLOAD = """
import os, sys
null = os.open("/dev/null", os.O_WRONLY)
for line in sys.stdin:
    os.write(null, bytes(int(line)))
    print("done", flush=True)
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pbmon_client", *arguments]


class Workload:
    """A process that moves known bytes."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WORKLOAD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def move(self, size: int) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{size}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


def told(directory: Path, since: int, *arguments: str) -> Any:
    """Return what the command line says has moved since then, None if there is no history."""
    where = ("--history", str(directory), "--since", f"@{since}")
    done = subprocess.run(
        command("--json", *where, *arguments), capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout) if done.returncode == 0 else None


def wait_for(directory: Path, since: int, done: Callable[[Any], bool]) -> Any:
    """Return the first answer that is as it should be."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        answer = told(directory, since)
        if answer is not None and done(answer):
            return answer
        assert time.monotonic() < deadline
        time.sleep(_INTERVAL_S)


def several(directory: Path, since: int, done: Callable[[Any], bool]) -> list[Any]:
    """Return the answers of three ticks that are as they should be.

    The live client leaves out ticks when the machine is busy: one answer could be of such a tick.
    """
    answers: dict[int, Any] = {}
    while len(answers) < 3:
        answer = wait_for(directory, since, lambda each: each["seq"] not in answers and done(each))
        answers[answer["seq"]] = answer
    return [*answers.values()]


def totals(snapshot: Any) -> tuple[int, ...]:
    return tuple(snapshot["totals"][name] for name in COUNTERS)


def growths(ones: Iterable[tuple[int, ...]], others: Iterable[tuple[int, ...]]) -> set[Any]:
    return {
        tuple(b - a for a, b in zip(one, other, strict=True))
        for one, other in itertools.product(ones, others)
    }


def sum_of(rows: list[dict[str, Any]], name: str, pid: int | None = None) -> int:
    return sum(row[name] for row in rows if pid in (None, row.get("pid")))


def test_the_past_equals_the_live_totals_though_the_recorder_was_killed(tmp_path: Path) -> None:
    directory, log = tmp_path / "history", tmp_path / "live.ndjson"
    (run_dir := tmp_path / "run").mkdir(mode=0o755)
    since, name = int(time.time()), "device_write_bytes"
    with (
        Daemon(run_dir, interval_s=_INTERVAL_S, topic=b"all/processes") as daemon,
        log.open("wb") as file,
        ExitStack() as ends,
    ):

        def started(process: subprocess.Popen[Any]) -> subprocess.Popen[Any]:
            ends.enter_context(process)  # waits, and closes its pipes
            ends.callback(process.kill)
            return process

        def recorder() -> subprocess.Popen[Any]:
            where = ("--directory", str(directory), "--socket", daemon.address)
            return started(subprocess.Popen(command("record", *where)))

        live = started(
            subprocess.Popen(command("--ndjson", "--socket", daemon.address), stdout=file)
        )
        killed = recorder()
        wait_for(directory, since, lambda answer: bool(answer["processes"]))
        load = Workload()
        started(load.process)
        pid = load.process.pid
        load.move(_SIZES[0])
        firsts = several(
            directory, since, lambda each: sum_of(each["processes"], name, pid) == _SIZES[0]
        )
        killed.kill()
        killed.wait()
        load.move(_SIZES[1])
        for _ in range(2):  # nobody else has seen it, nor is it in what a newcomer is sent
            daemon.snapshot()
        recorder()
        wait_for(directory, since, lambda answer: answer["seq"] > firsts[-1]["seq"] + 1)
        load.move(_SIZES[2])
        lasts = several(
            directory,
            since,
            lambda each: sum_of(each["processes"], name, pid) == _SIZES[0] + _SIZES[2],
        )
        daemon.snapshot()
        live.terminate()
        live.wait()
    counted = [totals(json.loads(line)) for line in log.read_bytes().splitlines(keepends=True)[:-1]]
    assert growths(map(totals, firsts), map(totals, lasts)) & growths(counted, counted)
    # Whose bytes they were while nobody recorded is not known; that they moved is.
    assert sum_of(lasts[-1]["retired"], name) >= _SIZES[1]
    for each in COUNTERS:
        rows = sum_of(lasts[-1]["processes"], each) + sum_of(lasts[-1]["retired"], each)
        assert rows == lasts[-1]["totals"][each]
