"""Programs that read and write ordinary files and pipes, by each system call and descriptor."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
import socket
import threading
from collections.abc import Iterator

from pbmond.selftest.workloads.programs import kernel
from pbmond.selftest.workloads.programs.program import Gate, Run, fails, program, unseen

SIZE = 100_003  # of the files that are read: holes, so that set-up writes nothing


@program
def read_write(run: Run) -> Iterator[None]:
    """Read and write, at the file's position, up to its end."""
    fd = run.open("data", SIZE)
    row = run.file(fd)
    yield
    row.read(kernel.read(fd, 4001), kernel.read(fd, 1))
    row.write(kernel.write(fd, 777), kernel.write(fd, 1))
    row.read(kernel.read(fd, 2 * SIZE))  # cut short by the end of the file
    row.read(kernel.read(fd, 99))  # at the end: nothing


@program
def pread64_pwrite64(run: Run) -> Iterator[None]:
    """pread64 and pwrite64."""
    fd = run.open("data", SIZE)
    row = run.file(fd)
    yield
    row.read(kernel.pread64(fd, 4003, 1001), kernel.pread64(fd, 501, SIZE - 101))
    row.write(kernel.pwrite64(fd, 7001, 333))


def _vectored(run: Run, read: str, write: str, offset: int | None) -> Iterator[None]:
    fd = run.open("data", SIZE)
    row = run.file(fd)
    yield
    row.read(kernel.vectored(read, fd, (1001, 5, 3003), offset))
    row.write(kernel.vectored(write, fd, (77, 1, 2003), offset))


@program
def readv_writev(run: Run) -> Iterator[None]:
    """Readv and writev."""
    yield from _vectored(run, "readv", "writev", None)


@program
def preadv_pwritev(run: Run) -> Iterator[None]:
    """Preadv and pwritev."""
    yield from _vectored(run, "preadv", "pwritev", 4097)


@program
def preadv2_pwritev2(run: Run) -> Iterator[None]:
    """preadv2 and pwritev2."""
    yield from _vectored(run, "preadv2", "pwritev2", 4097)


@program
def preadv2_pwritev2_at_position(run: Run) -> Iterator[None]:
    """preadv2 and pwritev2 with offset -1."""
    yield from _vectored(run, "preadv2", "pwritev2", kernel.AT_POSITION)


@program
def one_byte_calls(run: Run) -> Iterator[None]:
    """A thousand calls of one byte each way."""
    fd = run.open("data", SIZE)
    row = run.file(fd)
    yield
    row.read(*(kernel.read(fd, 1) for _ in range(1001)))
    row.write(*(kernel.write(fd, 1) for _ in range(999)))


@program
def large_calls(run: Run) -> Iterator[None]:
    """More than 4 GiB in all, so that a 32-bit counter shows."""
    size = (16 << 20) + 1
    fd = run.open("data", size)
    row = run.file(fd)
    memory = mmap.mmap(-1, size)
    yield
    row.read(*(os.preadv(fd, [memory], 0) for _ in range(257)))


@program
def append(run: Run) -> Iterator[None]:
    """O_APPEND."""
    fd = run.open("data", SIZE, os.O_APPEND)
    row = run.file(fd)
    yield
    row.write(kernel.write(fd, 1003), kernel.vectored("writev", fd, (3, 4, 6)))


@program
def direct(run: Run) -> Iterator[None]:
    """O_DIRECT moves whole blocks; an odd end of file makes the read's result odd."""
    fd = run.open("data", 4096 * 3 + 1001, os.O_DIRECT)
    row = run.file(fd)
    memory = mmap.mmap(-1, 4096 * 4)  # page-aligned, as O_DIRECT asks
    yield
    row.read(os.preadv(fd, [memory], 0))
    row.write(os.pwritev(fd, [memoryview(memory)[: 4096 * 3]], 0))


@program
def duplicated_descriptors(run: Run) -> Iterator[None]:
    """dup, dup2 and F_DUPFD: one open file."""
    fd = run.open("data", SIZE)
    row = run.file(fd)
    copies = [os.dup(fd), os.dup2(fd, 200), fcntl.fcntl(fd, fcntl.F_DUPFD, 300)]
    yield
    os.close(fd)
    row.read(*(kernel.read(copy, 301) for copy in copies))
    row.write(*(kernel.write(copy, 703) for copy in copies))


