"""Where a task's kernel stack keeps the registers of its system call: the kernel is asked once.

bpf_task_pt_regs knows, but a call of it costs 10 ns on every read and write. What it adds to the
beginning of the stack (its size, and room above the registers) is the same for every task.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import os
import struct

from pbmond import bpf

# Instructions of eBPF (include/uapi/linux/bpf.h) and numbers of the two helpers.
_MOVE, _LOAD, _SUBTRACT, _CALL, _EXIT = 0xBF, 0x79, 0x1F, 0x85, 0x95
_CURRENT_TASK, _TASK_REGISTERS = 158, 175


def stack_registers(stack: int) -> int:
    """Return the registers' distance from the beginning of a kernel stack, in bytes.

    ``stack``: the offset of task_struct.stack. 0: this kernel does not tell.
    """
    code = (
        _instruction(_CALL, value=_CURRENT_TASK)
        + _instruction(_MOVE, to=6)
        + _instruction(_MOVE, to=1)
        + _instruction(_CALL, value=_TASK_REGISTERS)
        + _instruction(_LOAD, to=1, source=6, offset=stack)
        + _instruction(_SUBTRACT, source=1)
        + _instruction(_EXIT)
    )
    try:
        program = bpf.load_program(bpf.RAW_TRACEPOINT, code, "pb_registers").descriptor
    except OSError:
        return 0
    try:
        return bpf.run_once(program, ())
    finally:
        os.close(program)


def _instruction(
    operation: int, *, to: int = 0, source: int = 0, offset: int = 0, value: int = 0
) -> bytes:
    return struct.pack("<BBhi", operation, to | source << 4, offset, value)
