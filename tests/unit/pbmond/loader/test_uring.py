"""What io_uring's tracepoints tell: their parameters differ from kernel to kernel."""

from __future__ import annotations

from typing import cast

import pytest

from pbmond.loader import bpf
from pbmond.loader.btf import Btf
from pbmond.loader.uring import Uring, uring


class Tracepoints:
    """The parameters of a kernel's tracepoints, as Btf tells them."""

    def __init__(self, **parameters: list[str]) -> None:
        self._parameters = parameters

    def tracepoint_parameters(self, name: str) -> list[str] | None:
        return self._parameters.get(name)


def found(
    complete: list[str] | None = None,
    *,
    submit_sqe: list[str] | None = None,
    submit_req: list[str] | None = None,
    task_add: list[str] | None = None,
    overflow: bool = True,
) -> Uring:
    given = {
        "io_uring_complete": complete,
        "io_uring_submit_sqe": submit_sqe,
        "io_uring_submit_req": submit_req,
        "io_uring_task_add": task_add,
        "io_uring_cqe_overflow": [""] * 5 if overflow else None,
    }
    known = {name: each for name, each in given.items() if each is not None}
    return uring(cast("Btf", Tracepoints(**known)))


NEW = found(["io_ring_ctx", "", "io_uring_cqe"], submit_req=["io_kiocb"], task_add=["io_kiocb", ""])
LINUX_6_1 = found([""] * 7, submit_sqe=["io_kiocb", ""], task_add=["io_kiocb", ""])
LINUX_5_15 = found([""] * 4, submit_sqe=[""] * 7, task_add=[""] * 4, overflow=False)
LINUX_5_11 = found([""] * 3, submit_sqe=[""] * 5, task_add=[""] * 4, overflow=False)


def test_requests_are_hooked_at_the_tracepoint_that_the_kernel_has() -> None:
    ours = ["io_uring_complete", "io_uring_cqe_overflow"]
    assert list(NEW.hooks) == [*ours, "io_uring_submit_req", "io_uring_task_add"]
    assert list(LINUX_6_1.hooks) == [*ours, "io_uring_submit_sqe", "io_uring_task_add"]


@pytest.mark.parametrize("kernel", [NEW, LINUX_6_1], ids=["new", "6.1"])
def test_a_completion_that_names_its_request_hides_nothing(kernel: Uring) -> None:
    assert kernel.defines["URING_COMPLETE_HAS_REQUEST"] == 1
    assert (kernel.blind, kernel.unseen) == (False, ())


def test_before_5_18_requests_are_remembered_at_their_submission() -> None:
    assert LINUX_5_15.hooks == ("io_uring_complete", "io_uring_submit_sqe")
    assert LINUX_5_15.defines["URING_COMPLETE_HAS_REQUEST"] == 0
    assert LINUX_5_15.defines["URING_SUBMIT_REQUEST_AT"] == 1
    assert "in flight" in LINUX_5_15.unseen[0]


def test_a_request_that_must_be_found_again_is_not_forgotten_for_another() -> None:
    assert LINUX_5_15.memory.kind == bpf.HASH
    assert NEW.memory.kind == bpf.LRU_HASH


def test_where_nothing_names_requests_io_uring_is_reported_as_not_hooked() -> None:
    assert (LINUX_5_11.hooks, LINUX_5_11.blind) == ((), True)


def test_a_kernel_without_io_uring_hides_nothing() -> None:
    without = found(overflow=False)
    assert (without.hooks, without.unseen, without.blind) == ((), (), False)
