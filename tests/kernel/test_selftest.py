"""`pbmond selftest` itself, as a user runs it: against the kernel at hand."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from pbmond.patience import VARIABLE, patient
from pbmond.selftest.private_daemon import Daemon, DaemonError, switches
from pbmond.selftest.workloads import NAMES

_PBMOND = str(Path(sys.executable).with_name("pbmond"))
_FEW = ("--only", "files.*write*")


def selftest(*options: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    command = [_PBMOND, "selftest", *switches(), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def traces() -> set[Path]:
    """What a run would leave behind."""
    places = (Path("/tmp"), Path("/var/tmp"))
    return {path for place in places for path in place.glob("pbmond-selftest-*")}


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    ran = selftest("--json", "--seed", "4711")
    assert ran.stderr == ""
    result: dict[str, Any] = json.loads(ran.stdout)
    result["status"] = ran.returncode
    return result


def test_nothing_is_off_on_this_kernel(whole: dict[str, Any]) -> None:
    assert [row for row in whole["rows"] if row["verdict"] == "off"] == []
    assert (whole["status"], whole["passed"]) == (0, True)
    assert set(whole["lost"].values()) == {0}


def test_every_path_has_a_verdict_for_both_orders(whole: dict[str, Any]) -> None:
    judged = {(row["path"], row["opened"]) for row in whole["rows"]}
    assert judged == {(name, opened) for name in NAMES for opened in ("before", "after")}
    assert sum(whole["summary"].values()) == len(whole["rows"])


def test_exact_rows_have_equal_bytes_and_all_others_a_reason(whole: dict[str, Any]) -> None:
    for row in whole["rows"]:
        if row["verdict"] == "exact":
            assert (row["expected_bytes"], row["reason"]) == (row["counted_bytes"], None)
        else:
            assert row["reason"]


def test_another_seed_moves_other_numbers_of_bytes_and_the_same_seed_the_same() -> None:
    one, same, other = (
        [
            row["expected_bytes"]
            for row in json.loads(selftest("--json", "--seed", seed, *_FEW).stdout)["rows"]
        ]
        for seed in ("1", "1", "2")
    )
    assert one == same
    assert one != other


def test_the_table_ends_with_a_summary_of_its_rows() -> None:
    ran = selftest("--seed", "0", *_FEW)
    title, *rows, empty, summary = ran.stdout.splitlines()
    assert title.startswith("PATH")
    assert empty == ""
    assert summary.startswith(f"{len(rows)} rows: {len(rows)} exact, 0 off, ")
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_hook_that_is_off_is_noticed(tmp_path: Path) -> None:
    config = tmp_path / "pbmond.toml"
    config.write_text('files = "off"\n')
    ran = selftest("--json", "--config", str(config), "--only", "files.read_write")
    result = json.loads(ran.stdout)
    assert (ran.returncode, result["summary"]["exact"]) == (1, 0)
    assert all(row["off_bytes"] == -row["expected_bytes"] for row in result["rows"])


def test_a_running_daemon_is_not_disturbed(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        before = daemon.snapshot()
        assert selftest(*_FEW).returncode == 0
        after = daemon.snapshot()
    assert after.epoch == before.epoch
    assert after.health["status"] == "complete"


def test_patience_reaches_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "11")
    with Daemon(tmp_path) as daemon:
        environment = Path(f"/proc/{daemon.process.pid}/environ").read_bytes().split(b"\0")
    assert f"{VARIABLE}=11".encode() in environment


def test_a_daemon_that_does_not_end_is_killed_and_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = Daemon(tmp_path)
    monkeypatch.setattr("pbmond.selftest.private_daemon._END_S", 0.2)
    os.kill(daemon.process.pid, signal.SIGSTOP)
    with pytest.raises(DaemonError, match=r"^the daemon did not end within [\d.]+ s: killed$"):
        daemon.stop()
    assert daemon.process.returncode == -signal.SIGKILL


def test_a_terminal_sees_a_bar_that_is_gone_at_the_end() -> None:
    ours, theirs = pty.openpty()
    command = [_PBMOND, "selftest", *switches(), *_FEW]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        drawn = b"".join(_chunks(ours))
    os.close(ours)
    assert process.returncode == 0
    assert re.search(rb"\[#+\.*\] +\d+% files\.", drawn)
    assert drawn.endswith(b"\r\x1b[K")
    assert b"\n" not in drawn


def _chunks(fd: int) -> Iterator[bytes]:
    while True:
        try:
            yield os.read(fd, 4096)
        except OSError:  # the other end is closed
            return


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_behind(number: signal.Signals) -> None:
    before = traces()
    process = subprocess.Popen(
        [_PBMOND, "selftest", *switches()], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    while len(traces() - before) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.5)
    wait_until(lambda: "" if _children(process.pid) else "its first child")
    children = [int(pid) for pid in _children(process.pid)]
    process.send_signal(number)
    _, said = process.communicate(timeout=patient(60))
    assert (process.returncode, said) == (130, b"pbmond selftest: interrupted\n")
    assert traces() == before
    assert children
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
