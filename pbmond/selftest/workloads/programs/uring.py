"""Programs that read, write, send and receive through io_uring, in each way it can run them."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import select
from collections.abc import Iterator

from pbmond.selftest.workloads.programs import kernel
from pbmond.selftest.workloads.programs import ring as uring
from pbmond.selftest.workloads.programs.program import Run, fails, program, unseen
from pbmond.selftest.workloads.programs.ring import Ring

_AT_FDCWD = -100
SIZE = 100_003  # of the files that are read: holes, so that set-up writes nothing


def _plain(run: Run, ring: Ring, flags: int) -> Iterator[None]:
    fd = run.open("data", SIZE)
    row = run.file(fd)
    run.keep(ring)
    yield
    row.read(ring.move(uring.READ, fd, 4001, 3, flags))
    row.read(ring.move(uring.READ, fd, 333, flags=flags))
    row.read(ring.move(uring.READ, fd, 5001, SIZE - 77, flags))  # cut short by the end
    row.read(ring.move(uring.READ, fd, 99, SIZE, flags))  # at the end: nothing
    row.write(ring.move(uring.WRITE, fd, 2003, 5, flags))
    row.write(ring.move(uring.WRITE, fd, 777, flags=flags))


def _vectored(run: Run, ring: Ring, flags: int) -> Iterator[None]:
    fd = run.open("data", SIZE)
    row = run.file(fd)
    run.keep(ring)
    yield
    row.read(ring.move_vector(uring.READV, fd, (1001, 5, 3003), flags))
    row.write(ring.move_vector(uring.WRITEV, fd, (77, 1, 2003), flags))


def _fixed(run: Run, ring: Ring, flags: int) -> Iterator[None]:
    """Registered buffers."""
    fd = run.open("data", SIZE)
    row = run.file(fd)
    run.keep(ring)
    address = ring.register_buffer(10_001)
    yield
    ring.submit(uring.READ_FIXED, fd, address, 4003, 7, flags=flags)
    row.read(ring.result())
    ring.submit(uring.WRITE_FIXED, fd, address, 901, 7, flags=flags)
    row.write(ring.result())


@program
def plain_inline(run: Run) -> Iterator[None]:
    """READ and WRITE, done at once."""
    yield from _plain(run, Ring(), 0)


@program
def plain_async(run: Run) -> Iterator[None]:
    """READ and WRITE by worker threads."""
    yield from _plain(run, Ring(), uring.ASYNC)


@program
def plain_sqpoll(run: Run) -> Iterator[None]:
    """READ and WRITE, submitted by a kernel thread."""
    yield from _plain(run, Ring(sqpoll=True), 0)


@program
def vectored_inline(run: Run) -> Iterator[None]:
    """READV and WRITEV, done at once."""
    yield from _vectored(run, Ring(), 0)


@program
def vectored_async(run: Run) -> Iterator[None]:
    """READV and WRITEV by worker threads."""
    yield from _vectored(run, Ring(), uring.ASYNC)


@program
def vectored_sqpoll(run: Run) -> Iterator[None]:
    """READV and WRITEV, submitted by a kernel thread."""
    yield from _vectored(run, Ring(sqpoll=True), 0)


@program
def fixed_inline(run: Run) -> Iterator[None]:
    """READ_FIXED and WRITE_FIXED, done at once."""
    yield from _fixed(run, Ring(), 0)


@program
def fixed_async(run: Run) -> Iterator[None]:
    """READ_FIXED and WRITE_FIXED by worker threads."""
    yield from _fixed(run, Ring(), uring.ASYNC)


@program
def fixed_sqpoll(run: Run) -> Iterator[None]:
    """READ_FIXED and WRITE_FIXED, submitted by a kernel thread."""
    yield from _fixed(run, Ring(sqpoll=True), 0)


@program
def registered_file(run: Run) -> Iterator[None]:
    """The descriptor is closed; only the ring still knows the file."""
    ring, fd = Ring(), run.open("data", SIZE)
    row = run.file(fd)
    run.keep(ring)
    ring.register_files([fd])
    os.close(fd)
    yield
    row.read(ring.move(uring.READ, 0, 4001, 3, uring.FIXED_FILE))
    row.write(ring.move(uring.WRITE, 0, 901, 3, uring.FIXED_FILE | uring.ASYNC))


@program
def closed_in_flight(run: Run) -> Iterator[None]:
    """A read that waits while its descriptor is closed and its number given to another file."""
    ring, (read_end, write_end) = Ring(), os.pipe()
    row, memory = run.pipe(read_end), kernel.buffer(500)
    run.keep(ring, memory)
    yield
    ring.submit(uring.READ, read_end, ctypes.addressof(memory), 500)
    os.close(read_end)
    other = run.open("other", SIZE)
    if other != read_end:
        raise AssertionError("the descriptor was not used again")
    run.file(other)
    row.write(kernel.write(write_end, 301))
    row.read(ring.result())


def _pipe(run: Run, flags: int) -> Iterator[None]:
    ring, (read_end, write_end) = Ring(), os.pipe()
    row, memory = run.pipe(read_end), kernel.buffer(500)
    run.keep(ring, memory)
    yield
    row.write(ring.move(uring.WRITE, write_end, 1001, flags=flags))
    row.read(ring.move(uring.READ, read_end, 5000, flags=flags))
    ring.submit(uring.READ, read_end, ctypes.addressof(memory), 500, flags=flags)
    row.write(kernel.write(write_end, 99))  # only now can the read end
    row.read(ring.result())


@program
def pipe_inline(run: Run) -> Iterator[None]:
    """READ and WRITE on a pipe; one read waits."""
    yield from _pipe(run, 0)


@program
def pipe_async(run: Run) -> Iterator[None]:
    """The same by worker threads."""
    yield from _pipe(run, uring.ASYNC)


@program
def device(run: Run) -> Iterator[None]:
    """READ and WRITE on a device."""
    ring, zero = Ring(), os.open("/dev/zero", os.O_RDWR)
    row = run.file(zero, "device")
    run.keep(ring)
    yield
    row.read(ring.move(uring.READ, zero, 1001))
    row.write(ring.move(uring.WRITE, zero, 77, flags=uring.ASYNC))


@program
def splice_file_to_pipe(run: Run) -> Iterator[None]:
    """SPLICE: file to pipe."""
    ring, fd, (read_end, write_end) = Ring(), run.open("data", SIZE), os.pipe()
    file_row, pipe_row = run.file(fd), run.pipe(read_end)
    run.keep(ring)
    yield
    # Both offsets are "none": the pipe has no position and the file uses its own.
    ring.submit(uring.SPLICE, write_end, uring.AT_POSITION, 3003, uring.AT_POSITION, splice_fd=fd)
    moved = ring.result()
    file_row.read(moved)
    pipe_row.write(moved)


@program
def splice_pipe_to_file(run: Run) -> Iterator[None]:
    """SPLICE: pipe to file."""
    ring, fd, (read_end, write_end) = Ring(), run.open("data"), os.pipe()
    file_row, pipe_row = run.file(fd), run.pipe(read_end)
    run.keep(ring)
    yield
    pipe_row.write(kernel.write(write_end, 3003))
    anywhere = uring.AT_POSITION
    ring.submit(uring.SPLICE, fd, anywhere, 1001, anywhere, splice_fd=read_end)
    moved = ring.result()
    pipe_row.read(moved)
    file_row.write(moved)


@program
def tee(run: Run) -> Iterator[None]:
    """TEE: the second pipe gets the bytes; the first keeps them."""
    ring, (first_read, first_write), (second_read, second_write) = Ring(), os.pipe(), os.pipe()
    first_row, second_row = run.pipe(first_read), run.pipe(second_read)
    run.keep(ring)
    yield
    first_row.write(kernel.write(first_write, 3003))
    ring.submit(uring.TEE, second_write, 0, 1001, splice_fd=first_read)
    second_row.write(ring.result())
    second_row.read(kernel.read(second_read, 5000))


@program
def linked(run: Run) -> Iterator[None]:
    """A write, then a read that must wait for it, handed over together."""
    ring, fd = Ring(), run.open("data", SIZE)
    row, size = run.file(fd), kernel.stretched(901)
    memory = kernel.buffer(size)
    run.keep(ring, memory)
    yield
    address = ctypes.addressof(memory)
    ring.submit(uring.WRITE, fd, address, size, 7, flags=uring.LINK, more=True)
    ring.submit(uring.READ, fd, address, 303, 3)
    row.write(ring.result())
    row.read(ring.result())


@program
def renamed(run: Run) -> Iterator[None]:
    """RENAMEAT while the file is open and quiet: its row has the new name."""
    ring, fd = Ring(), run.open("before")
    old, new = (os.fsencode(run.scratch / name) for name in ("before", "after"))
    row = run.file(fd, path=new)
    run.keep(ring)
    yield
    row.write(kernel.write(fd, 1003))
    paths = [ctypes.create_string_buffer(path) for path in (old, new)]
    addresses = [ctypes.addressof(path) for path in paths]
    here = _AT_FDCWD & 0xFFFFFFFF  # of the new path, where others have a length
    ring.submit(uring.RENAMEAT, _AT_FDCWD, addresses[0], here, addresses[1])
    ring.result()


def _direct(run: Run, flags: int) -> Iterator[None]:
    ring, fd = Ring(), run.open("data", 4096 * 3 + 1001, os.O_DIRECT)
    row, memory = run.file(fd), mmap.mmap(-1, 4096 * 4)  # page-aligned, as O_DIRECT asks
    run.keep(ring, memory)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    yield
    ring.submit(uring.READ, fd, address, 4096 * 4, flags=flags)
    row.read(ring.result())
    ring.submit(uring.WRITE, fd, address, 4096 * 3, flags=flags)
    row.write(ring.result())


@program
def direct_inline(run: Run) -> Iterator[None]:
    """O_DIRECT: the disk completes it."""
    yield from _direct(run, 0)


@program
def direct_async(run: Run) -> Iterator[None]:
    """O_DIRECT by worker threads."""
    yield from _direct(run, uring.ASYNC)


@program
def provided_buffers(run: Run) -> Iterator[None]:
    """PROVIDE_BUFFERS: the kernel chooses where to."""
    ring, fd = Ring(), run.open("data", SIZE)
    row = run.file(fd)
    run.keep(ring)
    yield
    ring.provide_buffers(500, 8)
    for size in (303, 101):
        ring.submit(uring.READ, fd, 0, kernel.stretched(size), 3, flags=uring.BUFFER_SELECT)
        row.read(ring.result())


@program
def buffer_ring(run: Run) -> Iterator[None]:
    """A registered ring of buffers: the kernel chooses where to."""
    ring, (read_end, write_end) = Ring(), os.pipe()
    row = run.pipe(read_end)
    run.keep(ring)
    ring.provide_ring(500, 8)
    yield
    for size in (303, 101):
        row.write(kernel.write(write_end, size))
        ring.submit(uring.READ, read_end, 0, 0, flags=uring.BUFFER_SELECT)
        row.read(ring.result())


@program
@unseen("IOSQE_CQE_SKIP_SUCCESS")
def no_completion(run: Run) -> Iterator[None]:
    """A write that asks for no completion if it succeeds."""
    ring, fd = Ring(), run.open("data")
    row, size = run.file(fd), kernel.stretched(901)
    memory = kernel.buffer(size)
    run.keep(ring, memory)
    yield
    address = ctypes.addressof(memory)
    ring.submit(uring.WRITE, fd, address, size, flags=uring.LINK | uring.SKIP_SUCCESS, more=True)
    ring.submit(uring.READ, fd, address, 303)  # linked: it comes after the write
    row.read(ring.result())
    row.write(os.fstat(fd).st_size)


@program
def read_multishot(run: Run) -> Iterator[None]:
    """READ_MULTISHOT: one entry, many completions."""
    ring, (read_end, write_end) = Ring(), os.pipe()
    row = run.pipe(read_end)
    run.keep(ring)
    yield
    ring.provide_buffers(500, 8)
    ring.submit(uring.READ_MULTISHOT, read_end, flags=uring.BUFFER_SELECT)
    for size in (101, 303, 55):
        row.write(kernel.write(write_end, size))
        row.read(ring.result())


@program
def polled_meanwhile(run: Run) -> Iterator[None]:
    """A multishot poll with the user data of a READ_MULTISHOT: its results are no bytes."""
    ring, (read_end, write_end), event = Ring(), os.pipe(), os.eventfd(0)
    row, event_row = run.pipe(read_end), run.file(event, "device")
    run.keep(ring)
    yield
    ring.provide_buffers(500, 8)
    ring.submit(uring.READ_MULTISHOT, read_end, flags=uring.BUFFER_SELECT)
    ring.submit(uring.POLL_ADD, event, 0, uring.POLL_ADD_MULTI, op_flags=select.POLLIN)
    for size in (101, 303, 55):
        row.write(kernel.write(write_end, size))
        row.read(ring.result())
        os.eventfd_write(event, 1)
        event_row.write(8)
        ring.result()
        os.eventfd_read(event)
        event_row.read(8)


@program
def failures_count_nothing(run: Run) -> Iterator[None]:
    """EBADF and EPIPE move nothing."""
    ring, fd, (unread, broken) = Ring(), run.open("data", 101), os.pipe()
    row = run.file(fd)
    run.pipe(broken)
    run.keep(ring)
    write_only = os.open(run.scratch / "data", os.O_WRONLY)
    yield
    with fails(errno.EBADF):
        ring.move(uring.READ, write_only, 99, 0)
    with fails(errno.EBADF):
        ring.move(uring.READ, 9999, 99, 0)
    os.close(unread)
    with fails(errno.EPIPE):
        ring.move(uring.WRITE, broken, 99)
    with fails(errno.EPIPE):
        ring.move(uring.WRITE, broken, 99, flags=uring.ASYNC)
    row.read(ring.move(uring.READ, fd, 5, 0))
