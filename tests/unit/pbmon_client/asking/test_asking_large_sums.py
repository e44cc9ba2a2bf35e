"""Sums of the past may be larger than any counter of the present: in every output."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pbmon_client import cli
from pbmon_client.data import recording
from pbmon_client.history.layout import LAYOUTS, PROCESSES
from pbmon_client.history.writer import HistoryWriter
from tests import past_host as make

BEGIN = make.MONDAY
#: More than the kernel counts segments up to.
LARGE = 2**40
Run = Callable[..., str]


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run the command on a store and return what it prints."""

    def printed(*arguments: str, history: Path) -> str:
        assert cli.main(["--history", str(history), *arguments]) == 0
        return capfdbinary.readouterr().out.decode()

    return printed


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Return a store in which every counter of every row grew by more than 32 bits hold, twice."""
    rows = {
        PROCESSES: [make.process(1)],
        "connections": [make.connection(1, 443)],
        "files": [make.file(1, 1)],
    }
    deltas = {name: np.full((1, len(LAYOUTS[name].counters)), LARGE) for name in rows}
    with HistoryWriter(tmp_path / "history", sync=False) as writer:
        for at in (0, 1):
            writer.tick(make.tick((BEGIN + at) * make.SECOND, rows, deltas))
    return tmp_path / "history"


def test_sums_of_any_size_are_in_every_output(run: Run, large: Path, tmp_path: Path) -> None:
    times = ("--since", f"@{BEGIN}", "--until", f"@{BEGIN + 2}")
    shown = json.loads(run("--json", "--flows", *times, history=large))
    for name, layout in LAYOUTS.items():
        (row,) = shown[name]
        assert {row[each] for each in layout.counters} == {2 * LARGE}
    for view in ("hosts", "ports", "units"):
        (group,) = json.loads(run("--json", *times, "--view", view, history=large))["groups"]
        assert {group[each] for each in group if each.endswith(("_bytes", "_segments"))} <= {
            2 * LARGE
        }
        (row,) = csv.DictReader(io.StringIO(run("--csv", *times, "--view", view, history=large)))
        assert str(2 * LARGE) in row.values()
    tables = list(csv.DictReader(io.StringIO(run("--csv", "--flows", *times, history=large))))
    assert [row["retransmitted_segments"] for row in tables[:2]] == [str(2 * LARGE)] * 2
    assert "T" in run("--once", *times, "--view", "hosts", history=large)
    path = tmp_path / "replay.ndjson"
    for more in ((), ("--step", "2s")):
        path.write_text(run("--ndjson", "--flows", *times, *more, history=large))
        played = [each.message for each in recording.read(path)]
        for name, layout in LAYOUTS.items():
            for counter in layout.counters:
                sums = [sum(getattr(each, name).columns[counter]) for each in played]
                assert sum(sums) == 2 * LARGE, (name, counter)


@pytest.mark.parametrize(
    "arguments",
    [["--json", "--flows"], ["--once", "--view", "hosts"], ["--csv", "--flows"], ["--ndjson"]],
)
def test_an_address_that_is_none_is_unknown_and_said(
    tmp_path: Path, run: Run, arguments: list[str]
) -> None:
    """As a bundle has it that somebody made by hand."""
    rows = {PROCESSES: [make.process(1)], "connections": [make.connection(1, 443, remote=b"ab")]}
    deltas = {name: np.ones((1, len(LAYOUTS[name].counters)), np.int64) for name in rows}
    with HistoryWriter(tmp_path, sync=False) as writer:
        for at in range(70):  # of which some are in a block
            writer.tick(make.tick((BEGIN + at) * make.SECOND, rows, deltas))
    span = ("--since", f"@{BEGIN}", "--until", f"@{BEGIN + 60}")
    printed = run(*arguments, *span, history=tmp_path)
    if arguments == ["--json", "--flows"]:
        said = json.loads(printed)
        assert said["connections"][0]["remote_address"] in (None, "0.0.0.0")
        assert said["health"]["status"] == "incomplete"
        assert any("names" in each for each in said["health"]["reasons"])
