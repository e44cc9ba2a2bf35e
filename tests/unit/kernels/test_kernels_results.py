"""Claims about what the runs of a guest mean: results, verdicts, exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kernels_runs import DAEMON, MAPPED, MODES, left, report, row, said

from tests.kernels import results
from tests.kernels.results import Run, run_of

REFUSAL = 'fexit: the kernel refuses them: set sockets and files to "auto" in the configuration'
FAULTS = ["the verifier refuses a program", "read cannot be attached", "no snapshot is published"]


def test_a_report_becomes_counts_and_paths_by_reason() -> None:
    run = run_of(
        said(
            report=report(
                row("files.mapped", "unseen", MAPPED),
                row("files.mapped", "unseen", MAPPED),
                row("sockets.sctp", "not offered", "no SCTP"),
                row("uring.tee", "off", "5 bytes, not 6"),
                lost={"bytes": 3, "names": 0},
            )
        )
    )
    assert run == Run(
        "auto",
        MODES,
        {"exact": 1, "off": 1, "unseen": 2, "not_offered": 1},
        12345,
        ["uring.tee"],
        {MAPPED: ["files.mapped"]},
        {"no SCTP": ["sockets.sctp"]},
        {"bytes": 3},
    )


@pytest.mark.parametrize("told", [None, 0])
def test_instructions_that_the_kernel_does_not_tell_are_unknown(told: int | None) -> None:
    run = run_of(said(report=report(verified_instructions=told)))
    assert run.verified_instructions is None


def test_a_forced_mode_that_the_kernel_lacks_is_no_failure() -> None:
    run = run_of(said("files=fexit", report=None, words=f"pbmond selftest: {REFUSAL}\n"))
    assert (run.refused, run.failed, run.passed) == (REFUSAL, None, True)


@pytest.mark.parametrize("words", [REFUSAL, *FAULTS])
def test_that_nothing_loads_by_itself_is_a_failure(words: str) -> None:
    run = run_of(said(report=None, words=words))
    assert (run.refused, run.failed, run.passed) == (None, words, False)


@pytest.mark.parametrize(
    ("words", "failed"),
    [
        *((f"pbmond selftest: {fault}\n", fault) for fault in FAULTS),
        ("Traceback (most recent call last):\n  x\nValueError: 7\n", "ValueError: 7"),
        ("", "no result"),
    ],
)
def test_a_forced_run_without_a_result_is_a_failure(words: str, failed: str) -> None:
    run = run_of(said("reads=probe", report=None, words=words))
    assert (run.failed, run.passed) == (failed, False)


def test_it_passes_when_every_run_does(tmp_path: Path) -> None:
    refused = said("sockets=fexit files=fexit", report=None, words=REFUSAL)
    result = left(tmp_path, said(), said("reads=typed"), refused)
    assert [run.forced for run in result.runs] == ["auto", "reads=typed", refused["forced"]]
    assert result.passed
    assert (result.userland, result.name) == ("Debian 12", "6.12-debian-12")


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("6.1.0-56-amd64", "6.1-debian-12"),
        ("6.1.0-56-arm64", "6.1-arm64-debian-12"),
        ("6.12.117+deb13-arm64-16k", "6.12-arm64-16k-debian-12"),
    ],
)
def test_a_result_is_kept_by_series_machine_and_userland(release: str, name: str) -> None:
    result = results.Result(release, "Debian 12", "3.11", "0.26", [], None)
    assert result.name == name


def test_one_row_that_is_off_fails_all(tmp_path: Path) -> None:
    off = said("reads=typed", report=report(row("uring.tee", "off", "5 bytes, not 6")))
    assert not left(tmp_path, said(), off).passed


def test_a_program_that_leaves_the_verifier_too_little_room_fails_all(tmp_path: Path) -> None:
    most = said(report=report(verified_instructions=results.MOST_INSTRUCTIONS))
    more = said(report=report(verified_instructions=results.MOST_INSTRUCTIONS + 1))
    assert left(tmp_path, most).passed
    assert not left(tmp_path, more).passed


def test_a_guest_that_did_not_end_fails_with_the_runs_that_it_had(tmp_path: Path) -> None:
    result = left(tmp_path, said(), failed="the guest had not ended after 60 s")
    assert len(result.runs) == 1
    assert (result.passed, result.failed) == (False, "the guest had not ended after 60 s")


def test_a_guest_that_leaves_nothing_fails(tmp_path: Path) -> None:
    result = results.collect(tmp_path, "6.1.0-56-amd64", None)
    assert (result.passed, result.failed) == (False, "the guest left no result")


def test_half_a_file_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "run-01.json").write_text('{"forced": "rea')
    result = left(tmp_path, said(), failed="the guest had not ended after 60 s")
    assert [run.forced for run in result.runs] == ["auto"]


@pytest.mark.parametrize(
    ("daemon", "failed"),
    [
        ({"health": None, "words": ["pbmond: no"]}, "the daemon has no snapshot: pbmond: no"),
        ({"health": None, "words": []}, "the daemon has no snapshot: it says nothing"),
        ({"status": -9}, "the daemon ended with -9"),
    ],
)
def test_a_daemon_that_does_not_start_or_stop_well_fails(
    tmp_path: Path, daemon: dict[str, object], failed: str
) -> None:
    result = left(tmp_path, said(), daemon=DAEMON | daemon)
    assert (result.passed, result.failed) == (False, failed)


def test_results_are_kept_and_read_back_in_the_order_of_kernels(tmp_path: Path) -> None:
    job, kept = tmp_path / "job", tmp_path / "kept"
    job.mkdir()
    kept.mkdir()
    newer = left(job, said(report=report(row("files.mapped", "unseen", MAPPED))))
    older = results.collect(job, "6.1.0-56-amd64", None)
    for result in (newer, older):
        results.save(result, kept)
    assert results.load(kept) == [older, newer]


def test_results_of_another_schema_are_refused(tmp_path: Path) -> None:
    (tmp_path / "6.1.json").write_text(json.dumps({"schema": "pbmon-kernels/0"}))
    with pytest.raises(ValueError, match="schema"):
        results.load(tmp_path)
