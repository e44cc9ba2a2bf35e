"""Deleting keys: a real-time task for a moment, and afterwards whatever it was before."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pbmond.kernel.maps import _not_preempted

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs CAP_SYS_NICE")


@pytest.fixture(autouse=True)
def _policy() -> Iterator[None]:
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    yield
    os.sched_setscheduler(0, *before)


@needs_root
@pytest.mark.parametrize(
    ("policy", "priority"),
    [
        (os.SCHED_OTHER, 0),
        (os.SCHED_BATCH, 0),
        (os.SCHED_IDLE, 0),
        (os.SCHED_FIFO, 7),
        (os.SCHED_RR, 3),
        (os.SCHED_BATCH | os.SCHED_RESET_ON_FORK, 0),
    ],
)
def test_policy_and_priority_are_restored(policy: int, priority: int) -> None:
    os.sched_setscheduler(0, policy, os.sched_param(priority))
    with _not_preempted():
        inside = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
        assert inside in (os.SCHED_FIFO, os.SCHED_RR)
    assert os.sched_getscheduler(0) == policy
    assert os.sched_getparam(0).sched_priority == priority


def test_without_permission_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, policy: int, parameter: os.sched_param) -> None:
        raise PermissionError

    before = os.sched_getscheduler(0)
    with monkeypatch.context() as patched:
        patched.setattr(os, "sched_setscheduler", refuse)
        with _not_preempted():
            assert os.sched_getscheduler(0) == before
    assert os.sched_getscheduler(0) == before
