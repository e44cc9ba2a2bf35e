"""The system calls of the workloads, issued by number, so that libc cannot substitute another.

Buffers hold zeros. Functions take sizes in bytes and return what the kernel returned, or raise
OSError. Sizes are as the program states them, or stretched by the run's seed.
"""

from __future__ import annotations

import ctypes
import os
import random
import select
import socket
import struct
from collections.abc import Sequence

from pbmond.patience import patient

#: Name: (x86_64, aarch64); the numbers are kernel ABI.
NUMBERS = {
    "read": (0, 63),
    "write": (1, 64),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "readv": (19, 65),
    "writev": (20, 66),
    "sendfile": (40, 71),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "sendmsg": (46, 211),
    "recvmsg": (47, 212),
    "getsockopt": (55, 209),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "prctl": (157, 167),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "mq_timedsend": (242, 182),
    "mq_timedreceive": (243, 183),
    "exit": (60, 93),
    "io_setup": (206, 0),
    "io_destroy": (207, 1),
    "io_getevents": (208, 4),
    "io_submit": (209, 2),
    "unshare": (272, 97),
    "splice": (275, 76),
    "tee": (276, 77),
    "vmsplice": (278, 75),
    "preadv": (295, 69),
    "pwritev": (296, 70),
    "recvmmsg": (299, 243),
    "sendmmsg": (307, 269),
    "copy_file_range": (326, 285),
    "preadv2": (327, 286),
    "pwritev2": (328, 287),
    "io_pgetevents": (333, 292),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "clone3": (435, 435),
}
_COLUMN = ("x86_64", "aarch64").index(os.uname().machine)

# PyDLL keeps the interpreter locked during a call. Only fork and clone3 need that, because their
# child must not wait for a lock that another thread held.
_LIBC = ctypes.CDLL(None, use_errno=True)
_LOCKED_LIBC = ctypes.PyDLL(None, use_errno=True)
for _library in (_LIBC, _LOCKED_LIBC):
    _library.syscall.restype = ctypes.c_long

_MOST_STRETCH = 0.25
_stretch = 0.0

_LIBC.mmap.restype = ctypes.c_void_p

AT_POSITION = -1  # offset of preadv2/pwritev2: use and move the file's own position

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_SIGKILL, _SIGCHLD = 9, 17


