"""The tiny programs of the self-test: code for each machine, and that this machine runs its own."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest

from pbmond.selftest.workloads.programs import elf
from pbmond.selftest.workloads.programs.elf import AARCH64, ARM, I386, X86_64, Abi, Call

#: As an assembler writes them: a call of number 0x111 with one argument, then exit(1) unless it
#: returned 5.
_CODE = {
    "aarch64": """
        d28acf00 f2a24680  // movz x0, #0x5678; movk x0, #0x1234, lsl #16
        d2802228 f2a00008  // x8, #0x111
        d4000001           // svc #0
        d28000a9 f2a00009  // x9, #5
        eb09001f 540000c0  // cmp x0, x9; b.eq .+24
        d2800020 f2a00000  // x0, #1
        d2800ba8 f2a00008  // x8, #93
        d4000001           // svc #0
    """,
    "arm": """
        e3050678 e3410234  // movw r0, #0x5678; movt r0, #0x1234
        e3007111 e3407000  // r7, #0x111
        ef000000           // svc #0
        e3009005 e3409000  // r9, #5
        e1500009 0a000004  // cmp r0, r9; beq .+24
        e3000001 e3400000  // r0, #1
        e3007001 e3407000  // r7, #1
        ef000000           // svc #0
    """,
}


@pytest.mark.parametrize(("name", "abi"), [("aarch64", AARCH64), ("arm", ARM)])
def test_instructions_are_those_of_an_assembler(name: str, abi: Abi) -> None:
    words = [
        int(word, 16)
        for line in _CODE[name].splitlines()
        for word in line.partition("//")[0].split()
    ]
    failure = abi.enter(abi.numbers["exit"], (1,))
    code = abi.enter(0x111, (0x12345678,)) + abi.unless(5, failure)
    assert code == struct.pack(f"<{len(words)}I", *words)


@pytest.mark.parametrize(
    ("abi", "bits", "machine", "flags"),
    [(X86_64, 2, 62, 0), (I386, 1, 3, 0), (AARCH64, 2, 183, 0), (ARM, 1, 40, 0x05000000)],
)
def test_a_program_says_which_machine_it_is_for(
    abi: Abi, bits: int, machine: int, flags: int
) -> None:
    image = elf.build([], abi=abi)
    assert image[4] == bits
    assert struct.unpack_from("<H", image, 18) == (machine,)
    assert struct.unpack_from("<I", image, 48 if bits == 2 else 36) == (flags,)


@pytest.mark.parametrize(("written", "expected", "status"), [(1001, 1001, 0), (1001, 1002, 1)])
def test_a_program_fails_unless_its_calls_return_what_they_should(
    tmp_path: Path, written: int, expected: int, status: int
) -> None:
    path = tmp_path / "program"
    path.write_bytes(elf.build([Call("write", (1, elf.BUFFER, written), expected)]))
    path.chmod(0o700)
    done = subprocess.run([path], check=False, capture_output=True)
    assert (done.returncode, done.stdout) == (status, bytes(written))


def test_a_program_has_its_data_where_it_says(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(elf.build([Call("write", (1, elf.DATA, 5), 5)], b"hello"))
    path.chmod(0o700)
    done = subprocess.run([os.fspath(path)], check=True, capture_output=True)
    assert done.stdout == b"hello"
