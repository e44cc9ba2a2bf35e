"""What the loader tells the C side about each kernel, computed from the recorded BTF of many."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest

from pbmond.loader.btf import Btf, BtfError, Member
from pbmond.loader.offsets import _FILE_SYSTEMS, defines
from pbmond.loader.uring import uring
from tests.kernels.assumed import LAYOUTS, TRACEPOINTS, Layout
from tests.kernels.recorded_btf import (
    COMMAND,
    TABLE,
    Question,
    kernels,
    known,
    questions,
    recorded,
)

KERNELS = kernels()


def version(kernel: str) -> tuple[int, ...]:
    """Return the first two numbers of a release."""
    return tuple(int(number) for number in re.findall(r"\d+", kernel)[:2])


def values(kernel: str) -> dict[str, int]:
    """Return the definitions for a kernel of the table."""
    btf = recorded(kernel)
    return {**defines(btf, KERNELS[kernel]), **uring(btf).defines}


class Changed:
    """The BTF of a kernel, but for some members."""

    def __init__(self, kernel: str, **members: Member | None) -> None:
        self._btf = recorded(kernel)
        self._members = members

    def member(self, structure: str, path: str) -> Member | None:
        if path in self._members:
            return self._members[path]
        return self._btf.member(structure, path)

    def __getattr__(self, method: str) -> Any:
        return getattr(self._btf, method)


def refusal(**members: Member | None) -> str:
    """Return what is said of a 6.12 whose ``members`` are others."""
    with pytest.raises(BtfError) as refused:
        defines(cast("Btf", Changed("6.12.117+deb13-amd64", **members)), "x86_64")
    return str(refused.value)


def test_the_table_is_what_the_loader_asks() -> None:
    asked: set[Question] = set()
    for kernel, machine in KERNELS.items():
        asked |= questions(recorded(kernel), machine)
    assert asked == known(), f"{TABLE.name} knows more than is asked: run {COMMAND}"


def test_the_table_has_twelve_kernels_from_5_10_to_7_x_and_both_machines() -> None:
    versions = {version(kernel) for kernel in KERNELS}
    assert len(KERNELS) >= 12
    assert min(versions) == (5, 10)
    assert max(versions) >= (7, 0)
    assert set(KERNELS.values()) == {"x86_64", "aarch64"}
    assert TABLE.stat().st_size < 60_000


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_definition_is_found(kernel: str) -> None:
    found = values(kernel)
    assert all(value >= 0 for value in found.values())
    assert found["SIZEOF_PT_REGS"]
    assert found["TYPE_SOCKADDR_STORAGE"] or not found["FUNCTION_RDONLY_CAST"]


@pytest.mark.parametrize("kernel", KERNELS)
def test_type_and_protocol_are_read_each_at_its_own_place(kernel: str) -> None:
    found, btf = values(kernel), recorded(kernel)
    for name, path in (("SK_TYPE", "sk_type"), ("SK_PROTOCOL", "sk_protocol")):
        member = btf.member("sock", path)
        assert member is not None
        assert found[f"OFFSETOF_{name}"] == member.offset
        in_span = member.offset - found["OFFSETOF_SK_KIND"]
        assert 0 <= in_span <= found["SK_KIND_SPAN"] - member.size
    assert found["SK_KIND_SPAN"] == 4


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_type_of_a_socket_stands_before_its_protocol_up_to_6_17(kernel: str) -> None:
    found = values(kernel)
    before = found["OFFSETOF_SK_TYPE"] < found["OFFSETOF_SK_PROTOCOL"]
    assert before == (version(kernel) <= (6, 17))


@pytest.mark.parametrize("kernel", KERNELS)
def test_userlocks_are_four_bits_up_to_6_8(kernel: str) -> None:
    found = values(kernel)
    bits = (found["SHIFT_SK_USERLOCKS"], found["MASK_SK_USERLOCKS"])
    assert bits == ((4, 15) if version(kernel) <= (6, 8) else (0, 255))


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_completion_names_its_request_from_5_18_on(kernel: str) -> None:
    found = values(kernel)
    assert found["URING_COMPLETE_HAS_REQUEST"] == (version(kernel) >= (5, 18))
    assert found["URING_COMPLETE_HAS_CQE"] == (version(kernel) >= (6, 16))


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_submission_names_the_request_first_from_5_18_on(kernel: str) -> None:
    found = values(kernel)
    assert found["REMEMBERS_REQUESTS"]
    assert found["URING_SUBMIT_REQUEST_AT"] == (version(kernel) < (5, 18))


@pytest.mark.parametrize("kernel", KERNELS)
def test_sockets_have_tracepoints_from_6_3_on(kernel: str) -> None:
    assert values(kernel)["HAS_SOCKET_TRACEPOINTS"] == (version(kernel) >= (6, 3))


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_stack_leaves_room_where_the_kernel_knows_fred(kernel: str) -> None:
    knows = kernel.endswith("amd64") and version(kernel) >= (6, 18)
    assert values(kernel)["STACK_PADDING"] == (16 if knows else 0)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_arguments_of_a_call_lie_in_the_saved_registers(kernel: str) -> None:
    found = values(kernel)
    names = ["DI", "SI", "DX", "R10", "R8", "R9", "ORIG_AX"]
    if KERNELS[kernel] == "aarch64":
        names = ["REGS", "ORIG_X0", "SYSCALLNO"]
    places = [found[f"OFFSETOF_{name}"] for name in names]
    assert len(set(places)) == len(places)
    assert max(places) < found["SIZEOF_PT_REGS"]
    assert found["ARCH_ARM64"] == (KERNELS[kernel] == "aarch64")


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_is_read_at_once_holds_every_member_that_is_read_of_it(kernel: str) -> None:
    found, btf = values(kernel), recorded(kernel)
    for path in ("i_mode", "i_sb", "i_ino", "i_nlink", "i_rdev"):
        member = btf.member("inode", path)
        assert member is not None
        assert member.offset + member.size <= found["INODE_SPAN"]
    for path in ("skc_family", "skc_state", "skc_net", "skc_v6_daddr", "skc_v6_rcv_saddr"):
        member = btf.member("sock_common", path)
        assert member is not None
        assert member.offset + member.size <= found["SOCK_COMMON_SPAN"]
    assert found["INODE_SPAN"] <= 256
    assert found["SOCK_COMMON_SPAN"] <= 128


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout[0]}.{layout[1]}")
def test_an_assumed_layout_is_the_same_everywhere(layout: Layout) -> None:
    found = {kernel: recorded(kernel).member(layout.structure, layout.member) for kernel in KERNELS}
    present = {kernel: member for kernel, member in found.items() if member is not None}
    assert present, "no kernel has it"
    for kernel, member in present.items():
        size = member.size if layout.size is None else layout.size
        assert member == Member(layout.offset, size), kernel


@pytest.mark.parametrize("name", TRACEPOINTS)
def test_a_tracepoint_has_its_parameters_wherever_it_is(name: str) -> None:
    first = TRACEPOINTS[name]
    found = {kernel: recorded(kernel).tracepoint_parameters(name) for kernel in KERNELS}
    present = {kernel: given[: len(first)] for kernel, given in found.items() if given is not None}
    assert present, "no kernel has it"
    assert present == dict.fromkeys(present, first)


def test_a_member_of_another_size_is_refused_in_one_line() -> None:
    said = refusal(f_mode=Member(4, 8))
    assert said == (
        "this kernel's file.f_mode has 8 bytes, not 4 bytes (FILE_MODE): pbmon does not support it"
    )


def test_a_bit_field_is_not_read_as_a_number() -> None:
    assert "file.f_mode has 20 bits, not 4 bytes" in refusal(f_mode=Member(4, 3, 0, 20))


def test_a_bit_field_across_two_bytes_is_refused() -> None:
    assert "sock.sk_userlocks is not in one byte" in refusal(sk_userlocks=Member(243, 2, 6, 4))


def test_a_member_that_is_gone_is_named() -> None:
    said = refusal(start_boottime=None, real_start_time=None)
    assert "no task_struct.start_boottime (TASK_START_BOOTTIME)" in said


def test_the_newer_of_two_names_is_taken() -> None:
    found = defines(cast("Btf", Changed("6.12.117+deb13-amd64", __parent=Member(80, 8))), "x86_64")
    assert found["OFFSETOF_KERNFS_NODE_PARENT"] == 80


def test_an_optional_member_is_defined_only_where_it_is() -> None:
    assert "OFFSETOF_SK_INO" not in values("6.12.117+deb13-amd64")
    assert "OFFSETOF_SK_INO" in values("7.3.4+deb13-amd64")


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(BtfError, match="x86_64 and aarch64, not on riscv64"):
        defines(recorded("6.12.117+deb13-amd64"), "riscv64")


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_tells_the_files_of_a_file_system_apart_is_there_whole_or_not_at_all(
    kernel: str,
) -> None:
    found = values(kernel)
    for names in _FILE_SYSTEMS.values():
        assert len({f"OFFSETOF_{name}" in found for name in names}) == 1
    assert found["SIZEOF_OVL_SB"] >= 16 or "OFFSETOF_OVL_SB_SB" not in found


def test_a_file_system_without_one_of_its_members_is_left_out() -> None:
    btf = Changed("6.18.44", **{"anon_dev": None, "nodeid": None})
    found = defines(cast("Btf", btf), "x86_64")
    assert not [name for name in found if "BTRFS" in name or "FUSE" in name]
    assert "OFFSETOF_OVL_FS_FS" in found
