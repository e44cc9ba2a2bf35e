"""Compiles the eBPF programs with bcc, and loads them for one choice of modes.

The only module that imports bcc, which does nothing but compile. Used by the loader only: any
Python >= 3.9, the standard library and bcc.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path
from typing import Any, NamedTuple

from pbmond.loader import bpf
from pbmond.loader.hooks import Hook, Modes

# Programs that others tail-call, in the order of the indexes in bpf/: WALKER, FIRST, ...
_RAW_TAILS = ("raw_walker", "raw_first", "raw_look")
_EXIT_TAILS = (
    *("exit_walker", "exit_first", "exit_sendmmsg", "exit_io_submit", "exit_io_results"),
    "exit_recvmmsg",
)
# Tails that are compiled once and loaded for both kinds of program.
_TWINS = {"exit_walker": "raw_walker", "exit_first": "raw_first"}
_FILL, _RAW_SET = "raw_fill", "tails_of_raw"
# User space runs this one, which the kernel offers for raw tracepoints only.
_LOOK, _LOOK_SET = "raw_look", "tails_of_look"
_CALLS_TAILS = "raw_sched_process_exec"  # always loaded, and calls _RAW_TAILS
_CALL, _PSEUDO_KFUNC_CALL = 0x85, 2 << 4  # of an instruction, as are the two below
_LOAD_MAP, _PSEUDO_MAP_FD = 0x18, 1 << 4
# Lines of the verifier's log that are figures (print_verification_stats(), kernel/bpf/verifier.c).
_FIGURES = ("processed ", "verification time ", "stack depth ", "subprog ")
_NOWHERE = "/proc/self/nowhere"  # nobody can make it


class NoBccError(Exception):
    """The interpreter has no bcc. Another one may have it."""


class CompileError(Exception):
    """bcc did not compile the programs."""


class RefusedError(Exception):
    """The kernel did not load ``program``: errno ``number``, and its verifier's last words."""

    def __init__(self, program: str, number: int, log: str) -> None:
        self.program = program
        self.number = number
        self.log = _last_words(log)
        super().__init__(f"{program}: {os.strerror(number)}" + f" ({self.log})" * bool(self.log))


class Source(NamedTuple):
    """What is compiled: the paths of the C files, and their defines."""

    directory: str
    headers: str
    defines: dict[str, int]
    debug: bool


class Function(NamedTuple):
    """A function of the kernel, and its prototype, by their BTF ids."""

    identifier: int
    prototype: int


class Wanted(NamedTuple):
    """A program to load: its function in C, and the BTF id of the kernel function it runs after.

    ``tails`` is the map of the programs that it may tail-call. ``hooked``: a hook runs it directly.
    """

    function: str
    kind: int
    target: int
    tails: str
    hooked: bool


def wanted(
    hooks: list[Hook], modes: Modes, functions: dict[str, Function], called: set[str]
) -> dict[str, Wanted]:
    """Return each program to load, by name. ``functions`` are those that the kernel has.

    ``called`` are functions in C that "exit_dispatch" calls instead of hooks.

    Since 6.12, fexit programs may tail-call each other only if the functions they run after have
    the same prototype, so each prototype has its own set of tails. Hooks on functions that the
    kernel does not have are left out.
    """
    at_exit = bpf.TRACING if modes.calls == "fexit" else bpf.TRACEPOINT
    kinds = {"raw_tracepoint": bpf.RAW_TRACEPOINT, "tracepoint": bpf.TRACEPOINT}
    traced = {hook.program: Wanted(hook.program, kinds[hook.kind], 0, _RAW_SET, hooked=True)
              for hook in hooks if hook.program.startswith("raw_")}  # fmt: skip
    found = {_FILL: Wanted(_FILL, bpf.RAW_TRACEPOINT, 0, _RAW_SET, hooked=False)}
    for tail in ("raw_walker", "raw_first"):
        found[tail] = traced[_CALLS_TAILS]._replace(function=tail, hooked=False)
    look = Wanted(_LOOK, bpf.RAW_TRACEPOINT, 0, _LOOK_SET, hooked=False)
    found.update({_LOOK: look, "look_walker": look._replace(function="raw_walker")})
    for hook in hooks:
        if hook.program in traced:
            program = traced[hook.program]
        elif hook.kind == "tracepoint" or hook.name in functions:
            function = functions.get(hook.name, Function(0, 0))
            tails = f"tails_of_exits_{function.prototype}"
            program = Wanted(hook.program, at_exit, function.identifier, tails, hooked=True)
            for tail in _TWINS:
                own = program._replace(function=tail, hooked=False)
                found.setdefault(f"{tail}_{function.prototype}", own)
        else:
            continue
        found[hook.loaded] = program
        if hook.program == "exit_dispatch":
            found.update({name: program._replace(function=name, hooked=False) for name in called})
    return found


