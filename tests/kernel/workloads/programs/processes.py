"""Programs whose point is the process that moves the bytes: inherited, brief, renamed, reused."""

from __future__ import annotations

import mmap
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

from . import kernel
from .program import Child, Gate, Run, leaderless, offered, program, start_ticks

SIZE = 100_003  # of the files that are read: holes, so that set-up writes nothing
SHELL, PRINTF = "/bin/sh", "/usr/bin/printf"
SEVERAL_TICKS_S = 0.03  # start times are printed in hundredths of a second


def _printed(run: Run, fd: int, pid: int, size: int) -> None:
    """Account for a printf that wrote ``size`` bytes into ``fd`` and has ended."""
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError(f"{PRINTF} failed")
    row = run.file(fd)
    row.facts["pid"] = pid
    row.write(size)
    row.calls_unknown()
    run.process(pid, b"printf", (PRINTF.encode(), b"x" * size))


def _spawn_printf(size: int, fd: int) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, fd, 1)]
    return os.posix_spawn(PRINTF, [PRINTF, "x" * size], {}, file_actions=actions)


@program
def fork_inherits_descriptors(run: Run) -> Iterator[None]:
    """Opened by the parent, used by both; the child is there before the parent moves a byte."""
    fd, gate = run.open("data", SIZE), Gate()

    def child(inner: Run) -> None:
        gate.wait()
        row = inner.file(fd)
        row.read(kernel.read(fd, 2001))
        row.write(kernel.write(fd, 31))

    forked = run.fork(child)
    row = run.file(fd)
    yield
    row.read(kernel.read(fd, 1003))
    gate.open()
    run.join(forked)
    row.write(kernel.write(fd, 5))


@program
def fork_inherits_connection(run: Run) -> Iterator[None]:
    """Two processes, one connection: a row for each."""
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server = listener.accept()[0]
    run.keep(server)

    def child(inner: Run) -> None:
        inner.connection(client, direction="out").write(kernel.sendto(client.fileno(), 501))

    row = run.connection(client, direction="out")
    yield
    row.write(kernel.sendto(client.fileno(), 77))
    run.join(run.fork(child))


@program
def exec_inherits_descriptors(run: Run) -> Iterator[None]:
    """Descriptor 7 was opened by the program before the exec."""
    fd = run.open("data", SIZE)
    yield
    script = ["sh", "-c", "printf %0301d 0 >&7"]
    actions = [(os.POSIX_SPAWN_DUP2, fd, 7)]
    pid = os.posix_spawn(SHELL, script, {}, file_actions=actions)
    os.waitpid(pid, 0)
    row = run.file(fd)
    row.facts["pid"] = pid
    row.write(301)
    row.calls_unknown()
    run.process(pid, b"sh", tuple(word.encode() for word in script))


@program
def standard_descriptors(run: Run) -> Iterator[None]:
    """Descriptors 0, 1 and 2 of a child: a pipe, a file and another pipe."""
    stdin, stdout, stderr = os.pipe(), run.open("out"), os.pipe()

    def child(inner: Run) -> None:
        for number, fd in enumerate((stdin[0], stdout, stderr[1])):
            os.dup2(fd, number)
        inner.pipe(0).read(kernel.read(0, 5000))
        inner.file(1).write(kernel.write(1, 303))
        inner.pipe(2).write(kernel.write(2, 55))

    row = run.pipe(stdin[0])
    yield
    row.write(kernel.write(stdin[1], 1003))
    run.join(run.fork(child))


@program
def brief_fork(run: Run) -> Iterator[None]:
    """A hundred processes that write once and are gone."""
    fd = run.open("data")

    def child(size: int) -> Child:
        return run.fork(lambda inner: inner.file(fd).write(kernel.write(fd, size)))

    yield
    for number in range(100):
        run.join(child(2 * number + 1))


@program
def brief_vfork_and_exec(run: Run) -> Iterator[None]:
    """Thirty programs of a millisecond, each with its own command line; posix_spawn vforks."""
    fd = run.open("data")
    yield
    for number in range(30):
        size = 2 * number + 1
        _printed(run, fd, _spawn_printf(size, fd), size)


@program
def brief_fork_and_exec(run: Run) -> Iterator[None]:
    """By plain fork and execve."""
    fd = run.open("data")
    yield
    pid = os.fork()
    if pid == 0:
        os.dup2(fd, 1)
        os.execv(PRINTF, [PRINTF, "x" * 1003])
    _printed(run, fd, pid, 1003)


def _fork_orphan() -> int:
    """Fork twice: the child's parent ends at once; its pid, or 0 in it."""
    memory = mmap.mmap(-1, 8)
    middle = os.fork()
    if middle == 0:
        pid = os.fork()
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


@program
def execs_twice(run: Run) -> Iterator[None]:
    """One process, three names, one row."""
    fd = run.open("data")
    yield
    pid = os.fork()
    if pid == 0:
        kernel.write(fd, 101)
        os.dup2(fd, 1)
        os.execv(SHELL, ["sh", "-c", f"printf %0303d 0; exec {PRINTF} %0505d 0"])
    os.waitpid(pid, 0)
    row = run.file(fd)
    row.facts["pid"] = pid
    row.write(101 + 303 + 505)
    row.calls_unknown()
    run.process(pid, b"printf", (PRINTF.encode(), b"%0505d", b"0"))


@program
@leaderless
def main_thread_gone(run: Run) -> Iterator[None]:
    """Only a second thread is left of this process, from before its first byte."""
    fd, (read_end, write_end) = run.open("data", SIZE), os.pipe()
    row, pipe_row = run.file(fd), run.pipe(read_end)
    left, right = socket.socketpair()
    left_row, right_row = run.connection(left, "unix"), run.connection(right, "unix")
    yield
    row.read(kernel.read(fd, 1003))
    row.write(kernel.write(fd, 333))
    pipe_row.write(kernel.write(write_end, 55))
    left_row.write(kernel.sendto(left.fileno(), 77))
    right_row.read(kernel.recvfrom(right.fileno(), 500))


@program
def second_thread_execs(run: Run) -> Iterator[None]:
    """The thread takes over the pid of the leader, and the process goes on."""
    fd = run.open("data")
    yield
    pid = os.fork()
    if pid == 0:
        kernel.write(fd, 101)
        os.dup2(fd, 1)
        arguments = [PRINTF, "x" * 303]
        threading.Thread(target=os.execv, args=(PRINTF, arguments)).start()
        time.sleep(60)
    _printed(run, fd, pid, 303)
    run.rows[0].write(101)


@program
def pid_reused(run: Run) -> Iterator[None]:
    """Two processes of one pid, told apart by their start."""
    fd = run.open("data")

    def child(size: int, forker: Callable[[], int]) -> Child:
        def job(inner: Run) -> None:
            row = inner.file(fd)
            row.facts["start_ticks"] = start_ticks()
            row.write(kernel.write(fd, size))

        return run.fork(job, forker)

    yield
    first = child(1001, kernel.fork_bound)
    run.join(first)
    time.sleep(SEVERAL_TICKS_S)
    with offered("clone3 with a chosen pid"):
        run.join(child(303, lambda: kernel.fork_as(first.pid)))
