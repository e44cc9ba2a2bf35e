"""The bpf(2) system call and perf_event_open(2), by ctypes: maps, programs, attachments.

Shared by the loader (any Python >= 3.9, standard library only) and the collector. Numbers are those
of include/uapi/linux/bpf.h and include/uapi/linux/perf_event.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long

_SYSCALLS = {  # bpf, perf_event_open, membarrier
    "x86_64": (321, 298, 324),
    "aarch64": (280, 241, 283),
}
_BPF, _PERF_EVENT_OPEN, _MEMBARRIER = _SYSCALLS.get(platform.machine(), (-1, -1, -1))

_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD = 0, 2, 5
_PROG_TEST_RUN, _PROG_GET_FD_BY_ID, _OBJ_GET_INFO, _RAW_TRACEPOINT_OPEN = 10, 13, 15, 17
_BTF_GET_FD_BY_ID, _TASK_FD_QUERY, _BTF_GET_NEXT_ID = 19, 20, 23
_MAP_DELETE_BATCH, _ENABLE_STATS = 27, 32
NO_COMMAND, LOAD_TYPES = 0xFFFF, 18  # arguments of refusal()

HASH, PROG_ARRAY, ARRAY, PERCPU_ARRAY, LRU_HASH, STACK, RINGBUF = 1, 3, 2, 6, 9, 23, 27
MMAPABLE = 1 << 10
TRACEPOINT, RAW_TRACEPOINT, TRACING = 5, 17, 26  # program types
_FEXIT = 25  # how a tracing program is attached: BPF_TRACE_FEXIT

_LOG_STATISTICS = 4  # BPF_LOG_STATS: only the last lines of the verifier's log, and its figures
_LOG_SIZE = 1 << 16

_PERF_TYPE_TRACEPOINT = 2
_PERF_FLAG_CLOEXEC = 8
_PERF_IOC_ENABLE, _PERF_IOC_SET_BPF = 0x2400, 0x40042408
_MEMBARRIER_GLOBAL = 1

#: With these the kernel says that it could not get the lock of a map, see bpf/tables.h.
_LOCKED = frozenset((errno.EBUSY, errno.EDEADLK, errno.ETIMEDOUT))
_LOCK_TRIES = 16

_STATS_RUN_TIME = 0
_NAME_SIZE = 256


class Runs(NamedTuple):
    """How often a program ran. ``time_ns`` and ``calls`` grow only while BPF statistics are on.

    ``missed`` counts the calls in which the kernel skipped the program because it was already
    running on that processor.
    """

    time_ns: int
    calls: int
    missed: int


class ProgramRefused(OSError):  # noqa: N818 - named after what happened
    """The kernel did not load a program. ``log`` is the verifier's log, which may be empty."""

    def __init__(self, number: int, log: str) -> None:
        super().__init__(number, os.strerror(number))
        self.log = log


class Loaded(NamedTuple):
    """A program in the kernel: its descriptor, and how many instructions were verified."""

    descriptor: int
    verified: int


def processors() -> int:
    """Return the highest possible processor number + 1. Online ones have gaps and can change."""
    text = Path("/sys/devices/system/cpu/possible").read_text()
    return int(re.split("[-,]", text.strip())[-1]) + 1


def supported() -> bool:
    """Return whether this machine's system call numbers are known (x86_64 and aarch64)."""
    return _BPF != -1


def _call(command: int, attributes: bytes) -> int:
    return _exchange(command, _buffer(attributes))


