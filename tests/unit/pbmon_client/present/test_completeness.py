"""What is lost or missing, in words: each thing once."""

from __future__ import annotations

from typing import Any

import pytest
from client_messages import HEALTH, message, process

from pbmon_client.data.model import Selection, Snapshot, snapshot_of
from pbmon_client.present.completeness import LOST_WORDS, report, warnings
from pbmond.kernel.maps import LOST


def snapshot(**health: Any) -> Snapshot:
    got = message([process(1)], health=HEALTH | health)
    return snapshot_of(got, Selection(), 0, "all", str)


def texts(**health: Any) -> list[str]:
    return [each.text for each in warnings(snapshot(**health))]


def test_everything_that_can_be_lost_has_words() -> None:
    assert [*LOST_WORDS] == [*LOST, "skipped_calls"]


@pytest.mark.parametrize("name", LOST_WORDS)
def test_what_is_lost_is_said_once_and_without_the_name_in_json(name: str) -> None:
    said = texts(status="incomplete", lost={name: 1234}, reasons=[f"lost: {name}"])
    assert len(said) == 1
    assert said[0].startswith("LOST ")
    assert "1,234" in said[0]
    assert "_" not in said[0].replace("io_uring", "")


def test_other_reasons_stand_beside_what_is_lost() -> None:
    reasons = ["not seen: libaio", "lost: bytes", "map full: flows"]
    assert texts(status="incomplete", lost={"bytes": 7}, reasons=reasons) == [
        "LOST 7 bytes, which are in no row",
        "INCOMPLETE not seen: libaio; the table of connections is full",
    ]


def test_reasons_of_a_newer_daemon_are_shown_as_they_are() -> None:
    said = texts(status="incomplete", lost={"new_loss": 2}, reasons=["lost: new_loss", "odd: it"])
    assert said == ["LOST new loss: 2", "INCOMPLETE odd: it"]


def test_an_incomplete_snapshot_without_a_reason_says_so() -> None:
    assert texts(status="incomplete") == ["INCOMPLETE some bytes are missing from the rows"]


def test_what_there_was_no_time_for_is_a_warning_of_its_own() -> None:
    late = {"looks": 1197, "cut": 3, "listed": 0, "cgroups": 0}
    (notice,) = warnings(snapshot(postponed=late))
    assert notice.text == (
        "NO TIME FOR the disk rates and open files of 1,197 processes; "
        "all open files or threads of 3 processes"
    )
    assert notice.role == "warn"
    assert not warnings(snapshot(postponed=dict.fromkeys(late, 0)))


def test_a_warning_that_was_put_away_does_not_come_back_with_each_count() -> None:
    one, other = (warnings(snapshot(postponed={"looks": count}))[0].key for count in (5, 6))
    assert one == other


@pytest.mark.parametrize(
    ("before_ns", "ends"), [(1_000_000_000, "(1 s)"), (2**70, ")"), (-(2**70), "(0 s)")]
)
def test_the_report_says_when_counting_began_as_a_clock_does(before_ns: int, ends: str) -> None:
    now_ns = snapshot().message.now_ns
    told = dict(report(snapshot(began_ns=now_ns - before_ns)))
    ((_, text),) = told["counts since"]
    assert text.endswith(ends)
    assert len(text) < 40
