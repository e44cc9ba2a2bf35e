"""Which hooks a choice of modes takes, and what passes every hook."""

from __future__ import annotations

from typing import cast

import pytest

from pbmond.loader import bpf
from pbmond.loader.btf import Btf, Member
from pbmond.loader.hooks import Modes, calls, hooks, modes
from pbmond.loader.offsets import unseen
from pbmond.loader.programs import tails, wanted
from pbmond.loader.syscalls import NUMBERS


def test_the_best_modes_are_tried_first_and_use_one_kind_of_hook_at_calls() -> None:
    assert list(modes("auto", "auto")) == [
        ("tracepoint", "fexit"),
        ("fexit", "fexit"),
        ("tracepoint", "syscall-exit"),
        ("syscall-exit", "syscall-exit"),
    ]
    assert list(modes("auto", "off")) == [
        ("tracepoint", "off"),
        ("fexit", "off"),
        ("syscall-exit", "off"),
    ]


def test_modes_that_contradict_each_other_leave_nothing_to_try() -> None:
    assert not list(modes("fexit", "syscall-exit"))


@pytest.mark.parametrize(
    ("chosen", "way"),
    [
        (Modes("tracepoint", "fexit"), "fexit"),
        (Modes("tracepoint", "off"), "off"),
        (Modes("off", "syscall-exit"), "syscall-exit"),
        (Modes("fexit", "off"), "fexit"),
    ],
)
def test_one_kind_of_hook_at_calls_serves_both_sockets_and_files(chosen: Modes, way: str) -> None:
    assert chosen.calls == way
    kinds = {hook.kind for hook in hooks(chosen, ())} - {"raw_tracepoint"}
    assert kinds == {"off": set(), "fexit": {"fexit"}, "syscall-exit": {"tracepoint"}}[way]


@pytest.mark.parametrize(("sockets", "counted"), [("tracepoint", False), ("fexit", True)])
def test_message_calls_are_hooked_only_where_no_socket_tracepoint_is_used(
    sockets: str, counted: bool
) -> None:
    programs = {hook.program for hook in hooks(Modes(sockets, "fexit"), ())}
    assert ("exit_recvmmsg" in programs) is counted


@pytest.mark.parametrize(("sockets", "files", "met"), [
    ("tracepoint", "fexit", True),
    ("tracepoint", "syscall-exit", True),
    ("fexit", "fexit", True),
    ("tracepoint", "off", False),
    ("off", "fexit", False),
])  # fmt: skip
def test_the_end_of_sendmmsg_is_met_where_sockets_count_and_any_call_is_met(
    sockets: str, files: str, met: bool
) -> None:
    programs = {hook.program for hook in hooks(Modes(sockets, files), ())}
    assert ("exit_sendmmsg" in programs) is met


def test_without_files_no_hook_makes_other_system_calls_slower() -> None:
    chosen = Modes("tracepoint", "off")
    assert {hook.kind for hook in hooks(chosen, ())} == {"raw_tracepoint"}


def test_where_one_program_is_hooked_to_all_calls_it_runs_the_program_of_each() -> None:
    chosen = Modes("syscall-exit", "syscall-exit")
    exits = [hook for hook in hooks(chosen, (), dispatched=True) if hook.kind == "tracepoint"]
    assert [hook.name for hook in exits] == ["raw_syscalls/sys_exit"]
    assert {f"syscalls/sys_exit_{call}" for call in calls(chosen)} == {
        hook.name for hook in hooks(chosen, ()) if hook.kind == "tracepoint"
    }


@pytest.mark.parametrize("machine", NUMBERS)
def test_every_call_has_a_number_of_its_own_on_each_machine(machine: str) -> None:
    assert set(NUMBERS[machine]) == set(calls(Modes("syscall-exit", "syscall-exit")))
    assert len(set(NUMBERS[machine].values())) == len(NUMBERS[machine])


def test_each_function_has_its_own_program_and_expensive_tracepoints_share_one() -> None:
    for files, shared in (("fexit", False), ("syscall-exit", True)):
        here = hooks(Modes("tracepoint", files), ())
        loaded = [hook.loaded for hook in here if hook.program == "exit_between"]
        assert (len(set(loaded)) == 1) is shared


