"""Hooks that a kernel has and that are of no use there, and what passes every hook."""

from __future__ import annotations

from typing import cast

import pytest

from pbmond.btf import Btf, Member
from pbmond.hooks import Hook, hooks, lack
from pbmond.offsets import has_request, unseen

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


class FakeBtf:
    """The types of a kernel, by name."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def structure(self, name: str) -> int | None:
        return 1 if name in self._names else None

    def member(self, structure: str, path: str) -> Member | None:
        return Member(208, 4) if f"{structure}.{path}" in self._names else None


@pytest.mark.parametrize(
    ("names", "sockets", "words"),
    [
        (("bpf_prog_info.recursion_misses",), True, []),
        ((), True, ["5.12"]),
        (("bpf_prog_info.recursion_misses", "io_zcrx_ifq"), True, ["RECV_ZC"]),
        (("bpf_prog_info.recursion_misses", "io_zcrx_ifq"), False, []),
    ],
)
def test_what_passes_every_hook_of_a_kernel_is_said(
    names: tuple[str, ...], sockets: bool, words: list[str]
) -> None:
    said = unseen(cast("Btf", FakeBtf(*names)), sockets=sockets)
    assert len(said) == len(words)
    assert all(word in line for word, line in zip(words, said, strict=True))
