"""Checks that the offsets fit the running kernel, by reading fields whose values are known.

With the BTF of another kernel (mounted into a container, say), programs load and run, but count
garbage. So before anything is compiled, small programs follow the same chains of pointers as those
in bpf/, starting from the loader's own task. They must find the values that system calls report.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

from pbmond.loader import instructions as do
from pbmond.loader.instructions import instruction, run

_PID_TGID, _CURRENT_TASK, _READ_KERNEL, _BOOTTIME_NS = 14, 35, 113, 125  # helpers
_AGE_SHIFT = 20  # an age in 2^20 ns, about a millisecond, fits the 32 bits of a result
_TICK_NS = 10_000_000  # of /proc/PID/stat
_SOCKFS_MAGIC, _AF_UNIX = 0x534F434B, 1


class KnownField(NamedTuple):
    """A kernel field: how it is reached from the current task, and the value it must have.

    ``steps`` are offsets. Each but the last leads to a pointer. ``size`` is at most 4 bytes.
    """

    name: str
    steps: tuple[int, ...]
    size: int
    expected: int


class Misfit(NamedTuple):
    """A field that does not have the value it must have."""

    name: str
    found: int
    expected: int


def misfit(constants: dict[str, int], socket: int) -> Misfit | None:
    """Return a field that the offsets do not find, or None if they fit.

    ``constants`` come from offsets.py. ``socket`` is the descriptor of a connected unix socket.
    Raises OSError if programs cannot be loaded or run.
    """
    for field in known_fields(constants, socket):
        found = run(read(field.steps, field.size))
        if found != field.expected:
            return Misfit(field.name, found, field.expected)
    steps = (constants["OFFSETOF_TASK_GROUP_LEADER"], constants["OFFSETOF_TASK_START_BOOTTIME"])
    low = _age() - (_TICK_NS >> _AGE_SHIFT) - 2
    found = run(read(steps, 8, age=True))
    high = _age() + 1
    return None if low <= found <= high else Misfit("task_struct.start_boottime", found, high)


def known_fields(constants: dict[str, int], socket: int) -> list[KnownField]:
    """Return all fields except the age: of the task, its namespace, its memory, and a socket."""

    def at(*names: str) -> tuple[int, ...]:
        return tuple(constants[f"OFFSETOF_{name}"] for name in names)

    status, network = os.fstat(socket), Path("/proc/self/ns/net").stat().st_ino
    (to_inode,) = at("SOCKET_ALLOC_INODE")
    inode = (*at("TASK_FILES", "FILES_FDT", "FDTABLE_FD"), 8 * socket, *at("FILE_INODE"))
    sk = (*inode, constants["OFFSETOF_SOCKET_SK"] - to_inode)
    number_of_sk = (*at("SK_SOCKET"), to_inode + constants["OFFSETOF_INODE_INO"])
    number = status.st_ino & 0xFFFFFFFF
    device = os.major(status.st_dev) << 20 | os.minor(status.st_dev)
    magic = (*inode, *at("INODE_SB", "SUPERBLOCK_MAGIC"))
    return [
        KnownField("task_struct.tgid", at("TASK_TGID"), 4, run(_PROCESS_ID)),
        KnownField("task_struct.comm", at("TASK_COMM"), 4, _comm()),
        KnownField("cred.euid", at("TASK_CRED", "CRED_EUID"), 4, os.geteuid()),
        KnownField("net.ns.inum", at("TASK_NSPROXY", "NSPROXY_NET", "NET_NS_INUM"), 4, network),
        KnownField("mm_struct.arg_start", at("TASK_MM", "MM_ARG_START"), 4, _arguments()),
        KnownField("inode.i_ino", (*inode, *at("INODE_INO")), 4, number),
        KnownField("inode.i_mode", (*inode, *at("INODE_MODE")), 2, status.st_mode),
        KnownField("super_block.s_dev", (*inode, *at("INODE_SB", "SUPERBLOCK_DEV")), 4, device),
        KnownField("super_block.s_magic", magic, 4, _SOCKFS_MAGIC),
        KnownField("sock_common.skc_family", (*sk, *at("SKC_FAMILY")), 2, _AF_UNIX),
        KnownField("sock_common.skc_net", (*sk, *at("SKC_NET", "NET_NS_INUM")), 4, network),
        KnownField("sock.sk_socket", (*sk, *number_of_sk), 4, number),
        # The peer of the peer is the socket itself.
        KnownField(
            "unix_sock.peer", (*sk, *at("UNIX_PEER", "UNIX_PEER"), *number_of_sk), 4, number
        ),
    ]


def read(steps: tuple[int, ...], size: int, *, age: bool = False) -> bytes:
    """Return a program that returns the value at ``steps``; with ``age``, the time since then."""
    code = [instruction(do.CALL, number=_CURRENT_TASK), instruction(do.MOVE, 6, 0)]
    for place, offset in enumerate(steps, 1):
        code += [
            instruction(do.STORE_NUMBER, do.STACK, offset=-8),
            instruction(do.MOVE, 1, do.STACK),
            instruction(do.ADD_NUMBER, 1, number=-8),
            instruction(do.MOVE_NUMBER, 2, number=size if place == len(steps) else 8),
            instruction(do.MOVE, 3, 6),
            instruction(do.ADD_NUMBER, 3, number=offset),
            instruction(do.CALL, number=_READ_KERNEL),
            instruction(do.SKIP_IF_EQUAL, offset=1),
            instruction(do.EXIT),  # with an errno, which no field can contain
            instruction(do.LOAD, 6, do.STACK, offset=-8),
        ]
    result = [instruction(do.MOVE, 0, 6)]
    if age:
        result = [
            instruction(do.CALL, number=_BOOTTIME_NS),
            instruction(do.SUBTRACT, 0, 6),
            instruction(do.SHIFT_RIGHT_NUMBER, number=_AGE_SHIFT),
        ]
    return b"".join([*code, *result, instruction(do.EXIT)])


_PROCESS_ID = b"".join(
    [
        instruction(do.CALL, number=_PID_TGID),
        instruction(do.SHIFT_RIGHT_NUMBER, number=32),
        instruction(do.EXIT),
    ]
)


def _comm() -> int:
    name = Path("/proc/self/comm").read_bytes().rstrip(b"\n")
    return int.from_bytes(name.ljust(4, b"\0")[:4], sys.byteorder)


def _status(field: int) -> int:
    """Return a number in /proc/self/stat by its position in proc(5)."""
    text = Path("/proc/self/stat").read_text()
    return int(text.rpartition(")")[2].split()[field - 3])


def _arguments() -> int:
    return _status(48) & 0xFFFFFFFF


def _age() -> int:
    """Return the greatest age that this task can have, in the unit of the programs."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - _status(22) * _TICK_NS >> _AGE_SHIFT