class Iovec(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Msghdr(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.POINTER(Iovec)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class Mmsghdr(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", Msghdr), ("length", ctypes.c_uint32))


def stretch_sizes(seed: int) -> None:
    """Stretch all sizes by the same share, up to a quarter, which ``seed`` determines (0: none).

    One factor for all preserves what the programs rely on: equal sizes stay equal, and what fits
    into a buffer still fits.
    """
    global _stretch  # noqa: PLW0603  set once, when the process becomes a program
    _stretch = random.Random(seed).uniform(0, _MOST_STRETCH) if seed else 0.0  # noqa: S311


def stretched(size: int) -> int:
    """Return ``size`` as the functions below stretch it."""
    return size + int(size * _stretch)


def _as_long(argument: object) -> object:
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def call(name: str, *arguments: object) -> int:
    """Issue the system call ``name``. Integers are passed as longs."""
    library = _LOCKED_LIBC if name == "clone3" else _LIBC
    result = int(library.syscall(ctypes.c_long(NUMBERS[name][_COLUMN]), *map(_as_long, arguments)))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def buffer(size: int) -> ctypes.Array[ctypes.c_char]:
    """Return zeroed memory of ``size`` bytes."""
    return ctypes.create_string_buffer(max(size, 1))


def iovecs(sizes: Sequence[int]) -> tuple[ctypes.Array[Iovec], list[ctypes.Array[ctypes.c_char]]]:
    """Return an iovec array over new buffers, and the buffers, which the caller keeps alive."""
    buffers = [buffer(stretched(size)) for size in sizes]
    vector = (Iovec * len(sizes))()
    for entry, memory, size in zip(vector, buffers, sizes, strict=True):
        entry.base = ctypes.addressof(memory)
        entry.length = stretched(size)
    return vector, buffers


def read(fd: int, size: int) -> int:
    """read(2)."""
    size = stretched(size)
    return call("read", fd, buffer(size), size)


def write(fd: int, size: int) -> int:
    """write(2)."""
    size = stretched(size)
    return call("write", fd, buffer(size), size)


def pread64(fd: int, size: int, offset: int) -> int:
    """pread64(2)."""
    size = stretched(size)
    return call("pread64", fd, buffer(size), size, offset)


def pwrite64(fd: int, size: int, offset: int) -> int:
    """pwrite64(2)."""
    size = stretched(size)
    return call("pwrite64", fd, buffer(size), size, offset)


def vectored(name: str, fd: int, sizes: Sequence[int], offset: int | None = None) -> int:
    """readv, writev, preadv, pwritev, preadv2 or pwritev2; ``offset`` for those that take one."""
    vector, _buffers = iovecs(sizes)
    # The offset is split in two registers by the ABI; on 64 bits the low one holds all of it.
    position = () if offset is None else (offset, 0)
    flags = (0,) if name.endswith("2") else ()
    return call(name, fd, vector, len(sizes), *position, *flags)


def sockaddr(host: str, port: int) -> bytes:
    """Return a packed sockaddr_in or, if ``host`` has a colon, sockaddr_in6."""
    if ":" in host:
        address = socket.inet_pton(socket.AF_INET6, host)
        head = struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, 0)
        return head + address + struct.pack("=I", 0)
    head = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port)
    return head + socket.inet_pton(socket.AF_INET, host) + bytes(8)


def sockaddr_un(name: bytes) -> bytes:
    """Return a packed sockaddr_un of a path or of an abstract name (leading NUL)."""
    return struct.pack("=H", socket.AF_UNIX) + name


def sendto(fd: int, size: int, to: bytes | None = None, flags: int = 0) -> int:
    """sendto(2). Without ``to`` it is what send(2) calls."""
    size = stretched(size)
    return call("sendto", fd, buffer(size), size, flags, to, len(to) if to else 0)


def recvfrom(fd: int, size: int, flags: int = 0) -> int:
    """recvfrom(2) without room for the address, which is what recv(2) calls."""
    size = stretched(size)
    return call("recvfrom", fd, buffer(size), size, flags, None, None)


def _fill(header: Msghdr, sizes: Sequence[int], to: bytes | None) -> object:
    """Point ``header`` at new buffers; the result keeps them alive."""
    vector, buffers = iovecs(sizes)
    header.iov = vector
    header.iovlen = len(sizes)
    name = ctypes.create_string_buffer(to, len(to)) if to else None
    if name is not None:
        header.name = ctypes.addressof(name)
        header.namelen = len(name)
    return vector, buffers, name


def message(sizes: Sequence[int], to: bytes | None = None) -> tuple[Msghdr, object]:
    """A msghdr over new buffers, and what keeps them alive."""
    header = Msghdr()
    return header, _fill(header, sizes, to)


def sendmsg(fd: int, sizes: Sequence[int], to: bytes | None = None, flags: int = 0) -> int:
    """sendmsg(2)."""
    header, _kept = message(sizes, to)
    return call("sendmsg", fd, ctypes.byref(header), flags)


def recvmsg(fd: int, sizes: Sequence[int], flags: int = 0) -> int:
    """recvmsg(2)."""
    header, _kept = message(sizes)
    return call("recvmsg", fd, ctypes.byref(header), flags)


def await_input(fd: int) -> None:
    """Wait until there is something to receive, so that no receive spans the daemon's start."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.poll()


def await_error(fd: int) -> None:
    """Wait until the socket's error queue has something, which may take a while."""
    waiting = select.poll()
    waiting.register(fd, 0)  # for POLLERR, which is always reported
    if not waiting.poll(patient(5_000)):
        raise TimeoutError("the error queue stays empty")


def sendmmsg(fd: int, messages: Sequence[tuple[int, bytes | None]]) -> list[int]:
    """sendmmsg(2) of (size, address) messages: the bytes sent of each that was sent."""
    headers = (Mmsghdr * len(messages))()
    pairs = zip(headers, messages, strict=True)
    kept = [_fill(entry.header, (size,), to) for entry, (size, to) in pairs]
    sent = call("sendmmsg", fd, headers, len(kept), 0)
    return [entry.length for entry in headers[:sent]]


def sendmmsg_again(
    fd: int, messages: Sequence[tuple[int, bytes | None]], spoilt: int
) -> tuple[list[int], list[int]]:
    """Two sendmmsg(2) of one vector: as ``sendmmsg`` of each.

    In the first the address of message ``spoilt`` cannot be read.
    """
    headers = (Mmsghdr * len(messages))()
    pairs = zip(headers, messages, strict=True)
    kept = [_fill(entry.header, (size,), to) for entry, (size, to) in pairs]
    name, headers[spoilt].header.name = headers[spoilt].header.name, 16
    first = [each.length for each in headers[: call("sendmmsg", fd, headers, len(kept), 0)]]
    headers[spoilt].header.name = name
    second = [each.length for each in headers[: call("sendmmsg", fd, headers, len(kept), 0)]]
    return first, second


def recvmmsg(fd: int, sizes: Sequence[int], flags: int = 0) -> list[int]:
    """recvmmsg(2) into buffers of ``sizes``: the bytes of each message received."""
    headers = (Mmsghdr * len(sizes))()
    kept = [_fill(entry.header, (size,), None) for entry, size in zip(headers, sizes, strict=True)]
    received = call("recvmmsg", fd, headers, len(kept), flags, None)
    return [entry.length for entry in headers[:received]]


def sendfile(out_fd: int, in_fd: int, size: int) -> int:
    """sendfile(2) from the input's own position."""
    return call("sendfile", out_fd, in_fd, None, stretched(size))


def splice(in_fd: int, out_fd: int, size: int, flags: int = 0) -> int:
    """splice(2) at the files' own positions."""
    return call("splice", in_fd, None, out_fd, None, stretched(size), flags)


def tee(in_fd: int, out_fd: int, size: int) -> int:
    """tee(2)."""
    return call("tee", in_fd, out_fd, stretched(size), 0)


def vmsplice(fd: int, sizes: Sequence[int]) -> int:
    """vmsplice(2): memory into the write end of a pipe, or a read end into memory."""
    vector, _buffers = iovecs(sizes)
    return call("vmsplice", fd, vector, len(sizes), 0)


def copy_file_range(in_fd: int, out_fd: int, size: int) -> int:
    """copy_file_range(2) at the files' own positions."""
    return call("copy_file_range", in_fd, None, out_fd, None, stretched(size), 0)


def getsockopt(fd: int, level: int, option: int, value: ctypes.Array[ctypes.c_char]) -> None:
    """getsockopt(2) of an option that takes a value as input."""
    size = ctypes.c_uint32(len(value))
    call("getsockopt", fd, level, option, value, ctypes.byref(size))


def map_readable(fd: int, size: int) -> int:
    """mmap(2), shared and read-only. Returns the address, which mmap objects do not reveal."""
    address = _LIBC.mmap(None, ctypes.c_size_t(size), 1, 1, fd, ctypes.c_long(0))
    if address in (None, ctypes.c_void_p(-1).value):
        number = ctypes.get_errno()
        raise OSError(number, f"mmap: {os.strerror(number)}")
    return int(address)


def mount(source: str, target: str, kind: str | None, flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    if _LIBC.mount(*encoded, ctypes.c_ulong(flags), os.fsencode(data)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {kind}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """unshare(2)."""
    call("unshare", flags)


def fork() -> int:
    """Fork as a program in C does; no other thread may run.

    From Python 3.12 on, os.fork() reads /proc/self/stat in the parent, to warn about other threads.
    The rest of what it does concerns the locks that other threads hold.
    """
    pid = int(_LOCKED_LIBC.fork())
    if pid < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"fork: {os.strerror(number)}")
    return pid


def fork_bound() -> int:
    """Fork a child that dies with its parent."""
    pid = fork()
    if pid == 0:
        _prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    return pid


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent has ended."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")


def fork_as(pid: int) -> int:
    """Fork with clone3(2) into exactly ``pid``. OSError EEXIST if another process has it."""
    wanted = ctypes.c_int(pid)
    # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls,
    # set_tid, set_tid_size
    fields = (0, 0, 0, 0, _SIGCHLD, 0, 0, 0, ctypes.addressof(wanted), 1)
    arguments = ctypes.create_string_buffer(struct.pack("=10Q", *fields), 80)
    return call("clone3", arguments, len(arguments))


def exit_thread() -> None:
    """End only the calling thread, by exit(2). The other threads continue."""
    call("exit", 0)
