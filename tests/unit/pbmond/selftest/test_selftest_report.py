"""Claims about the self-test's table, summary, JSON and progress bar."""

from __future__ import annotations

import json
from dataclasses import replace

from pbmond.selftest.report import Bar, Report, as_json, summary, table
from pbmond.selftest.verdicts import EXACT, NOT_OFFERED, OFF, UNSEEN, ResultLine

HEALTH = {
    "modes": {"sockets": "tracepoint", "files": "syscall-exit", "reads": "typed"},
    "unseen": ["such calls"],
    "lost": {"bytes": 0},
    "cost": {"verified_instructions": 4321},
}
SILENT = {"verified_instructions": 0}
GOOD = ResultLine("files.read_write", "before", "in", 4001, 4001, 2, 2, EXACT, None)
SHORT = replace(GOOD, way="out", counted_bytes=1, verdict=OFF, reason="1 bytes, not 4001")
MISPLACED = replace(GOOD, verdict=OFF, reason="class pipe, not file")
HIDDEN = replace(GOOD, counted_bytes=0, counted_calls=0, verdict=UNSEEN, reason="such calls")
LACKING = ResultLine("sockets.sctp", "after", "-", 0, 0, None, 0, NOT_OFFERED, "no SCTP")


def report(*lines: ResultLine) -> Report:
    return Report("6.1.0", "x86_64", "1.0", 7, 5.25, HEALTH, lines)


def test_the_table_shows_a_row_for_each_line_under_its_titles() -> None:
    title, *rows = table(report(GOOD, SHORT, MISPLACED, HIDDEN, LACKING))
    assert title.split() == ["PATH", "OPENED", "WAY", "EXPECTED", "COUNTED", "CALLS", "VERDICT"]
    verdicts = [row[title.index("VERDICT") :] for row in rows]
    assert verdicts == [
        "exact",
        "off by -4,000: 1 bytes, not 4001",
        "off: class pipe, not file",
        "unseen as documented: such calls",
        "not offered by this kernel: no SCTP",
    ]
    assert rows[0].split() == ["files.read_write", "before", "in", "4,001", "4,001", "2", "exact"]
    assert rows[4].split()[2:6] == ["-"] * 4


def test_too_many_bytes_have_a_plus() -> None:
    _, row = table(report(replace(SHORT, counted_bytes=4005, reason="why")))
    assert row.endswith("off by +4: why")


def test_the_summary_counts_each_verdict_and_names_the_kernel() -> None:
    line = summary(report(GOOD, GOOD, SHORT, HIDDEN, LACKING))
    assert line == (
        "5 rows: 2 exact, 1 off, 1 unseen as documented, 1 not offered by this kernel; "
        "Linux 6.1.0 x86_64, sockets by tracepoint, files by syscall-exit, typed reads; "
        "seed 7, 5.2 s"
    )


def test_it_passes_only_if_nothing_is_off() -> None:
    assert report(GOOD, HIDDEN, LACKING).passed()
    assert not report(GOOD, MISPLACED).passed()


def test_json_holds_every_line_and_survives_a_round_trip() -> None:
    whole = json.loads(json.dumps(as_json(report(GOOD, SHORT, LACKING))))
    assert whole["schema"] == "pbmon-selftest/1"
    assert (whole["passed"], whole["seed"], whole["kernel"]) == (False, 7, "6.1.0")
    assert whole["summary"] == {"exact": 1, "off": 1, "unseen": 0, "not_offered": 1}
    assert [row["verdict"] for row in whole["rows"]] == ["exact", "off", "not offered"]
    assert [row["off_bytes"] for row in whole["rows"]] == [0, -4000, 0]
    assert whole["rows"][0]["expected_calls"] == 2
    assert whole["rows"][2]["expected_calls"] is None
    assert whole["verified_instructions"] == 4321


def test_verified_instructions_are_null_on_an_old_kernel() -> None:
    silent = Report("5.10.0", "x86_64", "1.0", 7, 5.25, HEALTH | {"cost": SILENT}, [GOOD])
    assert as_json(silent)["verified_instructions"] is None


def test_the_bar_fills_up_and_never_wraps() -> None:
    bar = Bar(4, 40)
    drawn = [bar.draw("x" * 100) for _ in range(4)]
    assert all(line is not None and line.startswith("\r[") for line in drawn)
    assert all(len(str(line)) <= 40 - 1 + len("\r\x1b[K") for line in drawn)
    assert "100%" in str(drawn[-1])
    assert str(drawn[-1]).count("#") == 40 // 3


def test_the_bar_draws_only_changes() -> None:
    bar = Bar(100_000, 40)
    assert bar.draw("one") is not None
    assert bar.draw("one") is None
    assert bar.draw("two") is not None
