"""Hooks that a kernel has and that are of no use there."""

from __future__ import annotations

import pytest

from pbmond.hooks import Hook, hooks, lack
from pbmond.offsets import has_request

_COMPLETE = Hook("raw_io_uring_complete", "raw_tracepoint", "io_uring_complete", required=False)


@pytest.mark.parametrize(
    ("kernel", "parameters", "named"),
    [
        ("5.10", ["", "", ""], False),
        ("5.15", ["", "", "", ""], False),
        ("5.18", ["", "", "", "", ""], True),
        ("6.1", ["", "", "", "", "", "", ""], True),
        ("6.18", ["io_ring_ctx", "", "io_uring_cqe"], True),
    ],
)
def test_a_completion_without_its_request_is_not_taken_for_one(
    kernel: str, parameters: list[str], named: bool
) -> None:
    assert has_request(parameters) is named, kernel
    reason = lack(_COMPLETE, {"URING_COMPLETE_HAS_REQUEST": int(named)})
    assert reason is None if named else "5.18" in str(reason)


def test_without_files_no_hook_makes_other_system_calls_slower() -> None:
    assert {hook.kind for hook in hooks("tracepoint", "off")} == {"raw_tracepoint"}
