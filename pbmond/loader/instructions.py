"""Programs of a few hand-written instructions, which ask the kernel something once.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import os
import struct

from pbmond.loader import bpf

# 64-bit operations (include/uapi/linux/bpf.h). NUMBER means with an immediate value.
LOAD, STORE_NUMBER, MOVE, MOVE_NUMBER = 0x79, 0x7A, 0xBF, 0xB7
ADD_NUMBER, SUBTRACT, SHIFT_RIGHT_NUMBER = 0x07, 0x1F, 0x77
SKIP_IF_EQUAL, CALL, EXIT = 0x15, 0x85, 0x95
STACK = 10  # the frame pointer register, which points to the end of the stack


def instruction(
    operation: int, to: int = 0, source: int = 0, *, offset: int = 0, number: int = 0
) -> bytes:
    """Return one instruction on the registers ``to`` and ``source``."""
    return struct.pack("<BBhi", operation, to | source << 4, offset, number)


#: The smallest program.
NOTHING = instruction(MOVE_NUMBER) + instruction(EXIT)


def run(code: bytes) -> int:
    """Load a program, run it once in this task, and return the lower 32 bits of its result.

    OSError if it cannot be loaded or run.
    """
    program = bpf.load_program(bpf.RAW_TRACEPOINT, code, "pb_once").descriptor
    try:
        return bpf.run_once(program, ())
    finally:
        os.close(program)
