"""Claims about the command ``pbmond probes`` that need neither root nor eBPF."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from descriptors import descriptors

from pbmond.cli import main
from pbmond.loader.bpf import Runs
from pbmond.system.rundir import hold

Probes = Callable[..., tuple[int, str, str]]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A kernel in which descriptor 1 of whatever process attaches a program that runs and runs."""
    runs = iter(range(1000))
    fakes: dict[str, Any] = {
        "attached": lambda pid, descriptor: (7, "sys_exit_read") if descriptor == 1 else None,
        "open_program": lambda program: os.open("/dev/null", os.O_RDONLY),
        "runs": lambda program: Runs(*(each * next(runs) for each in (1000, 10, 0))),
        "count_runs": lambda: os.open("/dev/null", os.O_RDONLY),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(f"pbmond.loader.bpf.{name}", fake)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return monkeypatch


@pytest.fixture
def probes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Probes:
    def run(*options: str) -> tuple[int, str, str]:
        status = main(["probes", "--run-dir", str(tmp_path), "--seconds", "0.1", *options])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def refused(why: int) -> Callable[..., int]:
    def fail(*_: object) -> int:
        raise OSError(why, os.strerror(why))

    return fail


def test_without_root_it_says_so_in_one_line(
    probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert probes() == (1, "", "pbmond probes: must run as root: use sudo\n")


@pytest.mark.parametrize("text", ["0", "-1", "x", "3601", "nan", "inf", ""])
def test_an_impossible_time_is_refused_in_one_line(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["probes", f"--seconds={text}"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"pbmond probes: argument --seconds: {text!r} is not a number from ")
    assert said.count("\n") == 1


def test_without_a_daemon_it_names_the_run_directory(
    probes: Probes, kernel: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    remedy = "start pbmond, or name its --run-dir"
    assert probes() == (1, "", f"pbmond probes: {tmp_path}: no daemon is running there; {remedy}\n")


def test_a_daemon_that_has_attached_nothing_yet_is_named(
    probes: Probes, kernel: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kernel.setattr("pbmond.loader.bpf.attached", lambda pid, descriptor: None)
    with hold(tmp_path):
        status, out, said = probes()
    assert (status, out) == (1, "")
    assert said == (
        f"pbmond probes: the daemon (process {os.getpid()}) has attached nothing yet; try again\n"
    )


@pytest.mark.parametrize(
    ("why", "said"),
    [
        (errno.EINVAL, "this kernel cannot measure its programs on demand (Linux 5.8 can)"),
        (errno.EPERM, "the kernel refuses to measure its programs (Operation not permitted)"),
    ],
)
def test_a_kernel_that_does_not_measure_is_one_line(
    probes: Probes, kernel: pytest.MonkeyPatch, tmp_path: Path, why: int, said: str
) -> None:
    kernel.setattr("pbmond.loader.bpf.count_runs", refused(why))
    with hold(tmp_path):
        assert probes() == (1, "", f"pbmond probes: {said}\n")


def test_a_daemon_whose_descriptors_are_refused_is_one_line(
    probes: Probes, kernel: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kernel.setattr("pbmond.loader.bpf.attached", refused(errno.EPERM))
    with hold(tmp_path):
        status, _, said = probes()
    assert (status, said.count("\n")) == (1, 1)
    assert said.endswith("cannot be examined: Operation not permitted\n")


def test_a_daemon_that_ends_meanwhile_has_no_figures(
    probes: Probes, kernel: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with ExitStack() as daemon:
        daemon.enter_context(hold(tmp_path))
        kernel.setattr("time.sleep", lambda seconds: daemon.close())
        status, out, said = probes()
    assert (status, out, said.count("\n")) == (1, "", 1)


def test_ctrl_c_switches_the_statistics_off(
    probes: Probes, kernel: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    kernel.setattr("time.sleep", interrupt)
    with hold(tmp_path):
        before = descriptors()
        assert probes() == (130, "", "pbmond probes: interrupted\n")
        assert descriptors() <= before


def test_the_table_and_the_object_show_the_same_hook(
    probes: Probes, kernel: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with hold(tmp_path):
        _, text, _ = probes()
        status, out, _ = probes("--json")
    assert text.splitlines()[1].split()[0] == "sys_exit_read"
    answer = json.loads(out)
    assert (status, answer["schema"], answer["pid"]) == (0, "pbmond-probes/1", os.getpid())
    assert [each["hooks"] for each in answer["probes"]] == [["sys_exit_read"]]
    assert answer["seconds"] >= 0.1
