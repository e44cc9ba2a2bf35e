"""Recorded streams: of this version, of older and newer ones, and what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import demo_world
import pytest

from pbmon_client.data.model import Selection, Snapshot
from pbmon_client.data.recording import RecordingError, first_known, read
from pbmon_client.data.stream import Stream
from pbmond.fields import SHOWN

Recording = list[dict[str, Any]]
#: Without these there is no row, or no address. They have been there from the beginning.
FIRST_FIELDS = {
    *("pid", "start_ns", "uid", "user", "class", "protocol", "device"),
    *("local_address", "remote_address"),
}
LATER_FIELDS = [
    (table, name) for table, fields in SHOWN.items() for name in fields if name not in FIRST_FIELDS
]


@pytest.fixture
def recording() -> Recording:
    snapshots = [json.loads(line) for line in demo_world.FILE.read_text().splitlines()[:2]]
    for each in snapshots:
        counters = {name: 7 for name in SHOWN["retired"] if name in each["totals"]}
        each["retired"] = [{"unit": "a", "container": None, "uid": 1, "user": "b", "processes": 1,
                            **counters}]  # fmt: skip
    return snapshots


def played(recording: Recording, path: Path) -> list[Snapshot]:
    """Write a recording and read it back, at a display interval."""
    path.write_text("".join(json.dumps(each) + "\n" for each in recording))
    stream = Stream(Selection(flows=True), 0)
    shown = [stream.take(each.message, each.scope, 0.1) for each in read(path)]
    return [each for each in shown if each is not None]


@pytest.mark.parametrize(("table", "name"), LATER_FIELDS)
def test_a_field_that_a_recording_does_not_have_is_unknown(
    recording: Recording, tmp_path: Path, table: str, name: str
) -> None:
    for snapshot in recording:
        assert snapshot[table]
        for row in snapshot[table]:
            row.pop(name, None)  # the newest are not in the file yet
    for shown in played(recording, tmp_path / "older"):
        values = getattr(shown, table).column(name)
        if SHOWN[table][name].rate_of is None:  # rates are worked out again
            assert {*values} <= {None, "unknown", 0}


@pytest.mark.parametrize("part", ["totals", "health", "coverage", "interfaces", "elsewhere"])
def test_a_recording_without_a_counter_is_read(
    recording: Recording, tmp_path: Path, part: str
) -> None:
    whole = len(played(recording, tmp_path / "whole"))
    for snapshot in recording:
        place = snapshot if part in snapshot else snapshot["coverage"]
        maps = place[part] if part == "interfaces" else [place[part]]
        for each in maps:
            for name in [name for name, value in each.items() if type(value) in (int, float)]:
                del each[name]
    assert len(played(recording, tmp_path / "older")) == whole > 0


def test_fields_of_a_newer_version_are_left_out(recording: Recording, tmp_path: Path) -> None:
    expected = played(recording, tmp_path / "same")
    for snapshot in recording:
        coverage = snapshot["coverage"]
        rows = [row for table in SHOWN for row in snapshot[table]]
        for each in (*rows, *coverage["interfaces"], coverage, snapshot["totals"], snapshot):
            each["of_tomorrow"] = 7
    newer = played(recording, tmp_path / "newer")
    assert [each.message for each in newer] == [each.message for each in expected]


@pytest.mark.parametrize(
    ("table", "name"), [("processes", "pid"), ("files", "start_ns"), ("connections", "class")]
)
def test_rows_of_nobody_are_no_recording(
    recording: Recording, tmp_path: Path, table: str, name: str
) -> None:
    del recording[0][table][0][name]
    with pytest.raises(RecordingError, match=rf"line 1 is no snapshot .*\(no '{name}'\)"):
        played(recording, tmp_path / "odd")


@pytest.mark.parametrize(
    ("name", "value"),
    [("totals", {"net_rx_bytes": "x"}), ("health", 7), ("seq", "x"), ("coverage", None)],
)
def test_values_that_cannot_be_are_no_recording(
    recording: Recording, tmp_path: Path, name: str, value: object
) -> None:
    path = tmp_path / "odd"
    path.write_text(json.dumps({**recording[0], name: value}) + "\n")
    with pytest.raises(RecordingError, match="line 1 is no snapshot"):
        first_known(path, Selection())
