"""Runs a command under a seccomp filter: forbid.py ACTION NUMBER[,NUMBER...] COMMAND...

ACTION is the errno that system calls of those numbers get, or "kill". A script, because a filter
stays for good.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_SET_SECCOMP, _FILTER, _NO_NEW_PRIVS = 22, 2, 38  # of prctl(2)
_LOAD_NUMBER, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # of classic BPF
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x50000, 0x80000000


def forbid(action: int, numbers: list[int]) -> None:
    """Install a filter for this process and what it executes."""
    program = [(_LOAD_NUMBER, 0, 0, 0)]
    program += [
        (_JUMP_IF_EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)
    ]
    program += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, action)]
    code = b"".join(struct.pack("<HBBI", *instruction) for instruction in program)
    instructions = ctypes.create_string_buffer(code, len(code))
    packed = struct.pack("<H6xQ", len(program), ctypes.addressof(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((_NO_NEW_PRIVS, 1, 0), (_SET_SECCOMP, _FILTER, packed)):
        if libc.prctl(*arguments, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({arguments[0]}) failed")


if __name__ == "__main__":
    forbid(
        _KILL_PROCESS if sys.argv[1] == "kill" else _ERRNO | int(sys.argv[1]),
        [int(number) for number in sys.argv[2].split(",")],
    )
    os.execvp(sys.argv[3], sys.argv[3:])
