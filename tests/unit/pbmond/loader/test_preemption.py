"""Whether programs may be preempted: what the kernel's version and debugfs say."""

from __future__ import annotations

import os
import platform
from typing import cast

import pytest

from pbmond.loader import kernelfs, preemption
from pbmond.loader.btf import Btf
from tests.kernels.recorded_btf import kernels, recorded

DYNAMIC = "#1 SMP PREEMPT_DYNAMIC Debian 6.12.117-1 (2026-11-12)"


class Functions:
    """A kernel's BTF that knows some functions."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def function(self, name: str) -> int | None:
        return 1 if name in self._names else None


OLD, NEW = (cast("Btf", Functions(*names)) for names in ((), ("trace_call_bpf_faultable",)))


def running(monkeypatch: pytest.MonkeyPatch, version: str, modes: str | None = None) -> None:
    """Let this be a kernel of that version; ``modes``: what debugfs says, None: nothing."""

    def read(_directory: int, _name: str) -> str:
        if modes is None:
            raise PermissionError
        return modes

    monkeypatch.setattr(platform, "version", lambda: version)
    monkeypatch.setattr(kernelfs, "debugfs", lambda: 99)
    monkeypatch.setattr(kernelfs, "read", read)
    monkeypatch.setattr(os, "close", lambda _descriptor: None)


@pytest.mark.parametrize(
    ("version", "modes", "words"),
    [
        ("#1 SMP Debian 5.10.262-1 (2026-07-31)", None, None),
        (DYNAMIC, "none (voluntary) full \n", None),
        (DYNAMIC, "(none) voluntary full \n", None),
        (DYNAMIC, "full (lazy) \n", "this kernel preempts itself (lazy)"),
        (DYNAMIC, None, "cannot be read from debugfs"),
        ("#1 SMP PREEMPT Fedora", None, "this kernel preempts itself"),
        ("#1 SMP PREEMPT_RT Debian", None, "this kernel preempts itself"),
    ],
)
def test_a_kernel_that_may_preempt_itself_is_known(
    monkeypatch: pytest.MonkeyPatch, version: str, modes: str | None, words: str | None
) -> None:
    running(monkeypatch, version, modes)
    said = preemption.of_kernel()
    assert said is None if words is None else words in str(said)


def test_programs_of_fexit_are_preempted_wherever_the_kernel_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running(monkeypatch, DYNAMIC, "full (lazy)")
    assert preemption.of_programs("fexit", preemption.of_kernel())
    assert preemption.of_programs("syscall-exit", preemption.of_kernel()) is None
    running(monkeypatch, DYNAMIC, "none (voluntary) full")
    assert preemption.of_programs("fexit", preemption.of_kernel()) is None


def test_programs_of_system_calls_are_preempted_where_they_may_fault() -> None:
    assert preemption.calls_are_preemptible(NEW)
    assert not preemption.calls_are_preemptible(OLD)


@pytest.mark.parametrize("kernel", kernels())
def test_raw_tracepoints_are_preempted_from_linux_7_on(kernel: str) -> None:
    assert preemption.raw_is_preemptible(recorded(kernel)) is (int(kernel.partition(".")[0]) >= 7)
