"""Workloads: processes that move known odd numbers of bytes, and report them.

    with Runner() as runner, runner.start("files.pread64_pwrite64", scratch) as workload:
        ...                             # it is set up and has moved nothing: the daemon may start
        for expected in workload.go():  # what the kernel returned to it
            ...                         # its process is still alive

start() and go() raise UnavailableError if this kernel does not offer something. Everything here
needs only the standard library.
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
