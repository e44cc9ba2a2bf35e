"""A small io_uring in plain Python: submit one entry at a time, wait for its completions."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from collections.abc import Sequence

from pbmond.selftest.workloads.programs import kernel
from pbmond.selftest.workloads.programs.program import UnavailableError, fails, offered

READV, WRITEV, READ_FIXED, WRITE_FIXED, POLL_ADD = 1, 2, 4, 5, 6
SENDMSG, RECVMSG, READ, WRITE, SEND, RECV = 9, 10, 22, 23, 26, 27
SPLICE, PROVIDE_BUFFERS, TEE, RENAMEAT = 30, 31, 33, 35
SEND_ZC, SENDMSG_ZC, READ_MULTISHOT = 47, 48, 49

# sqe flags
FIXED_FILE, LINK, ASYNC, BUFFER_SELECT, SKIP_SUCCESS = 1 << 0, 1 << 2, 1 << 4, 1 << 5, 1 << 6
CQE_MORE, CQE_NOTIFICATION = 1 << 1, 1 << 3
RECV_MULTISHOT = 1 << 1  # in sqe->ioprio
POLL_ADD_MULTI = 1 << 0  # in sqe->len
AT_POSITION = (1 << 64) - 1  # as an offset: use and move the file's own position

_SETUP_SQPOLL = 1 << 1
_ENTER_GETEVENTS, _ENTER_SQ_WAKEUP = 1, 2
_NEED_WAKEUP = 1
_REGISTER_BUFFERS, _REGISTER_FILES, _REGISTER_PROBE, _REGISTER_BUFFER_RING = 0, 2, 8, 22
_OP_SUPPORTED = 1 << 0  # of struct io_uring_probe_op
_FEAT_SQPOLL_NONFIXED, _FEAT_CQE_SKIP = 1 << 7, 1 << 11
_NOWHERE = 1  # an address that cannot be read
_OFF_CQ_RING, _OFF_SQES = 0x8000000, 0x10000000
_ENTRIES = 64
_SQ_FIELDS = ("head", "tail", "mask", "entries", "flags", "dropped", "array")
_CQ_FIELDS = ("head", "tail", "mask", "entries", "overflow", "cqes", "flags")
_PROBE_HEAD, _PROBE_OP = struct.Struct("=BBH12x"), struct.Struct("=BBHI")
_MOST_OPCODES = 256
_SQE, _CQE = struct.Struct("=BBHiQQIIQHHiQQ"), struct.Struct("=QiI")


class Ring:
    """One io_uring; ``sqpoll`` lets a kernel thread take the submissions."""

    def __init__(self, *, sqpoll: bool = False) -> None:
        # struct io_uring_params: entries, flags and idle time, then what the kernel fills in.
        params = ctypes.create_string_buffer(120)
        struct.pack_into("=5I", params, 0, 0, 0, _SETUP_SQPOLL if sqpoll else 0, 0, 1000)
        with offered("io_uring"):
            self.fd = kernel.call("io_uring_setup", _ENTRIES, params)
        sq_entries, cq_entries = struct.unpack_from("=2I", params)
        self._features = struct.unpack_from("=I", params, 20)[0]
        self._opcodes = self._known_opcodes()
        self._sqpoll = sqpoll
        sq_offsets, cq_offsets = (struct.unpack_from("=7I", params, at) for at in (40, 80))
        self._sq = dict(zip(_SQ_FIELDS, sq_offsets, strict=True))
        self._cq = dict(zip(_CQ_FIELDS, cq_offsets, strict=True))
        self._sq_ring = self._map(0, self._sq["array"] + 4 * sq_entries)
        self._cq_ring = self._map(_OFF_CQ_RING, self._cq["cqes"] + 16 * cq_entries)
        self._sqes = self._map(_OFF_SQES, 64 * sq_entries)
        self._kept: list[object] = []
        self._held = 0

    def _map(self, offset: int, size: int) -> mmap.mmap:
        return mmap.mmap(self.fd, size, mmap.MAP_SHARED | mmap.MAP_POPULATE, offset=offset)

    def _known_opcodes(self) -> frozenset[int]:
        probe = ctypes.create_string_buffer(_PROBE_HEAD.size + _PROBE_OP.size * _MOST_OPCODES)
        kernel.call("io_uring_register", self.fd, _REGISTER_PROBE, probe, _MOST_OPCODES)
        operations = _PROBE_OP.iter_unpack(probe.raw[_PROBE_HEAD.size :])
        return frozenset(opcode for opcode, _, flags, _ in operations if flags & _OP_SUPPORTED)

    def _require(self, opcode: int, flags: int, ioprio: int) -> None:
        """Raise UnavailableError where the kernel would say EINVAL for want of a feature."""
        if opcode not in self._opcodes:
            raise UnavailableError(f"io_uring opcode {opcode}")
        plain = self._sqpoll and not flags & FIXED_FILE
        if plain and not self._features & _FEAT_SQPOLL_NONFIXED:
            raise UnavailableError("io_uring SQPOLL of files that are not registered")
        if flags & SKIP_SUCCESS and not self._features & _FEAT_CQE_SKIP:
            raise UnavailableError("io_uring requests without a completion")
        # Nothing tells of multishot receives; they came with the same release as this opcode.
        if ioprio & RECV_MULTISHOT and SEND_ZC not in self._opcodes:
            raise UnavailableError("io_uring multishot receive")

    def submit(
        self,
        opcode: int,
        fd: int,
        address: int = 0,
        length: int = 0,
        offset: int = 0,
        *,
        flags: int = 0,
        ioprio: int = 0,
        op_flags: int = 0,
        index: int = 0,
        splice_fd: int = 0,
        more: bool = False,
    ) -> None:
        """Hand one entry to the kernel, not waiting for it. ``index``: of a buffer or its group.

        ``more``: hold it back, to be handed over together with the next one. Raises
        UnavailableError if the kernel does not know the opcode, or what the flags ask for.
        """
        self._require(opcode, flags, ioprio)
        tail = _load(self._sq_ring, self._sq["tail"])
        slot = tail & _load(self._sq_ring, self._sq["mask"])
        fields = (opcode, flags, ioprio, fd, offset, address, length, op_flags, 0, index, 0)
        _SQE.pack_into(self._sqes, 64 * slot, *fields, splice_fd, 0, 0)
        _store(self._sq_ring, self._sq["array"] + 4 * slot, slot)
        _store(self._sq_ring, self._sq["tail"], tail + 1)
        self._held += 1
        if more:
            return
        held, self._held = self._held, 0
        if not self._sqpoll:
            self._enter(held, 0, 0)
        elif _load(self._sq_ring, self._sq["flags"]) & _NEED_WAKEUP:
            self._enter(1, 0, _ENTER_SQ_WAKEUP)

    def complete(self) -> tuple[int, int]:
        """Wait for one completion: its result, a negated errno if it failed, and its flags."""
        head = _load(self._cq_ring, self._cq["head"])
        while head == _load(self._cq_ring, self._cq["tail"]):
            self._enter(0, 1, _ENTER_GETEVENTS | (_ENTER_SQ_WAKEUP if self._sqpoll else 0))
        slot = head & _load(self._cq_ring, self._cq["mask"])
        _, result, flags = _CQE.unpack_from(self._cq_ring, self._cq["cqes"] + 16 * slot)
        _store(self._cq_ring, self._cq["head"], head + 1)
        return result, flags

    def result(self) -> int:
        """The bytes of the next completion; OSError if it failed."""
        return checked(self.complete()[0])

    def move(
        self, opcode: int, fd: int, size: int, offset: int = AT_POSITION, flags: int = 0
    ) -> int:
        """Read, write, send or receive ``size`` bytes; what the kernel returned."""
        where = 0 if opcode in (SEND, RECV, SEND_ZC) else offset
        size = kernel.stretched(size)
        memory = kernel.buffer(size)
        self.submit(opcode, fd, ctypes.addressof(memory), size, where, flags=flags)
        return self.result()

    def move_vector(self, opcode: int, fd: int, sizes: Sequence[int], flags: int = 0) -> int:
        """READV or WRITEV at the file's position; what the kernel returned."""
        vector, _buffers = kernel.iovecs(sizes)
        address = ctypes.addressof(vector)
        self.submit(opcode, fd, address, len(sizes), AT_POSITION, flags=flags)
        return self.result()

    def move_message(
        self, opcode: int, fd: int, sizes: Sequence[int], to: bytes | None = None, flags: int = 0
    ) -> int:
        """SENDMSG or RECVMSG; what the kernel returned."""
        header, _kept = kernel.message(sizes, to)
        self.submit(opcode, fd, ctypes.addressof(header), 1, flags=flags)
        return self.result()

    def register_buffer(self, size: int) -> int:
        """Register one fixed buffer, index 0; its address."""
        vector, buffers = kernel.iovecs([size])
        kernel.call("io_uring_register", self.fd, _REGISTER_BUFFERS, vector, 1)
        self._kept.append(buffers)
        return ctypes.addressof(buffers[0])

    def register_files(self, fds: Sequence[int]) -> None:
        """Register files: their places in ``fds`` stand for them under FIXED_FILE."""
        numbers = (ctypes.c_int * len(fds))(*fds)
        kernel.call("io_uring_register", self.fd, _REGISTER_FILES, numbers, len(fds))

    def provide_buffers(self, size: int, count: int) -> None:
        """Give the kernel ``count`` buffers of ``size`` bytes as group 0, for BUFFER_SELECT."""
        memory = kernel.buffer(size * count)
        self._kept.append(memory)
        self.submit(PROVIDE_BUFFERS, count, ctypes.addressof(memory), size)
        self.result()

    def provide_ring(self, size: int, count: int) -> None:
        """Give the kernel the same as a ring of buffers (IORING_REGISTER_PBUF_RING)."""
        ring, memory = mmap.mmap(-1, mmap.PAGESIZE), kernel.buffer(size * count)
        for number in range(count):
            entry = (ctypes.addressof(memory) + size * number, size, number)
            struct.pack_into("=QIH", ring, 16 * number, *entry)
        struct.pack_into("=H", ring, 14, count)  # the tail is in the first entry
        address = ctypes.addressof(ctypes.c_char.from_buffer(ring))
        registration = struct.pack("=QIHH24x", address, count, 0, 0)
        # A kernel that knows the request reads what it asks for first.
        with fails(errno.EFAULT), offered("io_uring buffer ring", errno.EINVAL):
            kernel.call("io_uring_register", self.fd, _REGISTER_BUFFER_RING, _NOWHERE, 1)
        kernel.call("io_uring_register", self.fd, _REGISTER_BUFFER_RING, registration, 1)
        self._kept += (ring, memory)

    def _enter(self, submitted: int, wanted: int, flags: int) -> None:
        try:
            kernel.call("io_uring_enter", self.fd, submitted, wanted, flags, None, 0)
        except OSError as error:
            if error.errno != errno.EINTR:
                raise


def checked(result: int) -> int:
    """The result of a completion; OSError if it failed."""
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def _load(memory: mmap.mmap, offset: int) -> int:
    return int(struct.unpack_from("=I", memory, offset)[0])


def _store(memory: mmap.mmap, offset: int, value: int) -> None:
    struct.pack_into("=I", memory, offset, value & 0xFFFFFFFF)
