"""x86-64 and arm64 have other system call numbers: the C side and the self-test know the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pbmond.loader.hooks import Modes, calls, hooks
from pbmond.loader.syscalls import NUMBERS as BY_NAME
from pbmond.selftest.workloads.programs import elf
from pbmond.selftest.workloads.programs.kernel import NUMBERS

_FIELDS = (Path(__file__).parents[4] / "bpf" / "kernel_fields.h").read_text()
_ARM64, _X86_64 = re.findall(
    r"^#if ARCH_ARM64\n(.*?)^#else\n(.*?)^#endif", _FIELDS, re.MULTILINE | re.DOTALL
)[0]


def numbers(part: str) -> dict[str, int]:
    found = re.findall(r"^#define NR_(\w+) (\d+)$", part, re.MULTILINE)
    return {name.lower(): int(number) for name, number in found}


@pytest.mark.parametrize(("part", "column"), [(_X86_64, 0), (_ARM64, 1)])
def test_the_c_side_and_the_self_test_use_the_same_call_numbers(part: str, column: int) -> None:
    known = numbers(part)
    assert len(known) >= 6
    assert known == {name: NUMBERS[name][column] for name in known}


@pytest.mark.parametrize(("abi", "column"), [(elf.X86_64, 0), (elf.AARCH64, 1)])
def test_tiny_programs_use_the_same_call_numbers(abi: elf.Abi, column: int) -> None:
    known = {name: number for name, number in abi.numbers.items() if name in NUMBERS}
    assert {"read", "write"} <= known.keys()
    assert known == {name: NUMBERS[name][column] for name in known}


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
def test_the_loader_uses_the_same_call_numbers(machine: str, column: int) -> None:
    known = {name.replace("sendfile64", "sendfile"): n for name, n in BY_NAME[machine].items()}
    assert known == {name: NUMBERS[name][column] for name in known}


def test_the_loader_has_a_number_for_every_call_that_it_hooks() -> None:
    hooked = calls(Modes("syscall-exit", "syscall-exit"))
    assert all(numbered.keys() == hooked.keys() for numbered in BY_NAME.values())


def test_no_number_of_a_32_bit_call_is_one_of_arm64() -> None:
    """Under fexit on arm64 one program meets both, and tells them apart by their number alone."""
    thirty_two = [int(n) for n in re.findall(r"^#define NR32_\w+ (\d+)$", _ARM64, re.MULTILINE)]
    others = {elf.ARM.numbers["splice"], elf.ARM.numbers["sendto"]}
    assert len(thirty_two) == 3
    assert not ({*thirty_two, *others} & {*numbers(_ARM64).values()})
    assert not (others & {*thirty_two})


def test_both_machines_define_the_same_names() -> None:
    def defined(part: str) -> list[str]:
        return sorted(re.findall(r"^#define (\w+)", part, re.MULTILINE))

    assert defined(_ARM64) == defined(_X86_64)


@pytest.mark.parametrize(
    ("machine", "function"), [("x86_64", "__x64_sys_read"), ("aarch64", "__arm64_sys_read")]
)
def test_a_system_call_has_the_function_of_its_machine(
    machine: str, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert function in {hook.name for hook in hooks(Modes("tracepoint", "fexit"), [])}
