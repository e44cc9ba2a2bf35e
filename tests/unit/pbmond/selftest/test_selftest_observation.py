"""Claims about a run of the self-test: what ends badly changes no result. Without root or eBPF."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest
from selftest_rows import message

from pbmond import cli
from pbmond.selftest import observation
from pbmond.selftest.observation import ORDERS, Observed, observe
from pbmond.selftest.private_daemon import Daemon, DaemonError
from pbmond.selftest.verdicts import EXACT, OFF, ResultLine
from pbmond.selftest.workloads import Workload, WorkloadError

NAME = "files.read_write"
HEALTH: dict[str, Any] = {
    "modes": {"sockets": "tracepoint", "files": "syscall-exit", "reads": "typed"},
    "unseen": [],
    "lost": {"skipped_calls": 0},
}


class BlindDaemon:
    """A daemon that counts nothing and does not end."""

    def snapshot(self) -> Any:
        return message(HEALTH)

    def stop(self) -> int:
        raise DaemonError("the daemon did not end within 10 s: killed")


def blind(_directory: Path) -> Daemon:
    return cast("Daemon", BlindDaemon())


def test_a_daemon_that_does_not_end_changes_no_verdict() -> None:
    seen = observe([NAME], blind, seed=0)
    assert {(line.path, line.opened, line.verdict) for line in seen.lines} == {
        (NAME, opened, OFF) for opened in ORDERS
    }
    assert seen.bad_ends == ("the daemon did not end within 10 s: killed",)


def test_a_program_that_does_not_end_well_is_named_and_changes_no_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exit_badly(self: Workload) -> None:
        exit_well(self)
        raise WorkloadError("the program hangs")

    exit_well = Workload.exit
    monkeypatch.setattr(Workload, "exit", exit_badly)
    seen = observe([NAME], blind, seed=0)
    assert len(seen.lines) == 2 * len(ORDERS)
    assert sorted(seen.bad_ends)[0] == f"{NAME}: the program hangs"
    assert len(seen.bad_ends) == 1 + len(ORDERS)


def test_what_ended_badly_is_a_line_after_the_results(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ResultLine(NAME, "before", "in", 7, 7, 1, 1, EXACT, None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(observation, "observe", lambda *_: Observed(HEALTH, (line,), ("it hung",)))
    assert cli.main(["selftest", "--only", NAME]) == 0
    out, err = capsys.readouterr()
    assert "1 rows: 1 exact" in out
    assert err == "pbmond selftest: it hung\n"
