"""Programs that submit to the kernel's older asynchronous interface, the one behind libaio."""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
from collections.abc import Iterator

from pbmond.selftest.workloads.programs import kernel
from pbmond.selftest.workloads.programs.program import Run, offered, program, unseen

WORDS = "libaio"
_PREAD, _PWRITE, _PREADV, _PWRITEV = 0, 1, 7, 8
_IOCB = struct.Struct("=QIIHhIQQqQII")
_EVENT = struct.Struct("=QQqq")


class Context:
    """One aio context, of requests that are submitted and waited for one by one."""

    def __init__(self) -> None:
        context = ctypes.c_ulong(0)
        with offered("aio"):
            kernel.call("io_setup", 8, ctypes.byref(context))
        self._context = context.value

    def move(self, opcode: int, fd: int, address: int, length: int, offset: int = 0) -> int:
        """Submit one request; what the kernel says it moved."""
        iocb = _IOCB.pack(0, 0, 0, opcode, 0, fd, address, length, offset, 0, 0, 0)
        block = ctypes.create_string_buffer(iocb, len(iocb))
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(block))
        kernel.call("io_submit", self._context, 1, pointers)
        event = ctypes.create_string_buffer(_EVENT.size)
        kernel.call("io_getevents", self._context, 1, 1, event, None)
        result = int(_EVENT.unpack(event)[2])
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result

    def move_plain(self, opcode: int, fd: int, size: int, offset: int = 0) -> int:
        """PREAD or PWRITE of ``size`` bytes, stretched."""
        size = kernel.stretched(size)
        memory = kernel.buffer(size)
        return self.move(opcode, fd, ctypes.addressof(memory), size, offset)

    def move_vector(self, opcode: int, fd: int, sizes: tuple[int, ...], offset: int = 0) -> int:
        """PREADV or PWRITEV."""
        vector, _buffers = kernel.iovecs(sizes)
        return self.move(opcode, fd, ctypes.addressof(vector), len(sizes), offset)


@program
@unseen(WORDS)
def read_write(run: Run) -> Iterator[None]:
    """io_submit of PREAD and PWRITE."""
    context, fd = Context(), run.open("data", 100_003)
    row = run.file(fd)
    yield
    row.read(context.move_plain(_PREAD, fd, 4001, 3))
    row.read(context.move_plain(_PREAD, fd, 99, 100_000))
    row.write(context.move_plain(_PWRITE, fd, 2003, 5))


@program
@unseen(WORDS)
def vectored(run: Run) -> Iterator[None]:
    """io_submit of PREADV and PWRITEV."""
    context, fd = Context(), run.open("data", 100_003)
    row = run.file(fd)
    yield
    row.read(context.move_vector(_PREADV, fd, (1001, 5, 3003)))
    row.write(context.move_vector(_PWRITEV, fd, (77, 1, 2003)))


@program
@unseen(WORDS)
def direct(run: Run) -> Iterator[None]:
    """io_submit with O_DIRECT: the disk completes it."""
    context, fd = Context(), run.open("data", 4096 * 3 + 1001, os.O_DIRECT)
    row, memory = run.file(fd), mmap.mmap(-1, 4096 * 4)  # page-aligned, as O_DIRECT asks
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    yield
    row.read(context.move(_PREAD, fd, address, 4096 * 4))
    row.write(context.move(_PWRITE, fd, address, 4096 * 3))


@program
@unseen(WORDS)
def pipe_and_device(run: Run) -> Iterator[None]:
    """io_submit on a pipe and on a device."""
    context, zero, (read_end, write_end) = Context(), os.open("/dev/zero", os.O_RDWR), os.pipe()
    row, pipe_row = run.file(zero, "device"), run.pipe(read_end)
    yield
    row.read(context.move_plain(_PREAD, zero, 1001))
    pipe_row.write(context.move_plain(_PWRITE, write_end, 303))
    pipe_row.read(context.move_plain(_PREAD, read_end, 5000))


@program
@unseen(WORDS)
def unix_socket(run: Run) -> Iterator[None]:
    """io_submit on a socket."""
    context, (left, right) = Context(), socket.socketpair()
    left_row, right_row = run.connection(left, "unix"), run.connection(right, "unix")
    yield
    left_row.write(context.move_plain(_PWRITE, left.fileno(), 1001))
    right_row.read(context.move_plain(_PREAD, right.fileno(), 5000))
