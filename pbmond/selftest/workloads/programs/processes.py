"""Programs whose point is the process that moves the bytes: inherited, threaded, killed, reused."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import termios
import time
from collections.abc import Callable, Iterator

from pbmond.selftest.workloads.programs import kernel
from pbmond.selftest.workloads.programs.program import (
    Child,
    Gate,
    Run,
    leaderless,
    offered,
    program,
    start_ticks,
)

SIZE = 100_003  # of the files that are read: holes, so that set-up writes nothing
SEVERAL_TICKS_S = 0.03  # start times are printed in hundredths of a second


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


def _held(fd: int) -> int:
    """How many bytes wait in a pipe."""
    answer = fcntl.ioctl(fd, termios.FIONREAD, bytes(4))
    return int(struct.unpack("=i", answer)[0])


@program
def killed_while_writing(run: Run) -> Iterator[None]:
    """A write that fills a pipe and waits; SIGKILL ends it with what it has moved."""
    read_end, write_end = os.pipe()
    capacity = fcntl.fcntl(write_end, fcntl.F_GETPIPE_SZ)
    row = run.pipe(read_end)
    yield
    pid = kernel.fork_bound()
    if pid == 0:
        kernel.write(write_end, 1 << 20)
    while _held(read_end) < capacity:
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    killed = run.pipe(read_end)
    killed.facts["pid"] = pid
    killed.write(_held(read_end))
    row.read(kernel.read(read_end, 301))


@program
def one_processor_for_all(run: Run) -> Iterator[None]:
    """Four processes take turns on one processor, wherever the kernel stops them."""
    rounds, gate, processor = 1000, Gate(), min(os.sched_getaffinity(0))

    def child(inner: Run) -> None:
        os.sched_setaffinity(0, {processor})
        fd, (left, right) = inner.open(f"data-{os.getpid()}"), socket.socketpair()
        row = inner.file(fd)
        left_row, right_row = inner.connection(left, "unix"), inner.connection(right, "unix")
        gate.wait()
        for number in range(rounds):
            left_row.write(kernel.sendto(left.fileno(), 1 + number % 7))
            right_row.read(kernel.recvfrom(right.fileno(), 100))
            row.write(kernel.write(fd, 1 + number % 5))

    yield
    children = [run.fork(child) for _ in range(4)]
    gate.open()
    for each in children:
        run.join(each)


@program
def pid_reused(run: Run) -> Iterator[None]:
    """Two processes with the same pid, which differ in their start."""
    fd, proc = run.open("data"), os.open("/proc", os.O_RDONLY)

    def child(size: int, forker: Callable[[], int]) -> Child:
        def job(inner: Run) -> None:
            row, proc_row = inner.file(fd), inner.file(proc, "device")
            ticks, read = start_ticks()
            proc_row.read(read)
            row.facts["start_ticks"] = proc_row.facts["start_ticks"] = ticks
            row.write(kernel.write(fd, size))

        return run.fork(job, forker)

    yield
    first = child(1001, kernel.fork_bound)
    run.join(first)
    time.sleep(SEVERAL_TICKS_S)
    with offered("clone3 with a chosen pid"):
        run.join(child(303, lambda: kernel.fork_as(first.pid)))
