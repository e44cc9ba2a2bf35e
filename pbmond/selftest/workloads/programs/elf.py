"""Makes tiny static programs: a fixed run of system calls, exactly as many bytes as it says.

They read no library, so that all they move is what they were made to move; and they can be made to
enter the kernel by its 32-bit door.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_BASE = 0x400000
_CODE = _BASE + 0x100
DATA = _BASE + 0x2000  # where the bytes passed as ``data`` lie
BUFFER = _BASE + 0x4000  # zeroed memory, a mebibyte
_BUFFER_SIZE = 1 << 20
_PT_LOAD, _READ_WRITE_EXECUTE, _ALIGNMENT = 1, 7, 0x10000


@dataclass(frozen=True, slots=True)
class Call:
    """One system call; the program exits with 1 unless it returns ``result`` (None: whatever)."""

    name: str
    arguments: tuple[int, ...]
    result: int | None


@dataclass(frozen=True, slots=True)
class Abi:
    """How a program of one kind looks and enters the kernel."""

    bits: int
    machine: int  # EM_*
    numbers: Mapping[str, int]
    registers: tuple[bytes, ...] = ()  # x86: "mov register, imm32" of the number and arguments
    entry: bytes = b""


_X86_64 = Abi(
    64,
    62,
    {"read": 0, "write": 1, "execve": 59, "exit": 60},
    (b"\xb8", b"\xbf", b"\xbe", b"\xba", b"\x41\xba", b"\x41\xb8", b"\x41\xb9"),
    b"\x0f\x05",
)
_I386_REGISTERS = (b"\xb8", b"\xbb", b"\xb9", b"\xba", b"\xbe", b"\xbf", b"\xbd")
_I386_NUMBERS = {
    "exit": 1,
    "read": 3,
    "write": 4,
    "readv": 145,
    "writev": 146,
    "pread64": 180,
    "pwrite64": 181,
    "sendfile": 187,
    "splice": 313,
    "sendto": 369,
    "recvfrom": 371,
}
#: The 32-bit calls of x86, from a 64-bit program and from a 32-bit one.
INT80 = Abi(64, 62, _I386_NUMBERS, _I386_REGISTERS, b"\xcd\x80")
I386 = Abi(32, 3, _I386_NUMBERS, _I386_REGISTERS, b"\xcd\x80")
_AARCH64 = Abi(64, 183, {"read": 63, "write": 64, "execve": 221, "exit": 93})
NATIVE = _X86_64 if os.uname().machine == "x86_64" else _AARCH64


def _x86(abi: Abi, number: int, arguments: Sequence[int]) -> bytes:
    values = zip(abi.registers, (number, *arguments), strict=False)
    return b"".join(move + struct.pack("<I", value) for move, value in values) + abi.entry


def _arm_constant(register: int, value: int) -> bytes:
    """Emit movz and movk: 32 bits into a register."""
    low, high = value & 0xFFFF, value >> 16
    return struct.pack("<2I", 0xD2800000 | low << 5 | register, 0xF2A00000 | high << 5 | register)


def _arm(number: int, arguments: Sequence[int]) -> bytes:
    values = [*enumerate(arguments), (8, number)]
    code = b"".join(_arm_constant(register, value) for register, value in values)
    return code + struct.pack("<I", 0xD4000001)  # svc #0


def _enter(abi: Abi, name: str, arguments: Sequence[int]) -> bytes:
    number = abi.numbers[name]
    return _x86(abi, number, arguments) if abi.registers else _arm(number, arguments)


def _unless(abi: Abi, result: int, code: bytes) -> bytes:
    """Run ``code`` unless the last call returned ``result``."""
    if abi.registers:  # cmp eax, result; je behind
        return b"\x3d" + struct.pack("<I", result) + b"\x74" + bytes((len(code),)) + code
    behind = len(code) // 4 + 1  # cmp x0, x9; b.eq behind
    compare = struct.pack("<2I", 0xEB09001F, 0x54000000 | behind << 5)
    return _arm_constant(9, result) + compare + code


def build(calls: Sequence[Call], data: bytes = b"", abi: Abi = NATIVE) -> bytes:
    """Return an executable that makes ``calls`` and exits with 0."""
    failure = _enter(abi, "exit", (1,))
    code = b""
    for each in calls:
        code += _enter(abi, each.name, each.arguments)
        if each.result is not None:
            code += _unless(abi, each.result, failure)
    code += _enter(abi, "exit", (0,))
    if _CODE + len(code) > DATA or DATA + len(data) > BUFFER:
        raise ValueError("too long for the program's fixed layout")
    image = _headers(abi).ljust(_CODE - _BASE, b"\0") + code
    return image.ljust(DATA - _BASE, b"\0") + data.ljust(BUFFER - DATA, b"\0")


def _headers(abi: Abi) -> bytes:
    wide = abi.bits == 64
    identity = b"\x7fELF" + bytes((2 if wide else 1, 1, 1)) + bytes(9)
    header_size, segment_size = (64, 56) if wide else (52, 32)
    header = struct.pack(
        "<16sHHI3QI6H" if wide else "<16sHHI3II6H",
        *(identity, 2, abi.machine, 1, _CODE, header_size, 0, 0),
        *(header_size, segment_size, 1, 0, 0, 0),
    )
    size = BUFFER - _BASE
    whole = size + _BUFFER_SIZE
    if wide:
        segment = (_PT_LOAD, _READ_WRITE_EXECUTE, 0, _BASE, _BASE, size, whole, _ALIGNMENT)
        return header + struct.pack("<2I6Q", *segment)
    segment = (_PT_LOAD, 0, _BASE, _BASE, size, whole, _READ_WRITE_EXECUTE, _ALIGNMENT)
    return header + struct.pack("<8I", *segment)
