"""Workloads: processes that move known odd numbers of bytes, and say so.

    with Runner() as runner, runner.start("files.pread64_pwrite64", scratch) as workload:
        ...                             # it is set up and has moved nothing: the daemon may start
        for expected in workload.go():  # what the kernel returned to it
            ...                         # its process is still alive

UnavailableError, from start() or go(), names what this kernel does not offer. Everything here needs
the standard library alone.
"""

from pbmond.selftest.workloads.harness import (
    ABOUT,
    EXCUSES,
    NAMES,
    Expectation,
    ExpectedConnection,
    ExpectedFile,
    ExpectedProcess,
    Runner,
    Workload,
    WorkloadError,
)
from pbmond.selftest.workloads.programs import UnavailableError

__all__ = [
    "ABOUT",
    "EXCUSES",
    "NAMES",
    "Expectation",
    "ExpectedConnection",
    "ExpectedFile",
    "ExpectedProcess",
    "Runner",
    "UnavailableError",
    "Workload",
    "WorkloadError",
]
