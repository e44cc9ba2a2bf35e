"""Writes tiny programs into a run's directory, starts them, and accounts for what they moved."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pbmond.selftest.workloads.programs import elf, kernel
from pbmond.selftest.workloads.programs.elf import Call
from pbmond.selftest.workloads.programs.program import Run, UnavailableError, offered

OUTPUT = 7  # the descriptor that the programs write to


def make(
    run: Run,
    calls: Sequence[Call],
    *,
    name: bytes = b"mover",
    data: bytes = b"",
    abi: elf.Abi = elf.NATIVE,
) -> bytes:
    """Write a program that makes ``calls``, and return its path."""
    path = os.path.join(os.fsencode(run.scratch), name)  # noqa: PTH118  bytes
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700)
    os.write(fd, elf.build(calls, data, abi))
    os.close(fd)
    return path


def writing(size: int) -> Call:
    """Return the call that writes ``size`` bytes, stretched, to OUTPUT."""
    size = kernel.stretched(size)
    return Call("write", (OUTPUT, elf.BUFFER, size), size)


def start(path: bytes, arguments: Sequence[bytes], fd: int) -> int:
    """Start the program at ``path`` with ``fd`` as its OUTPUT, and return its pid."""
    actions = [(os.POSIX_SPAWN_DUP2, fd, OUTPUT)]
    with offered("executing a file of its own"):
        return os.posix_spawn(path, tuple(arguments), {}, file_actions=actions)


def wait(pid: int, what: str = "the program") -> None:
    """Wait for the program to succeed. If a signal ended it, its calls were not allowed."""
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status < 0:
        raise UnavailableError(f"{what} was ended by signal {-status}")
    if status:
        raise AssertionError(f"{what} ended with {status}")


def wrote(run: Run, fd: int, pid: int, *sizes: int) -> None:
    """Account for the writes, of ``sizes`` as given to writing(), of the process ``pid``."""
    row = run.file(fd)
    row.facts["pid"] = pid
    row.write(*map(kernel.stretched, sizes))


def print_and_exit(run: Run, fd: int, size: int, path: bytes) -> int:
    """Run the program at ``path``, account for the ``size`` bytes it writes, return its pid."""
    arguments = (os.path.basename(path), b"of %d bytes" % size)  # noqa: PTH119  bytes
    pid = start(path, arguments, fd)
    wait(pid)
    wrote(run, fd, pid, size)
    run.process(pid, arguments[0][:15], arguments)
    return pid
