"""Compile the C side for every kernel of the table, as the loader would there; load nothing.

    PYTHON -m tests.kernels.compile_all < REQUEST

PYTHON has bcc. REQUEST is JSON as the loader takes it; out comes {kernel: {choice: what bcc said}},
where each choice that compiles says nothing (null).
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Any
from unittest.mock import patch

from pbmond.loader import loader
from pbmond.loader.hooks import Modes
from pbmond.loader.offsets import defines
from pbmond.loader.preemption import calls_are_preemptible, raw_is_preemptible
from pbmond.loader.programs import Compiled, CompileError
from tests.kernels.recorded_btf import kernels, recorded

# Sockets, files and reads: the best on newer kernels, and what older ones and those with fexit get.
_CHOICES = (
    (Modes("tracepoint", "syscall-exit"), "cast"),
    (Modes("syscall-exit", "syscall-exit"), "probe"),
    (Modes("fexit", "fexit"), "typed"),
)


class Rehearsal(loader.Loading):
    """A loader that makes no maps: their descriptors are made up."""

    def _map(self, name: str, kind: int, sizes: tuple[int, int], entries: int) -> None:
        self._maps[name] = len(self._maps) + 1

    def compile(self) -> dict[str, str | None]:
        """Return what bcc says of each choice of modes and reads."""
        self._make_maps()
        # As where the kernel preempts itself; that is not what this one does.
        self._by_perf = raw_is_preemptible(self._btf)
        self._dispatches = calls_are_preemptible(self._btf)
        return {
            "-".join((*modes, reads)): self._complaint(modes, reads)
            for modes, reads in _CHOICES
            if reads != "cast" or self._constants["FUNCTION_RDONLY_CAST"]
        }

    def _complaint(self, modes: Modes, reads: str) -> str | None:
        try:
            Compiled(self._source(reads, modes))
        except CompileError as error:
            return str(error)
        return None


def compile_for(kernel: str, machine: str, request: dict[str, Any]) -> dict[str, str | None]:
    """Return what bcc says of each choice on one kernel."""
    btf = recorded(kernel)
    with (
        patch.object(loader, "Btf", lambda: btf),
        patch("pbmond.loader.trials.has_offsets"),  # they are another kernel's
        patch.object(loader, "defines", lambda btf: defines(btf, machine)),
        socket.socket() as unused,
    ):
        return Rehearsal(request, unused).compile()


def main() -> None:
    """Compile for each kernel."""
    request = json.load(sys.stdin)
    said = {kernel: compile_for(kernel, machine, request) for kernel, machine in kernels().items()}
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
