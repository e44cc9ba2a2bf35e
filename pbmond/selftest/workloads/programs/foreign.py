"""32-bit programs, and 64-bit programs that use the 32-bit entry point of x86-64 kernels."""

from __future__ import annotations

import os
import platform
import socket
import struct
from collections.abc import Iterator

from pbmond.selftest.workloads.programs import elf, kernel, spawn
from pbmond.selftest.workloads.programs.elf import Call
from pbmond.selftest.workloads.programs.program import Run, UnavailableError, program, unseen

WORDS = "32-bit programs"
_IN, _OUT, _PIPE, _SOCKET = 11, 12, 13, 14


def _vector(*sizes: int) -> bytes:
    """Struct compat_iovec, over the same buffer."""
    return b"".join(struct.pack("=2I", elf.BUFFER, size) for size in sizes)


def _moves(run: Run, abi: elf.Abi) -> Iterator[None]:
    """Files, a pipe and a socket, with a few calls each. The program checks every result."""
    a, b, c, d = map(kernel.stretched, (1001, 303, 55, 7))
    calls = [
        Call("read", (_IN, elf.BUFFER, a), a),
        Call("pread64", (_IN, elf.BUFFER, b, *abi.before_pair, 9, 0), b),
        Call("readv", (_IN, elf.DATA, 2), c + d),
        Call("write", (_OUT, elf.BUFFER, b), b),
        Call("pwrite64", (_OUT, elf.BUFFER, a, *abi.before_pair, 9, 0), a),
        Call("writev", (_OUT, elf.DATA, 2), c + d),
        Call("write", (_PIPE, elf.BUFFER, a), a),
        Call("sendto", (_SOCKET, elf.BUFFER, b, 0, 0, 0), b),
        Call("recvfrom", (_SOCKET, elf.BUFFER, a, 0, 0, 0), c),
        Call("write", (_SOCKET, elf.BUFFER, d), d),
        Call("sendfile", (_SOCKET, _IN, 0, b), b),
    ]
    path = spawn.make(run, calls, data=_vector(c, d), abi=abi)
    source, target, (read_end, write_end) = run.open("in", 100_003), run.open("out"), os.pipe()
    ours, theirs = socket.socketpair()
    rows = [run.file(source), run.file(target), run.pipe(read_end), run.connection(theirs, "unix")]
    ours_row = run.connection(ours, "unix")
    yield
    ours_row.write(kernel.sendto(ours.fileno(), 55))
    ends = ((source, _IN), (target, _OUT), (write_end, _PIPE), (theirs.fileno(), _SOCKET))
    pid = _start(path, ends)
    spawn.wait(pid, "a program of 32-bit calls")
    rows[0].read(a, b, c + d, b)
    rows[1].write(b, a, c + d)
    rows[2].write(a)
    rows[3].write(b, d, b)
    rows[3].read(c)
    for row in rows:
        row.facts["pid"] = pid


def _start(path: bytes, ends: tuple[tuple[int, int], ...]) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for fd, number in ends]
    try:
        return os.posix_spawn(path, [b"mover"], {}, file_actions=actions)
    except OSError as error:
        raise UnavailableError(f"32-bit programs: {error.strerror}") from error


@program
@unseen(WORDS)
def calls_of_a_32_bit_program(run: Run) -> Iterator[None]:
    """A 32-bit program, which has no other calls."""
    yield from _moves(run, elf.FOREIGN)


@program
@unseen(WORDS)
def int_80_of_a_64_bit_program(run: Run) -> Iterator[None]:
    """A 64-bit program that uses the 32-bit entry point."""
    if platform.machine() != "x86_64":
        raise UnavailableError("64-bit programs have no 32-bit calls on this machine")
    yield from _moves(run, elf.INT80)
