"""Claims about the figures of ``pbmond probes``: two readings in, rows, table and JSON out."""

from __future__ import annotations

from pbmond.loader.bpf import Runs
from pbmond.probes.costs import Attachment, Measured, as_json, table

SECOND = 1_000_000_000
READ, SPLICE, TEE, EXEC = (
    Attachment("sys_exit_read", 7),
    Attachment("sys_exit_splice", 8),
    Attachment("sys_exit_tee", 8),
    Attachment("sched_process_exec", 9),
)
MEASURED = Measured(
    [EXEC, READ, SPLICE, TEE],
    before={7: Runs(1000, 10, 0), 8: Runs(0, 0, 5), 9: Runs(300, 3, 0)},
    after={7: Runs(1000 + 20_000_000, 10 + 100_000, 1), 8: Runs(4000, 4, 9), 9: Runs(300, 3, 0)},
    elapsed_ns=2 * SECOND,
)


def test_a_row_is_what_happened_between_the_readings() -> None:
    row = MEASURED.rows()[0]
    assert (row.hooks, row.calls, row.time_ns) == (("sys_exit_read",), 100_000, 20_000_000)
    assert (row.calls_per_s, row.ns_per_call, row.core_percent) == (50_000.0, 200.0, 1.0)


def test_the_most_expensive_rows_come_first() -> None:
    times = [row.time_ns for row in MEASURED.rows()]
    assert times == sorted(times, reverse=True)


def test_hooks_that_share_a_program_share_a_row() -> None:
    hooks = [row.hooks for row in MEASURED.rows()]
    assert ("sys_exit_splice", "sys_exit_tee") in hooks
    assert len(hooks) == 3


def test_without_calls_the_time_of_a_call_is_unknown() -> None:
    (idle,) = (row for row in MEASURED.rows() if row.hooks == ("sched_process_exec",))
    assert (idle.calls, idle.calls_per_s, idle.ns_per_call, idle.core_percent) == (0, 0, None, 0)


def test_a_program_counts_once_in_the_total() -> None:
    total = MEASURED.total()
    assert (total.calls, total.time_ns) == (100_004, 20_004_000)


def test_the_table_is_aligned_and_ends_with_the_total_and_a_legend() -> None:
    assert list(table(MEASURED)) == [
        "HOOK                  CALLS  CALLS/S  NS/CALL  CORE %",
        "sys_exit_read       100,000   50,000      200   1.000",
        "sys_exit_splice           4        2    1,000   0.000",
        "+ sys_exit_tee",
        "sched_process_exec        0        0        -   0.000",
        "total               100,004   50,002      200   1.000",
        "+: shares the program of the hook above it; they are measured together",
    ]


def test_without_shared_programs_the_total_is_the_last_line() -> None:
    alone = Measured([READ], MEASURED.before, MEASURED.after, SECOND)
    assert [line.split()[0] for line in table(alone)] == ["HOOK", "sys_exit_read", "total"]


def test_json_has_the_same_figures_and_null_for_what_is_unknown() -> None:
    figures = as_json(MEASURED)
    assert figures["seconds"] == 2.0
    assert figures["total"]["calls"] == 100_004
    assert figures["probes"][0] == {
        "hooks": ["sys_exit_read"],
        "calls": 100_000,
        "calls_per_s": 50_000.0,
        "ns_per_call": 200.0,
        "core_percent": 1.0,
    }
    assert figures["probes"][2]["ns_per_call"] is None
