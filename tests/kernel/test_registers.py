"""Where the registers are on a kernel stack: the kernel's helper and BTF agree."""

from __future__ import annotations

import pytest

from pbmond.loader.btf import Btf
from pbmond.loader.offsets import defines
from pbmond.loader.registers import stack_registers


def test_the_helper_and_the_structures_name_the_same_place() -> None:
    found = defines(Btf())
    asked = stack_registers(found["OFFSETOF_TASK_STACK"])
    if not asked:
        pytest.skip("this kernel has no bpf_task_pt_regs (Linux 5.15)")
    room = found["SIZEOF_PT_REGS"] + found["STACK_PADDING"]
    # Kernels for debugging (KASAN) have stacks of twice the size and more.
    assert (asked + room) % found["THREAD_SIZE"] == 0


def test_a_kernel_that_refuses_the_program_yields_nothing() -> None:
    """No structure has a member there, so the program is refused."""
    assert stack_registers(1 << 14) == 0