def _exchange(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    """Call bpf(2), which may write its answer into ``attributes``."""
    result = int(_LIBC.syscall(_BPF, command, attributes, len(attributes)))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def refusal(command: int) -> int | None:
    """Return the errno with which bpf(2) rejects an empty ``command``, or None if it is allowed.

    On most kernels NO_COMMAND needs no capability. LOAD_TYPES needs CAP_BPF. Neither uses memory.
    """
    try:
        _call(command, bytes(8))
    except OSError as error:
        return None if error.errno == errno.EINVAL else error.errno
    return None


def create_map(
    kind: int, key_size: int, value_size: int, entries: int, *, flags: int = 0, name: str = ""
) -> int:
    """Create a map and return its descriptor. Raises OSError if the kernel refuses."""
    label = name.encode()[:15]
    return _call(
        _MAP_CREATE,
        struct.pack("<5I8x16s", kind, key_size, value_size, entries, flags, label),
    )


def load_program(kind: int, code: bytes, name: str, *, function: int = 0) -> Loaded:
    """Verify and load a program's instructions. Raises ProgramRefused if the kernel rejects it.

    A TRACING program runs when the kernel function with the BTF id ``function`` returns.
    """
    instructions, license_, log = _buffer(code), _buffer(b"GPL\0"), _buffer(bytes(_LOG_SIZE))
    pointers = [ctypes.addressof(each) for each in (instructions, license_, log)]
    # union bpf_attr: prog_type, insn_cnt, insns, license, log_level, log_size, log_buf,
    # kern_version, prog_flags, prog_name, prog_ifindex, expected_attach_type, 32 bytes about BTF,
    # attach_btf_id.
    attributes = struct.pack(
        "<IIQQIIQ8x16s4xI32x4xI8x",
        *(kind, len(code) // 8, *pointers[:2], _LOG_STATISTICS, _LOG_SIZE, pointers[2]),
        *(name.encode()[:15], _FEXIT if function else 0, function),
    )
    try:
        descriptor = _call(_PROG_LOAD, attributes)
    except OSError as error:
        raise ProgramRefused(error.errno or 0, log.value.decode("utf-8", "replace")) from None
    found = re.search(rb"processed (\d+) insns", log.value)
    return Loaded(descriptor, int(found[1]) if found else 0)


def _buffer(value: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(value, len(value))


def _element(descriptor: int, key: bytes | None, value: bytes | None) -> tuple[bytes, object]:
    """Pack the attributes of an element command. The second value keeps the buffers alive."""
    buffers = [None if item is None else _buffer(item) for item in (key, value)]
    pointers = [0 if item is None else ctypes.addressof(item) for item in buffers]
    return struct.pack("<I4xQQQ", descriptor, *pointers, 0), buffers


def update(descriptor: int, key: bytes, value: bytes) -> None:
    """Set one element of a hash or array map."""
    attributes, _alive = _element(descriptor, key, value)
    _call(_MAP_UPDATE, attributes)


def push_numbers(descriptor: int, numbers: Iterable[int]) -> None:
    """Push 32-bit numbers onto a stack map, with one system call each."""
    value = ctypes.c_uint32()
    packed = struct.pack("<I4xQQQ", descriptor, 0, ctypes.addressof(value), 0)
    attributes = _buffer(packed)
    call, size = _LIBC.syscall, len(packed)
    for number in numbers:
        value.value = number
        tries = _LOCK_TRIES
        while call(_BPF, _MAP_UPDATE, attributes, size) < 0:
            tries -= 1
            if not tries or ctypes.get_errno() not in _LOCKED:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def delete_all(descriptor: int, keys: bytes, count: int) -> int:
    """Delete ``count`` keys of a hash map, which lie one after the other in ``keys``.

    Returns how many are gone, from the first on: fewer if the kernel could not get a lock. A key
    that was not there is gone. One system call deletes as many as it can.
    """
    buffer, size = _buffer(keys), len(keys) // count
    done, tries = 0, _LOCK_TRIES
    while done < count and tries:
        # in_batch, out_batch, keys, values, count, map_fd, elem_flags, flags
        address = ctypes.addressof(buffer) + done * size
        request = (0, 0, address, 0, count - done, descriptor, 0, 0)
        attributes = _buffer(struct.pack("<QQQQIIQQ", *request))
        try:
            _exchange(_MAP_DELETE_BATCH, attributes)
        except OSError as error:
            if error.errno == errno.ENOENT:
                done += 1
            elif error.errno in _LOCKED:
                tries -= 1
            else:
                raise
        done += int(struct.unpack_from("<I", attributes, 32)[0])
    return done


def open_raw_tracepoint(name: str, program: int) -> int:
    """Attach a program to a raw tracepoint. Closing the returned descriptor detaches it."""
    text = ctypes.create_string_buffer(name.encode())
    return _call(_RAW_TRACEPOINT_OPEN, struct.pack("<QI4x", ctypes.addressof(text), program))


def open_function(program: int) -> int:
    """Attach a TRACING program to its function. Closing the descriptor detaches it."""
    return _call(_RAW_TRACEPOINT_OPEN, struct.pack("<QI4x", 0, program))


def open_tracepoint(identifier: int, program: int) -> int:
    """Attach a program to the tracepoint with this id in tracefs, on the whole machine.

    perf requires a processor for the event, so it is opened on processor 0. A BPF program at a
    tracepoint still runs on every processor. Closing the returned descriptor detaches it.
    """
    descriptor = open_event(identifier)
    try:
        fcntl.ioctl(descriptor, _PERF_IOC_SET_BPF, program)
        fcntl.ioctl(descriptor, _PERF_IOC_ENABLE, 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def open_event(identifier: int) -> int:
    """Return a perf event, not enabled, for the tracepoint with this id. OSError if refused.

    The kernel checks permission first (EACCES) and looks for the tracepoint second (EINVAL).
    """
    # struct perf_event_attr: type, size, config, then zeros up to PERF_ATTR_SIZE_VER5 (112).
    packed = struct.pack("<IIQ", _PERF_TYPE_TRACEPOINT, 112, identifier).ljust(112, b"\0")
    attributes = _buffer(packed)
    descriptor = int(_LIBC.syscall(_PERF_EVENT_OPEN, attributes, -1, 0, -1, _PERF_FLAG_CLOEXEC))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor


def is_loaded(program: int) -> bool:
    """Return whether the kernel holds a program with this id."""
    try:
        os.close(open_program(program))
    except FileNotFoundError:
        return False
    return True


def open_program(program: int) -> int:
    """Return a descriptor of the program with this id. FileNotFoundError if there is none."""
    return _call(_PROG_GET_FD_BY_ID, struct.pack("<II4x", program, 0))


def attached(pid: int, descriptor: int) -> tuple[int, str] | None:
    """Return what a process's descriptor attaches: the program's id, and where it runs.

    The place is a tracepoint's name, or "fexit:" and the program's name. Returns None if the
    descriptor is gone or attaches nothing that has a name. Needs CAP_SYS_ADMIN.
    """
    name = ctypes.create_string_buffer(_NAME_SIZE)
    # pid, fd, flags, buf_len, buf, then the results: prog_id, fd_type, probe_offset, probe_addr
    packed = struct.pack("<4IQ", pid, descriptor, 0, _NAME_SIZE, ctypes.addressof(name))
    attributes = ctypes.create_string_buffer(packed, 48)
    if _LIBC.syscall(_BPF, _TASK_FD_QUERY, attributes, 48) < 0:
        if ctypes.get_errno() == errno.EPERM:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return _traced(pid, descriptor)  # the call does not support fexit links
    program = int(struct.unpack_from("<I", attributes, 24)[0])
    return (program, name.value.decode("ascii", "replace")) if name.value else None


def _traced(pid: int, descriptor: int) -> tuple[int, str] | None:
    """Do what attached() does, for a link that runs a program when a function returns."""
    try:
        lines = Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text().splitlines()
    except OSError:
        return None
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if fields.get("link_type") != "tracing" or not fields.get("prog_id", "").isdecimal():
        return None
    program = int(fields["prog_id"])
    return program, f"fexit:{_name_of(program)}"


def _name_of(program: int) -> str:
    """Return the name (struct bpf_prog_info) of the program with this id, or "" if it is gone."""
    try:
        descriptor = open_program(program)
    except OSError:
        return ""
    try:
        return _program_info(descriptor)[64:80].partition(b"\0")[0].decode("ascii", "replace")
    finally:
        os.close(descriptor)


def count_runs() -> int:
    """Turn on the statistics of all programs (since 5.8). Closing the descriptor ends that."""
    return _call(_ENABLE_STATS, struct.pack("<I", _STATS_RUN_TIME))


def run_once(program: int, arguments: Iterable[int]) -> int:
    """Run a raw tracepoint program once, right here, with the given arguments (since 5.10).

    Returns the lower 32 bits of its result.
    """
    context = _buffer(b"".join(struct.pack("<Q", argument) for argument in arguments))
    size = len(context)
    address = ctypes.addressof(context) if size else 0
    # prog_fd, retval, data sizes and pointers, repeat, duration, context sizes and pointers, ...
    attributes = _buffer(struct.pack("<I4x8x16x8xII QQ 16x", program, size, 0, address, 0))
    _exchange(_PROG_TEST_RUN, attributes)
    return int(struct.unpack_from("<I", attributes, 4)[0])


def runs(program: int) -> Runs:
    """Return how often a program (a descriptor) ran, and how often it was skipped.

    From struct bpf_prog_info: run_time_ns, run_cnt, recursion_misses. Unsupported fields are 0.
    """
    return Runs(*struct.unpack_from("<3Q", _program_info(program), 192))


def _program_info(program: int) -> bytes:
    """Return the beginning of struct bpf_prog_info. Fields that the kernel lacks are zero."""
    info = ctypes.create_string_buffer(256)
    with contextlib.suppress(OSError):
        _call(_OBJ_GET_INFO, struct.pack("<IIQ", program, len(info), ctypes.addressof(info)))
    return info.raw


def wait_for_readers() -> None:
    """Wait until every BPF program that is running now has ended.

    membarrier(2)'s global command waits for an RCU grace period, and programs run inside RCU.
    """
    if _LIBC.syscall(_MEMBARRIER, _MEMBARRIER_GLOBAL, 0) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def kernel_types() -> bytes | None:
    """Return the kernel's own BTF, or None if unavailable (before 5.11, or no CAP_SYS_ADMIN)."""
    identifier = 0
    try:
        while True:
            attributes = _buffer(struct.pack("<III", identifier, 0, 0))
            _exchange(_BTF_GET_NEXT_ID, attributes)
            identifier = int(struct.unpack_from("<I", attributes, 4)[0])
            descriptor = _call(_BTF_GET_FD_BY_ID, struct.pack("<III", identifier, 0, 0))
            try:
                types = _types(descriptor)
            finally:
                os.close(descriptor)
            if types is not None:
                return types
    except OSError:
        return None


def _types(descriptor: int) -> bytes | None:
    """Return the BTF behind a descriptor if it is the kernel's own, not a module's or program's."""
    name, data = ctypes.create_string_buffer(_NAME_SIZE), ctypes.create_string_buffer(0)
    layout = struct.Struct("<QIIQII")  # bpf_btf_info: btf, btf_size, id, name, name_len, kernel_btf
    while True:
        places = [ctypes.addressof(item) for item in (data, name)]
        info = _buffer(layout.pack(places[0], len(data), 0, places[1], _NAME_SIZE, 0))
        _call(_OBJ_GET_INFO, struct.pack("<IIQ", descriptor, len(info), ctypes.addressof(info)))
        _, size, _, _, _, of_kernel = layout.unpack(info)
        if not of_kernel or name.value != b"vmlinux":
            return None
        if size == len(data):
            return data.raw
        data = ctypes.create_string_buffer(size)
