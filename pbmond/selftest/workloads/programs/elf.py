"""Makes tiny static programs: a fixed sequence of system calls that moves exactly known bytes.

They load no library, so they move no other bytes. They can be 32-bit programs, or enter the kernel
by its 32-bit entry point.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

_BASE = 0x400000
_CODE = _BASE + 0x100
DATA = _BASE + 0x2000  # where the bytes passed as ``data`` lie
BUFFER = _BASE + 0x4000  # zeroed memory, a mebibyte
_BUFFER_SIZE = 1 << 20
_PT_LOAD, _READ_WRITE_EXECUTE, _ALIGNMENT = 1, 7, 0x10000


@dataclass(frozen=True, slots=True)
class Call:
    """One system call. The program exits with 1 unless it returns ``result`` (None: any)."""

    name: str
    arguments: tuple[int, ...]
    result: int | None


@dataclass(frozen=True, slots=True)
class Abi:
    """The format of a kind of program, and how it enters the kernel.

    ``enter`` makes the code of one call, given its number and arguments. ``unless`` prefixes code
    with instructions that skip it if the last call returned a given result.
    """

    bits: int
    machine: int  # EM_*
    flags: int  # e_flags
    numbers: Mapping[str, int]
    enter: Callable[[int, Sequence[int]], bytes]
    unless: Callable[[int, bytes], bytes]
    #: Padding before a fourth argument of 64 bits, which takes two 32-bit registers.
    before_pair: tuple[int, ...] = ()


def _x86(
    registers: Sequence[bytes], door: bytes
) -> tuple[Callable[[int, Sequence[int]], bytes], Callable[[int, bytes], bytes]]:
    """Make both functions; ``registers``: "mov register, imm32" of the number and the arguments."""

    def enter(number: int, arguments: Sequence[int]) -> bytes:
        values = zip(registers, (number, *arguments), strict=False)
        return b"".join(move + struct.pack("<I", value) for move, value in values) + door

    def unless(result: int, code: bytes) -> bytes:  # cmp eax, result; je behind
        return b"\x3d" + struct.pack("<I", result) + b"\x74" + bytes((len(code),)) + code

    return enter, unless


def _words(*instructions: int) -> bytes:
    return struct.pack(f"<{len(instructions)}I", *instructions)


def _aarch64_constant(register: int, value: int) -> bytes:
    """Put 32 bits into a register: movz, movk."""
    return _words(
        0xD2800000 | (value & 0xFFFF) << 5 | register, 0xF2A00000 | (value >> 16) << 5 | register
    )


def _aarch64_enter(number: int, arguments: Sequence[int]) -> bytes:
    values = [*enumerate(arguments), (8, number)]
    code = b"".join(_aarch64_constant(register, value) for register, value in values)
    return code + _words(0xD4000001)  # svc #0


def _aarch64_unless(result: int, code: bytes) -> bytes:
    behind = len(code) // 4 + 1  # cmp x0, x9; b.eq behind
    return _aarch64_constant(9, result) + _words(0xEB09001F, 0x54000000 | behind << 5) + code


def _arm_constant(register: int, value: int) -> bytes:
    """Put 32 bits into a register: movw, movt."""
    halves = zip((0xE3000000, 0xE3400000), (value & 0xFFFF, value >> 16), strict=True)
    return _words(
        *(move | half >> 12 << 16 | register << 12 | half & 0xFFF for move, half in halves)
    )


def _arm_enter(number: int, arguments: Sequence[int]) -> bytes:
    values = [*enumerate(arguments), (7, number)]
    code = b"".join(_arm_constant(register, value) for register, value in values)
    return code + _words(0xEF000000)  # svc #0


def _arm_unless(result: int, code: bytes) -> bytes:
    behind = len(code) // 4 - 1  # from two instructions on: cmp r0, r9; beq behind
    return _arm_constant(9, result) + _words(0xE1500009, 0x0A000000 | behind) + code


_EM_386, _EM_ARM, _EM_X86_64, _EM_AARCH64 = 3, 40, 62, 183
_X86_64_REGISTERS = (b"\xb8", b"\xbf", b"\xbe", b"\xba", b"\x41\xba", b"\x41\xb8", b"\x41\xb9")
_I386_REGISTERS = (b"\xb8", b"\xbb", b"\xb9", b"\xba", b"\xbe", b"\xbf", b"\xbd")
_BOTH_NUMBERS = {  # i386 and ARM
    "exit": 1,
    "read": 3,
    "write": 4,
    "readv": 145,
    "writev": 146,
    "pread64": 180,
    "pwrite64": 181,
    "sendfile": 187,
}
_I386_NUMBERS = {**_BOTH_NUMBERS, "splice": 313, "sendto": 369, "recvfrom": 371}
_ARM_NUMBERS = {**_BOTH_NUMBERS, "splice": 340, "sendto": 290, "recvfrom": 292}
_EF_ARM_EABI_VER5 = 0x05000000

X86_64 = Abi(
    64,
    _EM_X86_64,
    0,
    {"read": 0, "write": 1, "execve": 59, "exit": 60},
    *_x86(_X86_64_REGISTERS, b"\x0f\x05"),
)
I386 = Abi(32, _EM_386, 0, _I386_NUMBERS, *_x86(_I386_REGISTERS, b"\xcd\x80"))
AARCH64 = Abi(
    64,
    _EM_AARCH64,
    0,
    {"read": 63, "write": 64, "execve": 221, "exit": 93},
    _aarch64_enter,
    _aarch64_unless,
)
ARM = Abi(
    32,
    _EM_ARM,
    _EF_ARM_EABI_VER5,
    _ARM_NUMBERS,
    _arm_enter,
    _arm_unless,
    (0,),
)
NATIVE, FOREIGN = (X86_64, I386) if os.uname().machine == "x86_64" else (AARCH64, ARM)
#: The 32-bit calls of x86 from a 64-bit program. Other machines have no such calls.
INT80 = replace(I386, bits=64, machine=_EM_X86_64)


def build(calls: Sequence[Call], data: bytes = b"", abi: Abi = NATIVE) -> bytes:
    """Return an executable that makes ``calls`` and exits with 0."""
    failure = abi.enter(abi.numbers["exit"], (1,))
    code = b""
    for each in calls:
        code += abi.enter(abi.numbers[each.name], each.arguments)
        if each.result is not None:
            code += abi.unless(each.result, failure)
    code += abi.enter(abi.numbers["exit"], (0,))
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
        *(identity, 2, abi.machine, 1, _CODE, header_size, 0, abi.flags),
        *(header_size, segment_size, 1, 0, 0, 0),
    )
    size = BUFFER - _BASE
    whole = size + _BUFFER_SIZE
    if wide:
        segment = (_PT_LOAD, _READ_WRITE_EXECUTE, 0, _BASE, _BASE, size, whole, _ALIGNMENT)
        return header + struct.pack("<2I6Q", *segment)
    segment = (_PT_LOAD, 0, _BASE, _BASE, size, whole, _READ_WRITE_EXECUTE, _ALIGNMENT)
    return header + struct.pack("<8I", *segment)
