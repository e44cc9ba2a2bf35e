"""What is lost or missing, in words: each thing once."""

from __future__ import annotations

from typing import Any

import pytest
from client_messages import HEALTH, message, process

from pbmon_client.data.model import Selection, snapshot_of
from pbmon_client.present.completeness import LOST_WORDS, warnings
from pbmond.kernel.maps import LOST


def texts(**health: Any) -> list[str]:
    got = message([process(1)], health=HEALTH | health)
    return [each.text for each in warnings(snapshot_of(got, Selection(), 0, "all", str))]


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