def tails(programs: dict[str, Wanted]) -> dict[str, dict[int, str]]:
    """Return which programs, by their index, are in each map of tails."""
    found: dict[str, dict[int, str]] = {}
    for name, program in programs.items():
        indexes = _RAW_TAILS if program.tails in (_RAW_SET, _LOOK_SET) else _EXIT_TAILS
        found.setdefault(program.tails, {})
        if program.function in indexes:
            found[program.tails][indexes.index(program.function)] = name
    return found


def import_bcc(headers: str) -> Any:  # noqa: ANN401 - bcc has no types
    """Import bcc with our stub headers in place of the kernel's. NoBccError if it is missing."""
    os.environ["BCC_KERNEL_SOURCE"] = headers
    # It writes predictable names there (CVE-2024-2314), but only for headers of the kernel's own.
    # Should it want to after all, it fails; and a loader that is killed leaves nothing behind.
    os.environ["TMPDIR"] = _NOWHERE
    try:
        import bcc  # noqa: PLC0415 - only after the environment is set
    except ImportError as error:
        raise NoBccError(f"{sys.executable} cannot import bcc: {error}") from None
    if not hasattr(bcc, "BPF"):
        raise NoBccError(
            f"{bcc.__file__} is another project's package: uninstall it and install the "
            "distribution's python3-bpfcc (Debian, Ubuntu) or python3-bcc (Fedora)"
        )
    return bcc


class Compiled:
    """The compiled programs. Each can be loaded any number of times."""

    def __init__(self, source: Source) -> None:
        """Compile. Raises CompileError if bcc cannot."""
        bcc = import_bcc(source.headers)
        defines = [f"-D{name}={value}" for name, value in source.defines.items()]
        # Debug information takes a tenth of the time and only serves the compiler's messages.
        flags = [*([] if source.debug else ["-g0"]), f"-I{source.directory}", *defines]
        text = Path(source.directory, "pbmon.c").read_text()
        try:
            self._module = bcc.BPF(text=text, cflags=flags, allow_rlimit=False)
        except Exception as error:  # noqa: BLE001 - bcc raises bare Exception
            raise CompileError(str(error) or type(error).__name__) from None
        self._library = bcc.lib

    def load(self, name: str, program: Wanted, cast: int, maps: dict[str, int]) -> bpf.Loaded:
        """Load one program as ``name``. Raises RefusedError if the kernel rejects it.

        ``cast`` is the BTF id of bpf_rdonly_cast, or 0.
        """
        source = _TWINS.get(program.function, program.function).encode()
        start = self._library.bpf_function_start(self._module.module, source)
        size = self._library.bpf_function_size(self._module.module, source)
        code = bytearray(ctypes.string_at(start, size))
        others = {maps[of]: maps[program.tails] for of in ("raw_tails", "exit_tails")}
        if program.function in _TWINS:
            others[maps["raw_scratch"]] = maps["exit_scratch"]
        _link(code, cast, others)
        short = name.rpartition("/")[2].rpartition("sys_exit_")[2].rpartition("_sys_")[2]
        try:
            return bpf.load_program(program.kind, bytes(code), short, function=program.target)
        except bpf.ProgramRefused as error:
            raise RefusedError(name, error.errno or 0, error.log) from None


def _link(code: bytearray, cast: int, maps: dict[int, int]) -> None:
    """Patch in place what bcc's compiler cannot do: call a kernel function, use other maps."""
    instruction = struct.Struct("<BBhi")  # operation, registers, offset, immediate
    for at in range(0, len(code), instruction.size):
        operation, registers, offset, value = instruction.unpack_from(code, at)
        if operation == _CALL and value == cast:
            instruction.pack_into(code, at, operation, _PSEUDO_KFUNC_CALL, offset, value)
        elif operation == _LOAD_MAP and registers & 0xF0 == _PSEUDO_MAP_FD:
            value = maps.get(value, value)
            instruction.pack_into(code, at, operation, registers, offset, value)


def _last_words(log: str) -> str:
    """Return the verifier's complaint in one line, without its statistics."""
    lines = [line.strip() for line in log.splitlines()]
    lines = [line for line in lines if line and not line.startswith(_FIGURES)]
    return lines[-1] if lines else ""
