"""Workloads for the kernel tests: processes that move known odd numbers of bytes, and say so.

    with workloads.start("files.pread64_pwrite64", tmp_path) as workload:
        ...                             # it is set up and has moved nothing: the daemon may start
        for expected in workload.go():  # what the kernel returned to it
            ...                         # its process is still alive

UnavailableError, from start() or go(), names what this kernel does not offer.
"""

from .harness import (
    NAMES,
    Expectation,
    ExpectedConnection,
    ExpectedFile,
    ExpectedProcess,
    Workload,
    start,
)
from .programs.program import UnavailableError

__all__ = [
    "NAMES",
    "Expectation",
    "ExpectedConnection",
    "ExpectedFile",
    "ExpectedProcess",
    "UnavailableError",
    "Workload",
    "start",
]
