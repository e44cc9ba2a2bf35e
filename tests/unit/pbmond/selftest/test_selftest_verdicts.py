"""Claims about the self-test's verdicts: exact means exact, whatever else happens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from selftest_rows import (
    PID,
    connection_row,
    expected_connection,
    expected_file,
    file_row,
    moved,
    process_row,
)

from pbmond.fields import CLASSES, DIRECTIONS, counter_names
from pbmond.selftest.moved import SnapshotDelta
from pbmond.selftest.verdicts import EXACT, NOT_OFFERED, OFF, UNSEEN, Outcome, ResultLine, judge
from pbmond.selftest.workloads import Expectation, ExpectedProcess

EXCUSE = "such calls (documented)"


def lines(
    expected: Expectation | tuple[Expectation, ...], seen: SnapshotDelta, excuse: str | None = None
) -> dict[str, ResultLine]:
    expected = expected if isinstance(expected, tuple) else (expected,)
    judged = judge(Outcome("files.some", "after", expected), seen, excuse)
    return {line.way: line for line in judged}


def of_file(read: int, written: int, **changes: Any) -> SnapshotDelta:
    """One file, and a process whose counters are those of the file."""
    row = file_row(read, written, **changes)
    name = CLASSES[row["class"]]
    counters = dict(zip(counter_names(name)[:2], (read, written), strict=True))
    return moved(files=[row], processes=[process_row(**counters)])


def test_equal_bytes_and_calls_in_the_right_row_are_exact() -> None:
    found = lines(expected_file(1003, 77), of_file(1003, 77))
    assert [(line.way, line.verdict) for line in found.values()] == [("in", EXACT), ("out", EXACT)]
    assert (found["in"].expected_bytes, found["in"].counted_bytes) == (1003, 1003)
    assert (found["out"].expected_calls, found["out"].counted_calls) == (1, 1)


@pytest.mark.parametrize("counted", [1002, 1004, 0, 2006])
def test_one_byte_more_is_as_wrong_as_one_byte_less(counted: int) -> None:
    found = lines(expected_file(1003, 77), of_file(counted, 77))
    assert (found["in"].verdict, found["in"].counted_bytes) == (OFF, counted)
    assert found["out"].verdict == EXACT


def test_right_bytes_by_a_wrong_number_of_calls_are_off() -> None:
    found = lines(expected_file(1003), of_file(1003, 0, read_calls=2))
    assert found["in"].verdict == OFF
    assert "2 calls, not 1" in str(found["in"].reason)


def test_calls_that_the_kernel_may_split_are_not_compared() -> None:
    expected = expected_file(1003, read_calls=None, write_calls=None)
    assert lines(expected, of_file(1003, 0, read_calls=5))["in"].verdict == EXACT


def test_right_bytes_in_a_wrong_class_are_off() -> None:
    found = lines(expected_file(1003), of_file(1003, 0, **{"class": CLASSES.index("device")}))
    assert (found["in"].verdict, found["in"].reason) == (OFF, "class device, not file")


def test_bytes_of_the_process_in_an_unexpected_row_are_off() -> None:
    stray = file_row(0, 5, inode=78, path=b"/srv/other")
    counters = process_row(file_read_bytes=1003, file_write_bytes=5)
    found = lines(expected_file(1003), moved(files=[file_row(1003), stray], processes=[counters]))
    assert found["in"].verdict == EXACT
    assert (found["out"].verdict, found["out"].counted_bytes) == (OFF, 5)
    assert "/srv/other" in str(found["out"].reason)


def test_bytes_on_the_same_file_in_another_process_are_off() -> None:
    seen = of_file(1003, 0)
    strayed = moved(
        files=[*seen.files[PID], file_row(9, pid=PID + 1)], processes=seen.processes[PID]
    )
    found = lines(expected_file(1003), strayed)
    assert found["in"].verdict == OFF
    assert str(PID + 1) in str(found["in"].reason)


def test_bytes_on_the_same_socket_in_another_process_are_off() -> None:
    rows = [connection_row(0, 303), connection_row(0, 1, pid=PID + 1)]
    seen = moved(connections=rows, processes=[process_row(unix_tx_bytes=303)])
    assert lines(expected_connection(0, 303), seen)["out"].verdict == OFF


def test_bytes_of_others_on_a_shared_device_are_not_strays() -> None:
    device = {"class": CLASSES.index("device"), "path": b"/dev/null"}
    rows = [file_row(0, 5, **device), file_row(0, 9, pid=PID + 1, **device)]
    seen = moved(files=rows, processes=[process_row(device_write_bytes=5)])
    expected = expected_file(0, 5, byte_class="device", path=b"/dev/null")
    assert lines(expected, seen)["out"].verdict == EXACT


def test_bytes_of_the_process_in_no_row_are_off() -> None:
    seen = moved(files=[file_row(1003)], processes=[process_row(file_read_bytes=1008)])
    found = lines(expected_file(1003), seen)
    assert (found["in"].verdict, found["in"].reason) == (OFF, "+5 bytes of class file in no row")


def test_missing_bytes_are_unseen_only_where_health_says_so() -> None:
    nothing = moved(processes=[process_row()])
    assert lines(expected_file(1003), nothing)["in"].verdict == OFF
    found = lines(expected_file(1003), nothing, EXCUSE)["in"]
    assert (found.verdict, found.reason) == (UNSEEN, EXCUSE)


def test_bytes_that_were_said_to_be_unseen_and_show_are_exact() -> None:
    assert lines(expected_file(1003), of_file(1003, 0), EXCUSE)["in"].verdict == EXACT


@pytest.mark.parametrize("counted", [1004, 9999])
def test_an_excuse_does_not_cover_bytes_too_many(counted: int) -> None:
    assert lines(expected_file(1003), of_file(counted, 0), EXCUSE)["in"].verdict == OFF


def test_an_excuse_does_not_cover_bytes_in_a_wrong_place() -> None:
    stray = file_row(1, inode=78, path=b"/srv/other")
    seen = moved(files=[stray], processes=[process_row(file_read_bytes=1)])
    assert lines(expected_file(1003), seen, EXCUSE)["in"].verdict == OFF


def test_an_excuse_does_not_cover_what_one_row_lacks_and_another_has_too_much() -> None:
    other: dict[str, Any] = {"inode": 78, "path": b"/srv/other"}
    expected = (expected_file(1003), expected_file(5, **other))
    seen = moved(files=[file_row(7, **other)], processes=[process_row(file_read_bytes=7)])
    assert lines(expected, seen, EXCUSE)["in"].verdict == OFF


def test_unseen_bytes_that_reached_the_disk_say_how_many() -> None:
    seen = moved(processes=[process_row(disk_write_bytes=65_536)])
    found = lines(expected_file(0, 65_536), seen, EXCUSE)["out"]
    assert found.reason == f"{EXCUSE}; disk_write_bytes 65,536"


def test_lines_exchanged_with_the_harness_must_be_exact_but_are_not_shown() -> None:
    pipe: dict[str, Any] = {"inode": 5, "path": None}
    as_class = {"class": CLASSES.index("pipe")}
    control = expected_file(1, byte_class="pipe", control=True, **pipe)
    for counted, verdict in ((1, EXACT), (2, OFF)):
        rows = [file_row(1003), file_row(counted, **pipe, **as_class, read_calls=1)]
        counters = process_row(file_read_bytes=1003, pipe_read_bytes=counted)
        found = lines((expected_file(1003), control), moved(files=rows, processes=[counters]))
        assert (found["in"].verdict, found["in"].counted_bytes) == (verdict, 1003)


def test_a_process_with_another_name_is_off() -> None:
    process = ExpectedProcess(pid=PID, name=b"other", cmdline=b"mover\0")
    found = lines((expected_file(1003), process), of_file(1003, 0))
    assert found["in"].verdict == OFF


def test_a_file_is_found_by_its_path_if_stat_reports_another_device() -> None:
    assert lines(expected_file(1003, device=99), of_file(1003, 0))["in"].verdict == EXACT


def test_two_processes_with_one_pid_are_distinguished_by_their_start() -> None:
    first, second = 1_000_000_000, 2_000_000_000
    rows = [file_row(1001, start_ns=first), file_row(303, start_ns=second)]
    seen = moved(files=rows, processes=[process_row(file_read_bytes=1304)])
    expected = tuple(
        expected_file(size, start_ticks=start // 10_000_000)
        for size, start in ((1001, first), (303, second))
    )
    assert lines(expected, seen)["in"].verdict == EXACT
    assert lines(expected[::-1], seen)["in"].counted_bytes == 1304


def test_who_opened_an_older_connection_may_be_unknown_but_not_wrong() -> None:
    expected = (expected_connection(0, 303, direction="out"),)
    for direction, opened, verdict in (
        ("unknown", "before", EXACT),
        ("unknown", "after", OFF),
        ("in", "before", OFF),
    ):
        row = connection_row(0, 303, direction=DIRECTIONS.index(direction))
        seen = moved(connections=[row], processes=[process_row(unix_tx_bytes=303)])
        (line,) = judge(Outcome("sockets.some", opened, expected), seen, None)
        assert line.verdict == verdict


def test_what_the_kernel_lacks_and_what_failed_have_a_reason() -> None:
    nothing = moved()
    (refused,) = judge(Outcome("sockets.sctp", "after", refusal="no SCTP"), nothing, None)
    assert (refused.verdict, refused.reason, refused.way) == (NOT_OFFERED, "no SCTP", "-")
    (failed,) = judge(Outcome("sockets.sctp", "after", failure="OSError"), nothing, EXCUSE)
    assert (failed.verdict, failed.reason) == (OFF, "OSError")


def test_a_path_that_moves_nothing_still_has_a_line() -> None:
    (line,) = lines(expected_file(), moved(processes=[process_row()])).values()
    assert (line.verdict, line.expected_bytes, line.counted_bytes) == (EXACT, 0, 0)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({}, None),
        ({"retransmitted_segments": 4}, "retransmitted_segments 4, not 5"),
        ({"retransmitted_bytes": 0}, "retransmitted_bytes 0, not 7000"),
        ({"rtt_us": 301}, "rtt_us 301, not from 100 to 300"),
    ],
)
def test_tcp_values_must_be_those_of_the_kernel(found: dict[str, int], reason: str | None) -> None:
    values = {"retransmitted_segments": 5, "retransmitted_bytes": 7000, "rtt_us": 200}
    row = connection_row(0, 9, **(values | found))
    whole = dict(zip(counter_names("unix")[:2], (0, 9), strict=True))
    expected = replace(
        expected_connection(0, 9),
        retransmitted_segments=5,
        retransmitted_bytes=7000,
        rtt_us=(100, 300),
    )
    seen = lines(expected, moved(connections=[row], processes=[process_row(**whole)]))
    assert (seen["out"].verdict, seen["out"].reason) == (OFF if reason else EXACT, reason)
