"""Claims about what moved between two snapshots."""

from __future__ import annotations

from selftest_rows import PID, START_NS, connection_row, file_row, message, process_row

from pbmond.selftest.moved import moved


def test_only_the_increase_counts() -> None:
    earlier = message(files=[file_row(1000, 5)], connections=[connection_row(7, 7)])
    later = message(files=[file_row(1003, 5, read_calls=2)], connections=[connection_row(7, 7)])
    between = moved(earlier, later)
    (row,) = between.files[PID]
    assert (row["read_bytes"], row["read_calls"], row["write_bytes"]) == (3, 1, 0)
    assert PID not in between.connections


def test_all_of_a_new_row_counts() -> None:
    between = moved(message(), message(connections=[connection_row(7, 9)]))
    (row,) = between.connections[PID]
    assert (row["rx_bytes"], row["tx_bytes"]) == (7, 9)


def test_a_row_of_another_process_of_the_same_pid_is_another_row() -> None:
    earlier = message(files=[file_row(1000)])
    later = message(files=[file_row(1000), file_row(1000, start_ns=START_NS + 20_000_000)])
    (row,) = moved(earlier, later).files[PID]
    assert row["read_bytes"] == 1000


def test_a_process_is_the_same_when_its_start_becomes_exact() -> None:
    coarse = START_NS // 10_000_000 * 10_000_000
    earlier = message(processes=[process_row(start_ns=coarse, file_read_bytes=5)])
    later = message(processes=[process_row(file_read_bytes=9, name=b"renamed")])
    (row,) = moved(earlier, later).processes[PID]
    assert (row["file_read_bytes"], row["name"]) == (4, b"renamed")


def test_a_file_of_a_reused_inode_number_is_another_row() -> None:
    earlier = message(files=[file_row(1000, first_ns=1)])
    later = message(files=[file_row(1000, first_ns=1), file_row(3, first_ns=2)])
    (row,) = moved(earlier, later).files[PID]
    assert row["read_bytes"] == 3
    assert row["first_ns"] == 2


def test_a_process_that_had_the_pid_before_is_left_out() -> None:
    before = START_NS - 1_000_000_000
    rows = [connection_row(7, 7), connection_row(9, 9, start_ns=before)]
    files = [file_row(1000), file_row(5, start_ns=before)]
    between = moved(message(), message(connections=rows, files=files)).since(START_NS)
    assert [row["rx_bytes"] for row in between.connections[PID]] == [7]
    assert [row["read_bytes"] for row in between.files[PID]] == [1000]


def test_retransmissions_are_the_increase() -> None:
    earlier = message(connections=[connection_row(7, 7, retransmitted_segments=2)])
    later = message(connections=[connection_row(7, 7, retransmitted_segments=5)])
    (row,) = moved(earlier, later).connections[PID]
    assert row["retransmitted_segments"] == 3
