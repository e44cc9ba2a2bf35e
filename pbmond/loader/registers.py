"""Where on a task's kernel stack the registers of its system call are. The kernel is asked once.

The helper bpf_task_pt_regs knows, but calling it costs 10 ns on every read and write. The distance
that it adds to the beginning of the stack is the same for every task.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

from pbmond.loader.instructions import CALL, EXIT, LOAD, MOVE, SUBTRACT, instruction, run

_CURRENT_TASK, _TASK_REGISTERS = 158, 175  # helpers


def stack_registers(stack: int) -> int:
    """Return the distance of the registers from the beginning of a kernel stack, in bytes.

    ``stack`` is the offset of task_struct.stack. Returns 0 if this kernel has no such helper.
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
