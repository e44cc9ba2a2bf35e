"""Measures the eBPF programs of another process, by the kernel's own statistics."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from pbmond.loader import bpf
from pbmond.probes.costs import Attachment, Measured


class MeasureError(Exception):
    """Nothing can be measured. The message says in one line why, and what to do."""


def attachments(pid: int) -> list[Attachment]:
    """Return what process ``pid`` has attached, in the order of its descriptors.

    Raises MeasureError if it has attached nothing.
    """
    try:
        descriptors = sorted(map(int, os.listdir(f"/proc/{pid}/fd")))  # noqa: PTH208 - names only
        found = [bpf.attached(pid, descriptor) for descriptor in descriptors]
    except OSError as error:
        raise MeasureError(f"process {pid} cannot be examined: {error.strerror}") from None
    attached = [Attachment(name, program) for program, name in filter(None, found)]
    if not attached:
        raise MeasureError(f"the daemon (process {pid}) has attached nothing yet; try again")
    return attached


def measure(attached: Sequence[Attachment], seconds: float) -> Measured:
    """Count the runs of the attached programs for ``seconds``. MeasureError if that fails."""
    with ExitStack() as stack:
        programs = {}
        for identifier in {each.program for each in attached}:
            try:
                programs[identifier] = bpf.open_program(identifier)
            except OSError as error:
                raise MeasureError(f"program {identifier} is gone: {error.strerror}") from None
            stack.callback(os.close, programs[identifier])
        # Read before statistics are turned on and after they are off, to include every run.
        before = {identifier: bpf.runs(program) for identifier, program in programs.items()}
        with _statistics():
            started_ns = time.monotonic_ns()
            time.sleep(seconds)
            elapsed_ns = time.monotonic_ns() - started_ns
        after = {identifier: bpf.runs(program) for identifier, program in programs.items()}
    return Measured(attached, before, after, elapsed_ns)


@contextmanager
def _statistics() -> Iterator[None]:
    try:
        descriptor = bpf.count_runs()
    except OSError as error:
        if error.errno == errno.EINVAL:
            reason = "this kernel cannot measure its programs on demand (Linux 5.8 can)"
        else:
            reason = f"the kernel refuses to measure its programs ({error.strerror})"
        raise MeasureError(reason) from None
    try:
        yield
    finally:
        os.close(descriptor)
