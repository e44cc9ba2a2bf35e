"""PBMON_PATIENCE: one factor for all time limits, or one line that says what is allowed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pbmond import cli
from pbmond.kernel import loading
from pbmond.patience import VARIABLE, PatienceError, handed_down, patient

PACKAGING = Path(__file__).parents[3] / "packaging"
BAD = ["", "0", "1001", "-1", "1.5", " 2", "1_0", "٣", "x", "10s", "1\n", "a[$(echo)]"]


def test_without_the_variable_limits_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert patient(30.0) == 30.0


@pytest.mark.parametrize("factor", [1, 10, 1000])
def test_the_variable_multiplies_limits_and_reaches_children(
    factor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(factor))
    assert patient(0.5) == factor / 2
    assert handed_down() == {VARIABLE: str(factor)}


@pytest.mark.parametrize("text", BAD)
def test_a_wrong_factor_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(PatienceError, match="must be a whole number from 1 to 1000"):
        patient(1)


@pytest.mark.parametrize("arguments", [[], ["selftest", "--list"], ["probes"]])
def test_the_daemon_and_its_commands_refuse_it_in_one_line(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "soon")
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "pbmond: PBMON_PATIENCE='soon': must be a whole number from 1 to 1000\n"


@pytest.mark.parametrize("text", BAD)
def test_the_scripts_refuse_the_same_in_one_line(text: str) -> None:
    ran = subprocess.run(
        [str(PACKAGING / "quickstart"), "--help"],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", VARIABLE: text},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    said = f"quickstart: PBMON_PATIENCE='{text}': must be a whole number from 1 to 1000\n"
    assert ran.stderr == said


def test_the_loader_gets_more_time_by_the_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "7")
    monkeypatch.setattr(loading, "confine_loader", lambda: None)  # which needs root
    before = time.monotonic()
    loader = loading.Loader(sys.executable, {"debug": False})
    assert loader._ready_by >= before + 7 * loading.READY_TIMEOUT_S
    with pytest.raises(loading.AttachError):  # asked for nothing, it ends at once
        loader.result()
