"""Programs that send and receive messages through POSIX message queues."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from pbmond.selftest.workloads.programs import kernel
from pbmond.selftest.workloads.programs.program import Run, fails, offered, program

_SIZE = 8192  # of the longest message, as the kernel's default has it


def _queue() -> tuple[int, bytes]:
    """Make a queue of its own: its descriptor, and its path as the kernel has it."""
    name = f"pbmond-selftest-{os.getpid()}".encode()
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NONBLOCK
    with offered("POSIX message queue"):
        fd = kernel.call("mq_open", name, flags, 0o600, None)
    return fd, name


def _send(fd: int, size: int) -> int:
    size = kernel.stretched(size)
    kernel.call("mq_timedsend", fd, kernel.buffer(size), size, 0, None)
    return size


def _receive(fd: int) -> int:
    return kernel.call("mq_timedreceive", fd, kernel.buffer(_SIZE), _SIZE, None, None)


@program
def posix(run: Run) -> Iterator[None]:
    """Messages of several sizes through a POSIX message queue; what fails counts nothing."""
    fd, name = _queue()
    row = run.file(fd, "device")
    kernel.call("mq_unlink", name)
    row.facts["unlinked"] = True
    yield
    for size in (1, 808, 6003):
        row.write(_send(fd, size))
    _send(fd, 0)
    with fails(errno.EMSGSIZE):
        kernel.call("mq_timedreceive", fd, kernel.buffer(1), 1, None, None)
    for _ in range(3):
        row.read(_receive(fd))
    row.read(_receive(fd))  # an empty message: no byte, no call
    with fails(errno.EAGAIN):
        _receive(fd)


@program
def posix_between_processes(run: Run) -> Iterator[None]:
    """A child receives what its parent sends."""
    fd, name = _queue()
    kernel.call("mq_unlink", name)
    row = run.file(fd, "device")
    yield
    row.write(_send(fd, 3003))

    def receive(inner: Run) -> None:
        inner.file(fd, "device").read(_receive(fd))

    run.join(run.fork(receive))