@program
def high_descriptor(run: Run) -> Iterator[None]:
    """A descriptor table that had to grow."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    fd = fcntl.fcntl(run.open("data", SIZE), fcntl.F_DUPFD, min(hard, 20_000) - 7)
    row = run.file(fd)
    yield
    row.read(kernel.read(fd, 1007))
    row.write(kernel.write(fd, 501))


@program
@unseen("in progress when the daemon started")
def read_in_progress(run: Run) -> Iterator[None]:
    """A read that waits, perhaps since before the daemon started."""
    read_end, write_end = os.pipe()
    row = run.pipe(read_end)
    reader = threading.Thread(target=lambda: row.read(kernel.read(read_end, 1003)))
    reader.start()
    yield
    row.write(kernel.write(write_end, 1003))
    reader.join()


@program
def opened_twice(run: Run) -> Iterator[None]:
    """Two open files, one inode, one row; reopened, it goes on."""
    first, second = run.open("data", SIZE), run.open("data")
    row = run.file(first)
    yield
    row.read(kernel.read(first, 11), kernel.read(second, 13))
    os.close(first)
    os.close(second)
    third = run.open("data")
    row.write(kernel.write(third, 17))


@program
def opened_and_closed_at_once(run: Run) -> Iterator[None]:
    """Files that live shorter than any tick."""
    yield
    for number in range(50):
        fd = run.open(f"brief-{number}")
        run.file(fd).write(kernel.write(fd, 2 * number + 1))
        os.close(fd)


@program
def passed_by_scm_rights(run: Run) -> Iterator[None]:
    """A descriptor that came through a unix socket."""
    fd = run.open("data", SIZE)
    ours, theirs = socket.socketpair()
    gate = Gate()

    def receiver(inner: Run) -> None:
        gate.wait()
        message, (received,), _, _ = socket.recv_fds(theirs, 1, 1)
        inner.connection(theirs, "unix").read(len(message))
        row = inner.file(received)
        row.read(kernel.read(received, 2003))
        row.write(kernel.write(received, 3001))

    child = run.fork(receiver)
    row, message_row = run.file(fd), run.connection(ours, "unix")
    yield
    gate.open()
    row.write(kernel.write(fd, 55))
    message_row.write(socket.send_fds(ours, [b"x"], [fd]))
    run.join(child)


@program
def sixteen_threads(run: Run) -> Iterator[None]:
    """One row for all threads of a process."""
    fd = run.open("data", SIZE)
    row = run.file(fd)
    returned: list[list[int]] = [[] for _ in range(16)]

    def work(results: list[int]) -> None:
        results += (kernel.pwrite64(fd, 2 * n + 1, 0) for n in range(101))

    threads = [threading.Thread(target=work, args=(results,)) for results in returned]
    yield
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row.write(*(size for results in returned for size in results))


@program
def pipe(run: Run) -> Iterator[None]:
    """A pipe: both ends are one row."""
    read_end, write_end = os.pipe()
    row = run.pipe(read_end)
    yield
    row.write(kernel.write(write_end, 4003), kernel.vectored("writev", write_end, (1, 2, 10)))
    row.read(kernel.read(read_end, 999), kernel.vectored("readv", read_end, (5000, 5000)))


@program
def fifo(run: Run) -> Iterator[None]:
    """A named pipe."""
    name = os.fsencode(run.scratch / "fifo")
    os.mkfifo(name)
    fd = run.open("fifo")
    row = run.file(fd, "pipe")
    yield
    row.write(kernel.write(fd, 1003))
    row.read(kernel.read(fd, 501), kernel.read(fd, 5000))


@program
def failures_count_nothing(run: Run) -> Iterator[None]:
    """EAGAIN, EFAULT, EINVAL, EBADF, ENOSPC and EPIPE move nothing."""
    fd = run.open("data", 101)
    row = run.file(fd)
    empty, full = os.pipe2(os.O_NONBLOCK)
    pipe_row = run.pipe(empty)
    unread, broken = os.pipe2(os.O_NONBLOCK)
    run.pipe(broken)
    sink = os.open("/dev/full", os.O_WRONLY)
    run.file(sink, "device")
    yield
    with fails(errno.EAGAIN):
        kernel.read(empty, 100)
    with fails(errno.EFAULT):
        kernel.call("write", fd, 1, 4095)
    with fails(errno.EINVAL):
        kernel.pread64(fd, 100, -5)
    with fails(errno.EBADF):
        kernel.write(9999, 100)
    with fails(errno.ENOSPC):
        kernel.write(sink, 4095)
    os.close(unread)
    with fails(errno.EPIPE):
        kernel.write(broken, 4095)
    row.read(kernel.pread64(fd, 100, 101))  # past the end: nothing
    row.read(kernel.pread64(fd, 7, 0))
    pipe_row.write(kernel.write(full, 3))


@program
def partial_write(run: Run) -> Iterator[None]:
    """A pipe without room takes a part; then it takes nothing."""
    read_end, write_end = os.pipe2(os.O_NONBLOCK)
    row = run.pipe(read_end)
    yield
    row.write(kernel.write(write_end, 1 << 20))
    with fails(errno.EAGAIN):
        kernel.write(write_end, 99)
    row.read(kernel.read(read_end, 5001))


@program
def sparse(run: Run) -> Iterator[None]:
    """Holes are read like anything else; a write beyond the end moves no more than it says."""
    fd = run.open("data", 1 << 20)
    row = run.file(fd)
    yield
    row.read(kernel.pread64(fd, 70_001, 1001))
    row.write(kernel.pwrite64(fd, 303, 3 << 30))
    row.read(kernel.pread64(fd, 5001, (3 << 30) - 1001))


@program
def at_end_of_file(run: Run) -> Iterator[None]:
    """Reads at the end and beyond it move nothing; one across it moves what there is."""
    fd = run.open("data", SIZE)
    row = run.file(fd)
    yield
    row.read(kernel.pread64(fd, 99, SIZE), kernel.pread64(fd, 99, SIZE + 4096))
    row.read(kernel.pread64(fd, 99, SIZE - 7), kernel.vectored("preadv", fd, (5, 99), SIZE - 7))
    os.lseek(fd, 0, os.SEEK_END)
    row.read(kernel.read(fd, 99))
    row.write(kernel.write(fd, 33))


@program
@unseen("memory-mapped files")
def mapped(run: Run) -> Iterator[None]:
    """Memory-mapped: no call moves the bytes, the kernel's disk accounting shows their pages."""
    size = 16 * mmap.PAGESIZE
    fd = run.open("data")
    os.posix_fallocate(fd, 0, size)
    os.fsync(fd)
    row = run.file(fd)
    row.calls_unknown()
    memory = mmap.mmap(fd, size)
    yield
    memory[:] = b"x" * size
    memory.flush()
    row.write(size)
