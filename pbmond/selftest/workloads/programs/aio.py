"""Programs that submit to the kernel's older asynchronous interface, the one behind libaio."""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from queue import SimpleQueue
from threading import Thread

from pbmond.patience import patient
from pbmond.selftest.workloads.programs import kernel
from pbmond.selftest.workloads.programs.program import Run, UnavailableError, offered, program

_PREAD, _PWRITE, _POLL, _PREADV, _PWRITEV = 0, 1, 5, 7, 8
_IOCB = struct.Struct("=QIIHhIQQqQII")
_EVENT = struct.Struct("=QQqq")
_RING_MAGIC, _RING_HEADER = 0xA10A10A1, 32


class Context:
    """One aio context. Its iocbs are in one block of memory and are reused."""

    def __init__(self, requests: int = 1) -> None:
        self._requests = requests
        self._set_up()
        self._iocbs = ctypes.create_string_buffer(_IOCB.size * requests)
        self._events = ctypes.create_string_buffer(_EVENT.size * requests)
        self._buffers: list[object] = []

    def _set_up(self) -> None:
        context = ctypes.c_ulong(0)
        with offered("aio"):
            kernel.call("io_setup", max(self._requests, 8), ctypes.byref(context))
        self._context = context.value

    def start_anew(self) -> None:
        """Destroy the context, with all untaken results, and make another."""
        kernel.call("io_destroy", self._context)
        self._set_up()

    def prepare(  # noqa: PLR0917 - the fields of an iocb, in its order
        self, number: int, opcode: int, fd: int, address: int, length: int, offset: int = 0
    ) -> None:
        """Fill iocb ``number``."""
        fields = (number, 0, 0, opcode, 0, fd, address, length, offset, 0, 0, 0)
        _IOCB.pack_into(self._iocbs, _IOCB.size * number, *fields)

    def prepare_plain(self, number: int, opcode: int, fd: int, size: int, offset: int = 0) -> None:
        """Fill iocb ``number`` with PREAD or PWRITE of ``size`` bytes, stretched."""
        length = kernel.stretched(size)
        memory = kernel.buffer(length)
        self._buffers.append(memory)
        self.prepare(number, opcode, fd, ctypes.addressof(memory), length, offset)

    def submit(self, count: int = 1, first: int = 0) -> None:
        """Submit ``count`` iocbs in one call."""
        start = ctypes.addressof(self._iocbs) + _IOCB.size * first
        pointers = (ctypes.c_void_p * count)(*(start + _IOCB.size * n for n in range(count)))
        if kernel.call("io_submit", self._context, count, pointers) != count:
            raise AssertionError("io_submit did not take all")

    def results(self, count: int = 1, call: str = "io_getevents") -> list[int]:
        """Wait for ``count`` results and take them in one call. Returned by number of iocb."""
        rest = (None,) if call == "io_getevents" else (None, None)
        kernel.call(call, self._context, count, count, self._events, *rest)
        return self._sorted(self._events.raw[: _EVENT.size * count])

    def results_from_ring(self, count: int) -> list[int]:
        """Take ``count`` results from the mapped ring, without a call."""
        ring = (ctypes.c_uint32 * 8).from_address(self._context)
        _, slots, head, _, magic = ring[:5]
        if magic != _RING_MAGIC:
            raise UnavailableError("programs cannot read the aio ring here")
        deadline = time.monotonic() + patient(5)
        while (ring[3] - ring[2]) % slots < count:
            if time.monotonic() > deadline:
                raise AssertionError("there are no results")
        size, start = _EVENT.size, self._context + _RING_HEADER
        places = [start + size * ((head + n) % slots) for n in range(count)]
        taken = b"".join(ctypes.string_at(place, size) for place in places)
        ring[2] = (head + count) % slots
        return self._sorted(taken)

    def share(self, other: Context) -> None:
        """Use the ring of ``other`` from now on."""
        self._context = other._context

    def take_any(self) -> tuple[int, int]:
        """Take one result. Return the number of its iocb, and how many bytes moved."""
        kernel.call("io_getevents", self._context, 1, 1, self._events, None)
        number, _, result, _ = _EVENT.unpack_from(self._events)
        return number, result

    @staticmethod
    def _sorted(events: bytes) -> list[int]:
        results = [0] * (len(events) // _EVENT.size)
        for number, _, result, _ in _EVENT.iter_unpack(events):
            if result < 0:
                raise OSError(-result, os.strerror(-result))
            results[number] = result
        return results

    def move(self, opcode: int, fd: int, address: int, length: int, offset: int = 0) -> int:
        """Submit one request. Return how many bytes the kernel moved."""
        self.prepare(0, opcode, fd, address, length, offset)
        self.submit()
        return self.results()[0]

    def move_plain(self, opcode: int, fd: int, size: int, offset: int = 0) -> int:
        """PREAD or PWRITE of ``size`` bytes, stretched."""
        self.prepare_plain(0, opcode, fd, size, offset)
        self.submit()
        return self.results()[0]

    def move_vector(self, opcode: int, fd: int, sizes: tuple[int, ...], offset: int = 0) -> int:
        """PREADV or PWRITEV."""
        vector, _buffers = kernel.iovecs(sizes)
        return self.move(opcode, fd, ctypes.addressof(vector), len(sizes), offset)


@program
def read_write(run: Run) -> Iterator[None]:
    """io_submit of PREAD and PWRITE."""
    context, fd = Context(), run.open("data", 100_003)
    row = run.file(fd)
    yield
    row.read(context.move_plain(_PREAD, fd, 4001, 3))
    row.read(context.move_plain(_PREAD, fd, 99, 100_000))
    row.write(context.move_plain(_PWRITE, fd, 2003, 5))


@program
def vectored(run: Run) -> Iterator[None]:
    """io_submit of PREADV and PWRITEV."""
    context, fd = Context(), run.open("data", 100_003)
    row = run.file(fd)
    yield
    row.read(context.move_vector(_PREADV, fd, (1001, 5, 3003)))
    row.write(context.move_vector(_PWRITEV, fd, (77, 1, 2003)))


@program
def direct(run: Run) -> Iterator[None]:
    """io_submit with O_DIRECT: the disk completes it."""
    context, fd = Context(), run.open("data", 4096 * 3 + 1001, os.O_DIRECT)
    row, memory = run.file(fd), mmap.mmap(-1, 4096 * 4)  # page-aligned, as O_DIRECT asks
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    yield
    row.read(context.move(_PREAD, fd, address, 4096 * 4))
    row.write(context.move(_PWRITE, fd, address, 4096 * 3))


@program
def pipe_and_device(run: Run) -> Iterator[None]:
    """io_submit on a pipe and on a device."""
    context, zero, (read_end, write_end) = Context(), os.open("/dev/zero", os.O_RDWR), os.pipe()
    row, pipe_row = run.file(zero, "device"), run.pipe(read_end)
    yield
    row.read(context.move_plain(_PREAD, zero, 1001))
    pipe_row.write(context.move_plain(_PWRITE, write_end, 303))
    pipe_row.read(context.move_plain(_PREAD, read_end, 5000))


@program
def unix_socket(run: Run) -> Iterator[None]:
    """io_submit on a socket."""
    context, (left, right) = Context(), socket.socketpair()
    left_row, right_row = run.connection(left, "unix"), run.connection(right, "unix")
    yield
    left_row.write(context.move_plain(_PWRITE, left.fileno(), 1001))
    right_row.read(context.move_plain(_PREAD, right.fileno(), 5000))


@program
def one_call_of_many(run: Run) -> Iterator[None]:
    """Nine hundred requests in one io_submit, their results in one io_getevents."""
    count, fd = 900, run.open("data", 100_003)
    context, row = Context(count), run.file(fd)
    yield
    for number in range(count):
        context.prepare_plain(number, _PREAD if number % 3 else _PWRITE, fd, 1 + number % 7, number)
    context.submit(count)
    for number, moved in enumerate(context.results(count)):
        (row.read if number % 3 else row.write)(moved)


@program
def one_call_on_many_files(run: Run) -> Iterator[None]:
    """Twenty files, first seen in one call, each with its name."""
    fds = [run.open(f"data-{number}", 1001) for number in range(20)]
    context, rows = Context(len(fds)), [run.file(fd) for fd in fds]
    yield
    for number, fd in enumerate(fds):
        context.prepare_plain(number, _PREAD, fd, 11 + number)
    context.submit(len(fds))
    for row, moved in zip(rows, context.results(len(fds)), strict=True):
        row.read(moved)


@program
def pgetevents(run: Run) -> Iterator[None]:
    """Results by io_pgetevents."""
    context, fd = Context(), run.open("data", 100_003)
    row = run.file(fd)
    yield
    context.prepare_plain(0, _PREAD, fd, 4001)
    context.submit()
    row.read(*context.results(1, "io_pgetevents"))


@program
def closed_before_its_result(run: Run) -> Iterator[None]:
    """The descriptor is another file's by the time the result is taken."""
    context, fd = Context(), run.open("data", 100_003)
    row = run.file(fd)
    yield
    context.prepare_plain(0, _PREAD, fd, 4001)
    context.submit()
    os.close(fd)
    if run.open("other", 100_003) != fd:
        raise AssertionError("the descriptor was not used again")
    row.read(*context.results())


@program
def taken_from_the_ring(run: Run) -> Iterator[None]:
    """Results taken from the mapped ring without a call, as QEMU does."""
    context, one, other = Context(3), run.open("one", 100_003), run.open("other", 100_003)
    rows = run.file(one), run.file(other)
    yield
    for size in (4001, 303, 55):
        context.prepare_plain(0, _PREAD, one, size)
        context.prepare_plain(1, _PWRITE, other, size + 1)
        context.submit(2)
        read, written = context.results_from_ring(2)
        rows[0].read(read)
        rows[1].write(written)
    # The iocbs get other files, before the next call on the ring shows that its head has moved.
    context.prepare_plain(0, _PREAD, other, 99)
    context.prepare_plain(1, _PREAD, other, 77)
    context.submit(2)
    rows[1].read(*context.results(2))


@program
def polls(run: Run) -> Iterator[None]:
    """The results of 200 polls are not bytes, though the same iocbs were reads before."""
    count, fd, (left, right) = 200, run.open("data", 100_003), socket.socketpair()
    context, row = Context(count), run.connection(left, "unix")
    run.keep(right)
    yield
    for number in range(count):
        context.prepare_plain(number, _PREAD, fd, 11)
    context.submit(count)
    context.start_anew()
    for number in range(count):
        context.prepare(number, _POLL, left.fileno(), select.POLLOUT, 0)
    context.submit(count)
    context.results(count)
    row.write(kernel.write(left.fileno(), 77))


@program
def threads_on_one_ring(run: Run) -> Iterator[None]:
    """Four threads submit to one context, and each takes whatever results there are."""
    rounds, size = 50, 303
    fds = [run.open(f"data-{number}", 100_003) for number in range(4)]
    contexts, rows = [Context(rounds) for _ in fds], [run.file(fd) for fd in fds]
    for context in contexts[1:]:
        context.share(contexts[0])

    def work(context: Context, fd: int) -> None:
        # A thread takes whichever result comes, so that its own iocb may still be in use.
        for number in range(rounds):
            context.prepare_plain(number, _PREAD, fd, size)
            context.submit(1, number)
            context.take_any()

    yield
    threads = [Thread(target=work, args=pair) for pair in zip(contexts, fds, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for row in rows:
        row.read(*[kernel.stretched(size)] * rounds)


@program
def threads_sharing_iocbs(run: Run) -> Iterator[None]:
    """One thread submits, another takes results and gives the iocbs back, for other files."""
    rounds, size = 2000, 1000
    fds = [run.open(f"data-{number}", 100_003) for number in range(4)]
    rows = [run.file(fd) for fd in fds]
    context, reaper = Context(8), Context(8)
    reaper.share(context)
    free: SimpleQueue[int] = SimpleQueue()
    memory = kernel.buffer(size)
    taken: list[list[int]] = [[] for _ in fds]
    owner = [0] * 8

    def take() -> None:
        for _ in range(rounds):
            number, result = reaper.take_any()
            taken[owner[number]].append(result)
            free.put(number)

    yield
    for number in range(8):
        free.put(number)
    thread = Thread(target=take)
    thread.start()
    for turn in range(rounds):
        number = free.get()
        owner[number] = turn * turn % 7 % len(fds)
        length = 1 + turn * 7919 % size
        context.prepare(number, _PREAD, fds[owner[number]], ctypes.addressof(memory), length)
        context.submit(1, number)
    thread.join()
    for row, results in zip(rows, taken, strict=True):
        row.read(*results)