def test_by_perf_hooks_in_process_context_cannot_be_preempted() -> None:
    for chosen in (Modes("tracepoint", "syscall-exit"), Modes("fexit", "fexit")):
        here = hooks(chosen, ("io_uring_complete",), by_perf=True)
        assert [hook.name for hook in here if hook.kind == "raw_tracepoint"] == [
            "inet_sock_set_state",
            "tcp_retransmit_skb",
        ]
        names = {hook.name: hook.program for hook in here}
        assert names["io_uring/io_uring_complete"] == "raw_io_uring_complete"
        assert names["sched/sched_process_exec"] == "raw_sched_process_exec"
        raw = hooks(chosen, ("io_uring_complete",))
        assert [hook.program for hook in here] == [hook.program for hook in raw]


@pytest.mark.parametrize("by_perf", [False, True])
def test_programs_that_call_a_set_of_tails_are_of_one_kind(by_perf: bool) -> None:
    for chosen in (Modes("tracepoint", "syscall-exit"), Modes("syscall-exit", "syscall-exit")):
        here = hooks(chosen, ("io_uring_complete",), by_perf=by_perf)
        programs = wanted(here, chosen, {}, set())
        callers = ("raw_fill", "inet_sock_set_state", "tcp_retransmit_skb")  # they call none
        kinds: dict[str, set[int]] = {}
        for name, program in programs.items():
            if name not in callers:
                kinds.setdefault(program.tails, set()).add(program.kind)
        traced = bpf.TRACEPOINT if by_perf else bpf.RAW_TRACEPOINT
        assert kinds["tails_of_raw"] == {traced}
        assert all(len(each) == 1 for each in kinds.values())
        assert programs["raw_fill"].kind == bpf.RAW_TRACEPOINT
        assert programs["raw_walker"].kind == programs["raw_first"].kind == traced
        # User space runs it, and the kernel offers that for raw tracepoints only.
        assert kinds["tails_of_look"] == {bpf.RAW_TRACEPOINT}
        assert tails(programs)["tails_of_look"] == {0: "look_walker", 2: "raw_look"}


#: What tells files apart where the inode number does not.
_INODES = (
    *("btrfs_inode.vfs_inode", "btrfs_inode.root", "btrfs_root.anon_dev"),
    *("ceph_inode_info.netfs.inode", "ceph_inode_info.i_vino.snap"),
    *("cifsInodeInfo.vfs_inode", "cifsInodeInfo.createtime"),
    *("fuse_inode.inode", "fuse_inode.nodeid"),
    *("nfs_inode.vfs_inode", "nfs_inode.fh"),
)


class FakeBtf:
    """The types of a kernel, by name."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def structure(self, name: str) -> int | None:
        return 1 if name in self._names else None

    def member(self, structure: str, path: str) -> Member | None:
        size = 8 if path in {"root", "nodeid", "createtime", "i_vino.snap"} else 4
        return Member(208, size) if f"{structure}.{path}" in self._names else None


@pytest.mark.parametrize(
    ("names", "sockets", "words"),
    [
        (("bpf_prog_info.recursion_misses",), True, ["9p", "btrfs, ceph, cifs, fuse, nfs"]),
        ((), True, ["9p", "btrfs, ceph, cifs, fuse, nfs", "5.12"]),
        (
            ("bpf_prog_info.recursion_misses", "io_zcrx_ifq", *_INODES),
            True,
            ["9p", "RECV_ZC"],
        ),
        (("bpf_prog_info.recursion_misses", "io_zcrx_ifq", *_INODES), False, ["9p"]),
    ],
)
def test_what_no_hook_of_a_kernel_sees_is_reported(
    names: tuple[str, ...], sockets: bool, words: list[str]
) -> None:
    said = unseen(cast("Btf", FakeBtf(*names)), sockets=sockets)
    assert len(said) == len(words)
    assert all(word in line for word, line in zip(words, said, strict=True))
