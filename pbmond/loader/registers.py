"""Where a task's kernel stack keeps the registers of its system call: the kernel is asked once.

bpf_task_pt_regs knows, but a call of it costs 10 ns on every read and write. What it adds to the
beginning of the stack (its size, and room above the registers) is the same for every task.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

from pbmond.loader.instructions import CALL, EXIT, LOAD, MOVE, SUBTRACT, instruction, run

_CURRENT_TASK, _TASK_REGISTERS = 158, 175  # helpers


def stack_registers(stack: int) -> int:
    """Return the registers' distance from the beginning of a kernel stack, in bytes.

    ``stack``: the offset of task_struct.stack. 0: this kernel does not tell.
    """
    code = (
        instruction(CALL, number=_CURRENT_TASK)
        + instruction(MOVE, 6, 0)
        + instruction(MOVE, 1, 0)
        + instruction(CALL, number=_TASK_REGISTERS)
        + instruction(LOAD, 1, 6, offset=stack)
        + instruction(SUBTRACT, 0, 1)
        + instruction(EXIT)
    )
    try:
        return run(code)
    except OSError:
        return 0
