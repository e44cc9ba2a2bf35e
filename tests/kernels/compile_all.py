"""Compile the C side for every kernel of the table, as the loader would there; load nothing.

    PYTHON -m tests.kernels.compile_all [KERNEL...] < REQUEST

PYTHON has bcc; without KERNEL, all are tried. REQUEST is JSON as the loader takes it; out comes
{kernel: {choice: what bcc said}}, where each choice that compiles says nothing (null).
"""

from __future__ import annotations

import json
import sys

from pbmond.loader import trials
from pbmond.loader.build import Builder
from pbmond.loader.handover import LoadRequest
from pbmond.loader.hooks import Modes
from pbmond.loader.kernel_maps import maps
from pbmond.loader.offsets import defines
from pbmond.loader.preemption import calls_are_preemptible, raw_is_preemptible
from pbmond.loader.programs import Compiled, CompileError
from pbmond.loader.target import Target
from pbmond.loader.uring import uring
from tests.kernels.recorded_btf import kernels, recorded

# Sockets, files and reads: the best on newer kernels, and what older ones and those with fexit get.
_CHOICES = (
    (Modes("tracepoint", "syscall-exit"), "cast"),
    (Modes("syscall-exit", "syscall-exit"), "probe"),
    (Modes("fexit", "fexit"), "typed"),
)


def compile_for(kernel: str, machine: str, request: LoadRequest) -> dict[str, str | None]:
    """Return what bcc says of each choice of modes and reads on one kernel."""
    btf = recorded(kernel)
    tracepoints = uring(btf)
    constants = {**defines(btf, machine), **tracepoints.defines, "STACK_REGISTERS": 0}
    # As if the kernel preempted itself; the other facts are this machine's, and do not matter.
    here = Target(
        trials.facts(),
        btf,
        constants,
        tracepoints,
        "for the test",
        by_perf=raw_is_preemptible(btf),
        dispatches=calls_are_preemptible(btf),
    )
    every = maps(request, tracepoints.memory, 1)
    made_up = {each.name: number for number, each in enumerate(every, 1)}
    builder = Builder(request, here, every, made_up, 1)
    return {
        "-".join((*modes, reads)): _complaint(builder, modes, reads)
        for modes, reads in _CHOICES
        if reads != "cast" or constants["FUNCTION_RDONLY_CAST"]
    }


def _complaint(builder: Builder, modes: Modes, reads: str) -> str | None:
    try:
        Compiled(builder.source(reads, modes))
    except CompileError as error:
        return str(error)
    return None


def main() -> None:
    """Compile for each kernel."""
    wanted = {name: each for name, each in kernels().items() if name in (sys.argv[1:] or kernels())}
    request = LoadRequest.parse(sys.stdin.read())
    said = {kernel: compile_for(kernel, machine, request) for kernel, machine in wanted.items()}
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
