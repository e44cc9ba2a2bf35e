"""Programs that exec: short-lived processes, several names, and names of any bytes."""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from collections.abc import Iterator
from functools import partial

from pbmond.selftest.workloads.programs import elf, kernel, spawn
from pbmond.selftest.workloads.programs.elf import Call
from pbmond.selftest.workloads.programs.program import Gate, Run, program

HOSTILE_PROGRAMS = (
    b"line\nbreak",
    b"\x1b[31mred\x1b[0m",
    b"bad \xff\xfe UTF-8",
    "right \u202e left".encode(),
    b") R 1 1 (",
    b"longer than the fifteen bytes of a name",
)


@program
def exec_inherits_descriptors(run: Run) -> Iterator[None]:
    """Descriptor 7 was opened by the process before the exec."""
    fd, path = run.open("data"), spawn.make(run, [spawn.writing(301)])
    yield
    spawn.print_and_exit(run, fd, 301, path)


@program
def vfork_and_exec(run: Run) -> Iterator[None]:
    """Thirty programs that live a millisecond and differ in size. posix_spawn vforks."""
    fd = run.open("data")
    sizes = [2 * number + 1 for number in range(30)]
    paths = [spawn.make(run, [spawn.writing(size)], name=b"brief-%d" % size) for size in sizes]
    yield
    for size, path in zip(sizes, paths, strict=True):
        spawn.print_and_exit(run, fd, size, path)


@program
def fork_and_exec(run: Run) -> Iterator[None]:
    """By plain fork and execve."""
    fd, path = run.open("data"), spawn.make(run, [spawn.writing(1003)])
    yield
    pid = kernel.fork()
    if pid == 0:
        os.dup2(fd, spawn.OUTPUT)
        os.execve(path, [b"mover", b"forked"], {})  # noqa: S606  a program of our own
    spawn.wait(pid)
    spawn.wrote(run, fd, pid, 1003)
    run.process(pid, b"mover", (b"mover", b"forked"))


@program
def execs_twice(run: Run) -> Iterator[None]:
    """One process, three names, one row."""
    fd = run.open("data")
    last = spawn.make(run, [spawn.writing(505)], name=b"last")
    # The vector of arguments, {"last", NULL}, and the two strings behind it.
    strings = elf.DATA + 16
    vector = struct.pack("=2Q", strings + len(last) + 1, 0)
    data = vector + last + b"\0last\0"
    go_on = Call("execve", (strings, elf.DATA, 0), None)
    middle = spawn.make(run, [spawn.writing(303), go_on], name=b"middle", data=data)
    yield
    pid = kernel.fork()
    if pid == 0:
        kernel.write(fd, 101)
        os.dup2(fd, spawn.OUTPUT)
        os.execve(middle, [b"middle"], {})  # noqa: S606  a program of our own
    spawn.wait(pid)
    spawn.wrote(run, fd, pid, 101, 303, 505)
    run.process(pid, b"last", (b"last",))


@program
def second_thread_execs(run: Run) -> Iterator[None]:
    """The thread takes over the pid of the leader, and the process goes on."""
    fd, path = run.open("data"), spawn.make(run, [spawn.writing(303)])
    yield
    pid = kernel.fork()
    if pid == 0:
        kernel.write(fd, 101)
        os.dup2(fd, spawn.OUTPUT)
        threading.Thread(target=os.execve, args=(path, [b"mover"], {})).start()
        time.sleep(60)
    spawn.wait(pid)
    spawn.wrote(run, fd, pid, 101, 303)
    run.process(pid, b"mover", (b"mover",))


@program
def names_of_any_bytes(run: Run) -> Iterator[None]:
    """Newlines, escape sequences and invalid UTF-8 in names and command lines of programs."""
    fd = run.open("data")
    paths = [spawn.make(run, [spawn.writing(1001)], name=name) for name in HOSTILE_PROGRAMS]
    yield
    for path in paths:
        spawn.print_and_exit(run, fd, 1001, path)


@program
def hundred_forks(run: Run) -> Iterator[None]:
    """A hundred processes that write once and exit."""
    fd = run.open("data")

    def write(inner: Run, size: int) -> None:
        inner.file(fd).write(kernel.write(fd, size))

    yield
    for number in range(100):
        run.join(run.fork(partial(write, size=2 * number + 1)))


@program
def fork_tree(run: Run) -> Iterator[None]:
    """Fifteen processes, four generations, one file."""
    fd = run.open("data")

    def grow(inner: Run, number: int) -> None:
        inner.file(fd).write(kernel.write(fd, 101 + 2 * number))
        if number < 8:
            both = [inner.fork(partial(grow, number=2 * number + n)) for n in range(2)]
            for child in both:
                inner.join(child)

    yield
    run.join(run.fork(partial(grow, number=1)))


def _fork_orphan() -> int:
    """Fork twice, so that the grandchild's parent exits at once. Return its pid, or 0 in it."""
    memory = mmap.mmap(-1, 8)
    middle = kernel.fork()
    if middle == 0:
        pid = kernel.fork()
        if pid == 0:
            return 0
        memory.write(pid.to_bytes(8, "little"))
        os._exit(0)
    os.waitpid(middle, 0)
    return int.from_bytes(memory[:], "little")


@program
def orphan(run: Run) -> Iterator[None]:
    """Its parent has ended before it writes."""
    fd, gate = run.open("data"), Gate()
    kernel.adopt_orphans()

    def grandchild(inner: Run) -> None:
        gate.wait()
        inner.file(fd).write(kernel.write(fd, 1003))

    child = run.fork(grandchild, _fork_orphan)
    yield
    gate.open()
    run.join(child)
